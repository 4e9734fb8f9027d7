"""A registry over HTTP that asks for logins, sends on, lists oddly, is slow or lies. All servers are on loopback:
127.0.0.1, .2 and .3 are different hosts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError
from ansible_collections.portal.stt.plugins.module_utils._image.auth import (
    Challenge,
    RealmError,
    bearer,
    challenges,
    origin,
    same_place,
    token_service,
)
from ansible_collections.portal.stt.plugins.module_utils._image.oci import Image, ManifestError, parse_reference
from ansible_collections.portal.stt.plugins.module_utils._image.registry import (
    Access,
    RegistryError,
    Repository,
    TagMissingError,
    mirror_addresses,
)
from ansible_collections.portal.stt.plugins.module_utils._image.transport import (
    Answer,
    Limits,
    TooLargeError,
    TooSlowError,
    Transport,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LOGIN = "Basic " + base64.b64encode(b"alice:secret").decode()
TAG, BLOB = "/v2/team/stt/manifests/1.0.0", "/v2/team/stt/blobs/"
QUICK = Limits(connect=0.1, silence=0.3, answer=0.5, whole=5)

Handler = Callable[[Request], Response]
Serve = Callable[..., HTTPServer]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No docker configuration of the machine's user gets in; a .netrc with a login for everybody is there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".netrc").write_text("default login mallory password netrc\n")
    (tmp_path / ".netrc").chmod(0o600)
    return tmp_path


class QuickServer(HTTPServer):
    """Ends at once, not at the next half second."""

    def thread_target(self) -> None:
        assert self.server
        self.server.serve_forever(poll_interval=0.01)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers everything with a handler."""
    running: list[HTTPServer] = []

    def start(handler: Handler, host: str = "127.0.0.1") -> HTTPServer:
        found = QuickServer(host=host, port=0)
        found.expect_request(re.compile(".*")).respond_with_handler(handler)
        found.start()
        running.append(found)
        return found

    yield start
    for one in running:
        one.stop()


def address(server: HTTPServer) -> str:
    return f"{server.host}:{server.port}"


def shown(server: HTTPServer) -> list[tuple[str, str]]:
    """What was asked of a server, and with which Authorization."""
    return [(request.path, request.headers.get("Authorization", "")) for request, _ in server.log]


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Content:
    """What a registry stand-in holds: manifests and blobs by path."""

    def __init__(self) -> None:
        self.at: dict[str, bytes] = {}

    def image(self, env: Sequence[str] = ("CUDA_VERSION=12.6.3",), at: str = "", **config: Any) -> dict[str, Any]:
        """Puts an image; returns its descriptor without a platform."""
        described = {"os": "linux", "architecture": "amd64", "config": {"Env": list(env)}, **config}
        blob = json.dumps(described).encode()
        self.at[f"{BLOB}{sha256(blob)}"] = blob
        manifest = {"mediaType": MANIFEST, "config": {"mediaType": CONFIG, "digest": sha256(blob)}, "layers": []}
        return self.put(manifest, at)

    def put(self, manifest: Mapping[str, Any], at: str = "") -> dict[str, Any]:
        content = json.dumps(manifest).encode()
        self.at[at or f"/v2/team/stt/manifests/{sha256(content)}"] = content
        return {"mediaType": manifest.get("mediaType", ""), "digest": sha256(content), "size": len(content)}

    def index(self, *entries: Any, at: str = "") -> dict[str, Any]:
        return self.put({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}, at)

    def __call__(self, request: Request) -> Response:
        found = self.at.get(request.path)
        return Response(found) if found is not None else Response("{}", 404)


@pytest.fixture
def content() -> Content:
    found = Content()
    found.image(at=TAG)
    return found


def asks(challenge: str | Sequence[str], content: Handler, good: Sequence[str], only: str = "/v2/team/") -> Handler:
    """A registry that answers 401 with a challenge unless it is shown one of the good Authorizations."""

    def handle(request: Request) -> Response:
        if request.path.startswith(only) and request.headers.get("Authorization", "") not in good:
            answer = Response(json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}), 401)
            for one in [challenge] if isinstance(challenge, str) else challenge:
                answer.headers.add("WWW-Authenticate", one)
            return answer
        return content(request)

    return handle


def tokens(good: str = "") -> Handler:
    """A token service: `good` is the only login that it takes, everybody without one."""

    def handle(request: Request) -> Response:
        if request.headers.get("Authorization", "") != good:
            return Response("{}", 401)
        return Response(json.dumps({"token": "t0ken"}))

    return handle


def read(
    server: HTTPServer, platform: str = "linux/amd64", *, login: Any = "server", limits: Limits | None = None
) -> Image:
    host = address(server)
    auths = {host if login == "server" else login: {"username": "alice", "password": "secret"}} if login else {}
    access = Access(secret={"auths": auths}, plain_http=True, limits=limits or Limits())
    return Repository(parse_reference(f"{host}/team/stt:1.0.0"), access).image(platform)


# --- logins


def test_basic_that_only_the_manifest_asks_for(serve: Serve, content: Content) -> None:
    """project-zot/zot#2928: the ping says 200, the manifest 401 Basic."""
    registry = serve(asks('Basic realm="zot"', content, [LOGIN]))
    assert read(registry).env == {"CUDA_VERSION": "12.6.3"}
    assert [sent for _, sent in shown(registry)] == ["", LOGIN, LOGIN]


def test_basic_that_only_the_ping_asks_for(serve: Serve, content: Content) -> None:
    """getnora-io/nora#780: /v2/ says 401 Basic, manifests are public."""
    registry = serve(asks('Basic realm="Nora"', content, [], only="/v2/ "))
    assert read(registry, login=None).cuda_version == "12.6.3"
    assert "/v2/" not in [path for path, _ in shown(registry)]


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_a_basic_realm_is_no_token_service(serve: Serve, content: Content, scheme: str) -> None:
    stranger = serve(lambda request: Response("{}"), "127.0.0.2")
    for realm in (address(stranger), f"http://{address(stranger)}/token"):
        registry = serve(asks(f'{scheme} realm="{realm}"', content, [LOGIN]))
        assert read(registry).cuda_version == "12.6.3"
    assert stranger.log == []


def test_a_token_service_gets_the_login_and_the_registry_the_token(serve: Serve, content: Content) -> None:
    service = serve(tokens(LOGIN), "127.0.0.2")
    realm = f'Bearer realm="http://{address(service)}/token?a=b",service="here"'
    registry = serve(asks(realm, content, ["Bearer t0ken"]))
    assert read(registry).cuda_version == "12.6.3"
    assert shown(service) == [("/token", LOGIN)]
    asked = service.log[0][0].args
    assert asked.to_dict(flat=False) == {"a": ["b"], "service": ["here"], "scope": ["repository:team/stt:pull"]}
    assert [sent for _, sent in shown(registry)] == ["", "Bearer t0ken", "Bearer t0ken"]


def test_a_token_is_asked_for_without_a_login(serve: Serve, content: Content) -> None:
    service = serve(tokens(), "127.0.0.2")
    registry = serve(asks(f'Bearer realm="http://{address(service)}/",scope="s"', content, ["Bearer t0ken"]))
    assert read(registry, login="other.example.com").cuda_version == "12.6.3"
    assert shown(service) == [("/", "")]


@pytest.mark.parametrize(
    ("offered", "sent"),
    [
        pytest.param(["Negotiate", 'Basic realm="a"'], LOGIN, id="kerberos-first"),
        pytest.param(['Negotiate YIIB==, Basic realm="a, Bearer realm=b"'], LOGIN, id="in-one-header"),
        pytest.param(['Basic realm="a"', 'Bearer realm="http://SERVICE/"'], "Bearer t0ken", id="bearer-second"),
        pytest.param(['Bearer realm="ftp://a/"', 'Basic realm="a"'], LOGIN, id="bearer-that-is-none"),
    ],
)
def test_one_of_several_challenges(serve: Serve, content: Content, offered: list[str], sent: str) -> None:
    """go-containerregistry#1075, prowler#12691."""
    service = serve(tokens(LOGIN), "127.0.0.2")
    registry = serve(asks([one.replace("SERVICE", address(service)) for one in offered], content, [sent]))
    assert read(registry).cuda_version == "12.6.3"
    assert len(service.log) == sent.startswith("Bearer")


def test_basic_after_a_token_that_does_not_do(serve: Serve, content: Content) -> None:
    """goharbor/harbor#18856."""
    service = serve(tokens(LOGIN), "127.0.0.2")

    def handle(request: Request) -> Response:
        known = request.headers.get("Authorization", "")
        wanted = 'Basic realm="harbor"' if known else f'Bearer realm="http://{address(service)}/"'
        return content(request) if known == LOGIN else Response("{}", 401, {"WWW-Authenticate": wanted})

    assert read(serve(handle)).cuda_version == "12.6.3"


@pytest.mark.parametrize("status", [401, 403, 500, 0])
def test_basic_where_the_token_service_gives_none(serve: Serve, content: Content, status: int) -> None:
    """containerd/containerd#2148: Artifactory takes an API key by Basic alone."""
    service = serve(lambda request: Response("{}", status or 200), "127.0.0.2")
    offered = [f'Bearer realm="http://{address(service)}/"', 'Basic realm="Artifactory Realm"']
    assert read(serve(asks(offered, content, [LOGIN]))).cuda_version == "12.6.3"
    with pytest.raises(RegistryError):
        read(serve(asks(offered[:1], content, [LOGIN])))


def test_a_token_service_that_sends_on_within_itself(serve: Serve, content: Content) -> None:
    """nginx puts a slash at the end of a location."""

    def handle(request: Request) -> Response:
        if request.path == "/auth":
            return Response("", 301, {"Location": f"/auth/?{request.query_string.decode()}"})
        return tokens(LOGIN)(request)

    service = serve(handle, "127.0.0.2")
    registry = serve(asks(f'Bearer realm="http://{address(service)}/auth",service="a"', content, ["Bearer t0ken"]))
    assert read(registry).cuda_version == "12.6.3"
    assert shown(service) == [("/auth", LOGIN), ("/auth/", LOGIN)]
    assert service.log[1][0].args.to_dict() == {"service": "a", "scope": "repository:team/stt:pull"}


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("http://127.0.0.3:PORT/", 1),
        ("http://127.0.0.2:1/", 1),
        ("//alice@HERE/", 1),
        ("file:///etc/passwd", 1),
        ("", 6),
    ],
)
def test_a_token_service_that_sends_on_elsewhere(serve: Serve, content: Content, location: str, asked: int) -> None:
    stranger = serve(tokens(LOGIN), "127.0.0.3")

    def handle(request: Request) -> Response:
        to = location.replace("PORT", str(stranger.port)).replace("HERE", request.host)
        return Response("", 307, {"Location": to})

    service = serve(handle, "127.0.0.2")
    with pytest.raises(RegistryError, match="sends on to another address, which was not followed"):
        read(serve(asks(f'Bearer realm="http://{address(service)}/"', content, ["Bearer t0ken"])))
    assert (len(service.log), stranger.log) == (asked, [])


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("http://a/", "http://a/", True),
        ("http://a/", "https://a/", True),
        ("http://a/", "https://a:443/", True),
        ("http://a/", "https://a:8443/", False),
        ("http://a:5000/", "https://a/", False),
        ("http://a/", "https://b/", False),
        ("http://a/", "https://a.b/", False),
        ("https://a/", "http://a/", False),
    ],
)
def test_where_a_login_may_go_instead(here: str, there: str, same: bool) -> None:
    assert same_place(origin(here), origin(there)) is same


def test_a_login_that_does_not_do(serve: Serve, content: Content) -> None:
    registry = serve(asks('Basic realm="a"', content, []))
    host = address(registry)
    with pytest.raises(RegistryError) as error:
        read(registry)
    assert str(error.value) == (
        f"image {host}/team/stt:1.0.0: http://{host} does not give access (UNAUTHORIZED: no) with the login that is "
        f"given for {host}: it is wrong or expired, may not read this repository, or there is none of this name. Check "
        f"the login in [docker_config] or [pull_secret] (docker login {host}), what it may read, and the name."
    )


def test_a_registry_that_is_never_content(serve: Serve, content: Content) -> None:
    counted = iter(range(1000))
    service = serve(lambda request: Response(json.dumps({"token": f"t{next(counted)}"})), "127.0.0.2")
    registry = serve(asks(f'Bearer realm="http://{address(service)}/"', content, ["never"]))
    with pytest.raises(RegistryError, match="does not give access"):
        read(registry)
    assert len(service.log) == 3


@pytest.mark.parametrize(
    ("realm", "why"),
    [
        ("", "it names no token service"),
        ("zot", "'zot' is no https:// address"),
        ("127.0.0.2:PORT", "'127.0.0.2:PORT' is no https:// address"),
        ("/token", "'/token' is no https:// address"),
        ("ftp://127.0.0.2:PORT/", "'ftp://127.0.0.2:PORT/' is no https:// address"),
        ("file:///etc/passwd", "'file:///etc/passwd' is no https:// address"),
        ("http://alice@127.0.0.2:PORT/", "'http://alice@127.0.0.2:PORT/' is no https:// address"),
        ("http://127.0.0.1@127.0.0.2:PORT/", "'http://127.0.0.1@127.0.0.2:PORT/' is no https:// address"),
        ("http://127.0.0.2:99999/", "'http://127.0.0.2:99999/' is no https:// address"),
        ("http://[::1/", "'http://[::1/' is no https:// address"),
        ("http://127.0.0.2:PORT /", "'http://127.0.0.2:PORT /' is no https:// address"),
        ("http://169.254.169.254/token", "'http://169.254.169.254/token' is a link-local address"),
        ("http://[fe80::1]/token", "'http://[fe80::1]/token' is a link-local address"),
    ],
)
def test_a_realm_that_is_refused(serve: Serve, content: Content, realm: str, why: str) -> None:
    stranger = serve(lambda request: Response("{}"), "127.0.0.2")
    realm, why = (text.replace("PORT", str(stranger.port)) for text in (realm, why))
    registry = serve(asks(f'Bearer realm="{realm}",service="a"', content, [LOGIN]))
    with pytest.raises(RegistryError) as error:
        read(registry)
    assert str(error.value) == (
        f"registry http://{address(registry)}: it asks for a token of a service that is not trusted: {why}; nothing "
        "was sent there. The registry's operator must name it by an https:// address (realm in WWW-Authenticate)."
    )
    assert stranger.log == []
    assert [sent for _, sent in shown(registry)] == [""]


def test_https_registries_name_https_services() -> None:
    registry = origin("https://registry.example.com")
    with pytest.raises(RealmError, match="is reached without TLS, and the registry with it"):
        token_service(Challenge("bearer", {"realm": "http://registry.example.com/token"}), registry)
    service = "https://auth.example.com/token"
    assert token_service(Challenge("bearer", {"realm": f"{service}#x"}), registry) == service


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response("", 307, {"Location": "http://127.0.0.3/"}), "sends on to another address, which was not followed"),
        (Response("[]"), "answered with no token"),
        (Response("{"), "answered with no token"),
        (Response('{"token": 1}'), "answered with no token"),
        (Response('{"token": "a\\r\\nX: y"}'), "answered with no token"),
        (Response('{"errors": [{"code": "DENIED", "message": "n\\u001b[31mo"}]}', 403), r"(DENIED: n\x1b[31mo)"),
        (Response("x" * (1024**2 + 1)), "its answer is too large: more than 1024 KiB"),
    ],
)
def test_a_token_service_that_gives_none(serve: Serve, content: Content, answer: Response, said: str) -> None:
    service = serve(lambda request: answer, "127.0.0.2")
    registry = serve(asks(f'Bearer realm="http://{address(service)}/"', content, []))
    with pytest.raises(RegistryError) as error:
        read(registry)
    assert said in str(error.value)


def test_bearer_takes_access_token_too() -> None:
    assert [bearer(one) for one in ({"access_token": "a"}, {"token": "", "access_token": "b"}, {}, 1)] == [
        "a",
        "b",
        "",
        "",
    ]


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_header_is_read(header: str) -> None:
    for one in challenges(header):
        assert one.scheme == one.scheme.lower()


# --- redirects


def sends_on(content: Handler, path: str, to: Callable[[Request], str], status: int = 307) -> Handler:
    def handle(request: Request) -> Response:
        if request.path.startswith(path):
            return Response("", status, {"Location": to(request)})
        return content(request)

    return handle


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_no_login_goes_where_a_registry_sends_on_to(
    serve: Serve, content: Content, host: str, status: int, scheme: str
) -> None:
    """A blob on a CDN, or on another port of the same host."""
    elsewhere = serve(content, host)
    service = serve(tokens(LOGIN), "127.0.0.3")
    behind = sends_on(content, BLOB, lambda request: f"http://{address(elsewhere)}{request.path}?X-Amz=1", status)
    good = {"Basic": LOGIN, "Bearer": "Bearer t0ken"}[scheme]
    registry = serve(asks(f'{scheme} realm="http://{address(service)}/"', behind, [good]))
    assert read(registry).cuda_version == "12.6.3"
    assert [sent for _, sent in shown(elsewhere)] == [""]
    assert [sent for _, sent in shown(registry)] == ["", good, good]


def test_another_host_that_asks_for_the_login(serve: Serve, content: Content) -> None:
    thief = serve(asks('Basic realm="a"', content, []), "127.0.0.2")
    registry = serve(
        asks('Basic realm="a"', sends_on(content, BLOB, lambda r: f"http://{address(thief)}{r.path}"), [LOGIN])
    )
    with pytest.raises(
        RegistryError, match=r"127\.0\.0\.2:\d+: the registry sends on to there, and the answer is HTTP status 401"
    ):
        read(registry)
    assert [sent for _, sent in shown(thief)] == [""]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            403,
            "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
            "403 (AccessDenied: Request has expired). Its operator must look at the storage behind it: a link that has "
            "expired is most often a wrong clock of the registry, one that is refused a wrong access key.",
        ),
        (
            404,
            "<Error><Code>NoSuchKey\x1b[2J</Code></Error>",
            r"404 (NoSuchKey\x1b[2J). A part of the image is lost there: push it again, or take another tag.",
        ),
    ],
)
def test_a_storage_that_refuses(serve: Serve, content: Content, status: int, body: str, said: str) -> None:
    """distribution/distribution#925: it is not the registry that wants a login."""
    storage = serve(lambda request: Response(body, status), "127.0.0.2")
    registry = serve(sends_on(content, BLOB, lambda request: f"http://{address(storage)}{request.path}"))
    with pytest.raises(RegistryError) as error:
        read(registry)
    assert str(error.value) == (
        f"registry http://{address(registry)} by way of http://{address(storage)}: the registry sends on to there, and "
        f"the answer is HTTP status {said}"
    )


def test_a_tag_that_is_missing_where_a_registry_sends_on_to(serve: Serve, content: Content) -> None:
    moved = serve(lambda request: Response("{}", 404), "127.0.0.2")
    registry = serve(sends_on(content, "/v2/", lambda request: f"http://{address(moved)}{request.path}"))
    with pytest.raises(TagMissingError):
        read(registry)


def test_another_host_with_a_token_service_of_its_own(serve: Serve, content: Content) -> None:
    """google/go-containerregistry#2360: it is asked without a login."""
    service = serve(tokens(), "127.0.0.3")
    moved = serve(asks(f'Bearer realm="http://{address(service)}/"', content, ["Bearer t0ken"]), "127.0.0.2")
    registry = serve(sends_on(content, "/v2/", lambda r: f"http://{address(moved)}{r.path}"))
    assert read(registry).cuda_version == "12.6.3"
    assert {sent for _, sent in shown(service)} == {""}
    assert {sent for _, sent in shown(moved)} == {"", "Bearer t0ken"}


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("HERE", "in circles, last to HERE"),
        ("HEREx", "in circles, last to HERExxxxxx"),
        ("", "in circles, last to "),
        ("file:///etc/passwd", "to 'file:///etc/passwd', which is no address"),
        ("http://alice:secret@127.0.0.2/", "to 'http://alice:secret@127.0.0.2/', which is no address"),
    ],
)
def test_a_redirect_that_leads_nowhere(serve: Serve, content: Content, location: str, said: str) -> None:
    def to(request: Request) -> str:
        return location.replace("HERE", request.path)

    registry = serve(sends_on(content, TAG, to))
    with pytest.raises(RegistryError) as error:
        read(registry)
    assert str(error.value) == (
        f"registry http://{address(registry)}: it sends on {said.replace('HERE', TAG)}: the image was not looked at. "
        "Repair the registry or the proxy before it; another address can be set in [mirrors]."
    )


class ScriptedTransport(Transport):
    """Answers from a table in place of servers, for what needs HTTPS."""

    def __init__(self, at: Mapping[str, Answer]) -> None:
        super().__init__(Limits())
        self.at = at

    def send(self, url: str, headers: Any, most: int, form: Any = None) -> Answer:
        return self.at[url]


def test_a_tag_is_not_read_without_tls_where_the_registry_has_it(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob may be: its digest is known."""
    plain = "http://cdn.example.com"
    answers: dict[str, Answer] = {}
    for path, body in content.at.items():
        answers[f"https://registry.example.com{path}"] = Answer(
            f"https://registry.example.com{path}", 307, {"Location": f"{plain}{path}"}, b""
        )
        answers[f"{plain}{path}"] = Answer(f"{plain}{path}", 200, {}, body)
    repository = Repository(parse_reference("registry.example.com/team/stt:1.0.0"), Access())
    repository._addresses()[0]._transport = ScriptedTransport(answers)
    with pytest.raises(RegistryError, match="it sends on from HTTPS to http://cdn"):
        repository.image("linux/amd64")
    first = f"https://registry.example.com{TAG}"
    answers[first] = Answer(first, 200, {}, content.at[TAG])
    assert repository.image("linux/amd64").cuda_version == "12.6.3"


@pytest.mark.parametrize("given", ["http://alice:secret@mirror", "http://mirror:99999", "http://a b", "http://", 5])
def test_a_mirror_that_is_no_address(given: Any) -> None:
    with pytest.raises(RegistryError) as error:
        mirror_addresses({"ghcr.io": [given]})
    assert "secret" not in str(error.value)


# --- limits


@contextmanager
def listening(talk: Callable[[socket.socket, threading.Event], None] | None) -> Iterator[str]:
    """A TCP server that talks as it likes; without `talk` it lets connections wait for ever."""
    over = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0 if talk is None else 5)) as server:
        host, port = server.getsockname()
        waiting = [socket.socket() for _ in range(3)] if talk is None else []
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((host, port))

        def accept() -> None:
            while talk and not over.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection, over), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"{host}:{port}"
        over.set()
        for one in waiting:
            one.close()


def silent(connection: socket.socket, over: threading.Event) -> None:
    over.wait(10)


def drips(begin: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        try:
            connection.sendall(begin)
            while not over.wait(0.05):
                connection.sendall(b" ")
        except OSError:
            pass

    return talk


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        pytest.param(None, "it does not answer: (timed out|Connection to 127.0.0.1 timed out)", id="drops-packets"),
        pytest.param(silent, "it does not answer: Read timed out|no whole answer came within 0.5 s", id="silent"),
        pytest.param(drips(b"HTTP/1.1 200 OK\r\nX: "), "no whole answer came within 0.5 s.", id="drips-its-head"),
        pytest.param(
            drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
            "no whole answer came within 0.5 s.",
            id="drips",
        ),
    ],
)
def test_a_registry_that_is_waited_for(talk: Any, said: str) -> None:
    with listening(talk) as host:
        access = Access(plain_http=True, limits=QUICK)
        with pytest.raises(RegistryError, match=f"registry http://{host}: {said}"):
            Repository(parse_reference(f"{host}/team/stt:1.0.0"), access).image("linux/amd64")


@pytest.mark.parametrize(
    ("valid", "name", "trusted", "said"),
    [
        pytest.param(
            (-9, -1), "127.0.0.1", True,
            "certificate has expired. The registry's operator must renew it; where it is new, this machine's clock is "
            "wrong.", id="expired",
        ),
        pytest.param(
            (1, 9), "127.0.0.1", True,
            "certificate is not yet valid. Set this machine's clock right (timedatectl).", id="clock",
        ),
        pytest.param(
            (-1, 9), "127.0.0.9", True,
            "IP address mismatch, certificate is not valid for '127.0.0.1'. Name the image by a name that the "
            "certificate is for, or have one made for this name (subjectAltName).", id="name",
        ),
        pytest.param(
            (-1, 9), "127.0.0.1", False,
            "self-signed certificate. Give its CA to the Python that runs the module: environment "
            "REQUESTS_CA_BUNDLE=/path/ca.pem", id="unknown",
        ),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valid: tuple[int, int], name: str, trusted: bool, said: str
) -> None:
    """moby/moby#11534, #28911: an expired certificate, a clock and a name are no unknown CA."""
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate(valid, name))
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    found = QuickServer(host="127.0.0.1", port=0, ssl_context=context)
    found.start()
    try:
        with pytest.raises(RegistryError) as error:
            Repository(parse_reference(f"{address(found)}/team/stt:1.0.0"), Access()).image("linux/amd64")
    finally:
        found.stop()
    assert str(error.value) == f"registry https://{address(found)}: its certificate is not accepted: {said}"


def certificate(valid: tuple[int, int], name: str) -> bytes:
    """A self-signed certificate for an address with its key, valid from and to so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    begin, end = (datetime.now(UTC) + timedelta(days=days) for days in valid)
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    kept = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem) + kept


def test_all_questions_together_have_an_end(serve: Serve) -> None:
    clock = iter([0.0, 1.0, 299.0, 300.0])
    transport = Transport(Limits(), clock=lambda: next(clock))
    server = serve(lambda request: Response("{}"))
    for _ in range(2):
        transport.send(f"http://{address(server)}/", {}, 10)
    with pytest.raises(TooSlowError, match=r"^within 300 s in all$"):
        transport.send(f"http://{address(server)}/", {}, 10)


def test_an_answer_has_a_size(serve: Serve) -> None:
    server = serve(lambda request: Response("x" * 2048))
    transport = Transport(Limits())
    assert len(transport.send(f"http://{address(server)}/", {}, 2048).body) == 2048
    with pytest.raises(TooLargeError, match="more than 1 KiB"):
        transport.send(f"http://{address(server)}/", {}, 2047)


def test_no_cookie_comes_back(serve: Serve) -> None:
    server = serve(lambda request: Response("{}", 200, {"Set-Cookie": "a=b; Path=/"}))
    transport = Transport(Limits())
    for _ in range(2):
        transport.send(f"http://{address(server)}/", {}, 10)
    assert [request.headers.get("Cookie") for request, _ in server.log] == [None, None]


def test_a_credential_helper_that_hangs(
    serve: Serve, content: Content, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = home / "docker-credential-slow"
    helper.write_text("#!/bin/sh\nexec sleep 30\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(home), prepend=":")
    monkeypatch.setattr("ansible_collections.portal.stt.plugins.module_utils._image.registry._HELPER_SECONDS", 0.1)
    (home / "config.json").write_text(json.dumps({"credsStore": "slow"}))
    registry = serve(asks('Basic realm="a"', content, [LOGIN]))
    access = Access(docker_config=str(home / "config.json"), plain_http=True)
    with pytest.raises(RegistryError, match=r"docker-credential-slow: it gives no answer within 0\.1 s"):
        Repository(parse_reference(f"{address(registry)}/team/stt:1.0.0"), access).image("linux/amd64")


# --- what is read


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"a"', b"1", b"{", b"\xff", b"[" * 200_000, b'{"a":' * 200_000,
        b'{"a": 1' + b"0" * 5000 + b"}",
    ],
)  # fmt: skip
def test_a_manifest_that_is_no_object(serve: Serve, body: bytes) -> None:
    registry = serve(lambda request: Response(body))
    with pytest.raises(RegistryError, match="answered with something that is no JSON object"):
        read(registry)


def test_a_manifest_larger_than_a_registry_takes(serve: Serve) -> None:
    registry = serve(lambda request: Response(b" " * (4 * 1024**2 + 1)))
    with pytest.raises(RegistryError, match=r"its answer is too large: more than 4096 KiB\."):
        read(registry)


KNOWN = st.sampled_from([MANIFEST, INDEX, CONFIG, f"sha256:{'a' * 64}", "linux", "amd64", "A=b"])
MEMBERS = st.sampled_from(
    [
        *("mediaType", "manifests", "config", "layers", "digest", "platform", "os", "architecture", "variant"),
        *("size", "Env", "Labels", "User", "history", "created_by", "created", "annotations"),
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | KNOWN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(manifest=ANYTHING, config=ANYTHING)
def test_anything_is_an_image_or_a_sentence(manifest: Any, config: Any) -> None:
    blob = json.dumps(config).encode()
    if isinstance(manifest, dict) and isinstance(manifest.get("config"), dict):
        manifest["config"] = {"mediaType": CONFIG, "digest": sha256(blob)} | manifest["config"]
    body = json.dumps(manifest).encode()
    host = "http://registry.example.com"

    class AnyTransport(Transport):
        def send(self, url: str, headers: Any, most: int, form: Any = None) -> Answer:
            assert url.startswith(f"{host}/v2/team/stt/")
            return Answer(url, 200, {}, blob if "/blobs/" in url else body)

    repository = Repository(parse_reference("registry.example.com/team/stt:1.0.0"), Access(plain_http=True))
    repository._addresses()[0]._transport = AnyTransport(Limits())
    try:
        image = repository.image("linux/amd64")
    except (RegistryError, ManifestError) as error:
        refused = str(error)
    else:
        refused = ""
        assert "/" not in image.platform or image.platform.startswith("linux/amd64")
        assert image.as_result()["size"] >= 0
    assert not refused or refused.isprintable()


@pytest.mark.parametrize("lies", [BLOB, "/v2/team/stt/manifests/sha256:"])
def test_content_of_another_digest(serve: Serve, content: Content, lies: str) -> None:
    content.index(content.image() | {"platform": {"os": "linux", "architecture": "amd64"}}, at=TAG)
    registry = serve(lambda r: Response('{"a": 1}') if r.path.startswith(lies) else content(r))
    with pytest.raises(
        ManifestError, match=r"the registry answered with content of digest sha256:[0-9a-f]{64} for sha"
    ):
        read(registry)


@pytest.mark.parametrize("digest", ["sha256:abc", "../../../v2/x", "md5:" + "a" * 32, "sha256:" + "A" * 64, 5, None])
def test_a_digest_that_is_none(serve: Serve, content: Content, digest: Any) -> None:
    content.index({"mediaType": MANIFEST, "digest": digest}, at=TAG)
    registry = serve(content)
    with pytest.raises(ManifestError, match="its index has no entry that can be read"):
        read(registry)
    content.put({"mediaType": MANIFEST, "config": {"mediaType": CONFIG, "digest": digest}}, TAG)
    with pytest.raises(ManifestError, match="this is no container image"):
        read(registry)
    assert {path for path, _ in shown(registry)} == {TAG}


def test_a_list_of_tags_is_read_for_tags(serve: Serve) -> None:
    tags = ["1.0.0", 5, None, "a b", "x" * 129, "\x1b[31m", "../..", "2.0.0"]
    registry = serve(lambda r: Response(json.dumps({"tags": tags})) if "/tags/" in r.path else Response("{}", 404))
    with pytest.raises(TagMissingError, match=r"Tags that it has: .* \(2 in all\)"):
        read(registry)


@pytest.mark.parametrize(
    "link",
    [
        "<@127.0.0.2/v2/a>", "<http:127.0.0.2>", "</etc/passwd>", "<http://[>", "<", ",,,", "<//127.0.0.2/x>",
        "<>; rel=next; rel", "<file:///v2>",
    ],
)  # fmt: skip
def test_a_next_page_is_this_registrys(serve: Serve, content: Content, link: str) -> None:
    """A path that does not begin with a slash would become part of the host's name."""
    link = f'{link}; rel="next"'
    registry = serve(
        lambda r: Response('{"tags": ["3.0.0"]}', 200, {"Link": link}) if "/tags/" in r.path else Response("{}", 404)
    )
    with pytest.raises(TagMissingError, match=r"Tags that it has: 3.0.0 \(1 in all\)"):
        read(registry)
    assert {path for path, _ in shown(registry)} == {TAG, "/v2/team/stt/tags/list"}


# --- indexes


AMD64, ARM64 = ({"os": "linux", "architecture": name} for name in ("amd64", "arm64"))


def test_an_index_entry_without_a_platform(serve: Serve, content: Content) -> None:
    """bootc-dev/ocidir-rs#73: the config decides."""
    content.index(content.image(["A=arm"], architecture="arm64"), content.image(["A=amd"]), at=TAG)
    image = read(serve(content))
    assert (image.env, image.platforms) == ({"A": "amd"}, ("linux/arm64", "linux/amd64"))


def test_what_says_its_platform_comes_before_what_does_not(serve: Serve, content: Content) -> None:
    content.index(content.image(["A=silent"]), content.image(["A=said"]) | {"platform": AMD64}, at=TAG)
    assert read(serve(content)).env == {"A": "said"}


@pytest.mark.parametrize("said", [{"platform": AMD64}, {}])
def test_indexes_in_an_index(serve: Serve, content: Content, said: dict[str, Any]) -> None:
    """CodesWhat/drydock#814: an index for each platform, with image and attestation."""
    attestation = content.put({"mediaType": MANIFEST, "config": {"mediaType": "application/x"}, "layers": []})
    unknown = {"platform": {"os": "unknown", "architecture": "unknown"}}
    inner = content.index(attestation | unknown, content.image(["A=amd"]) | {"platform": AMD64})
    other = content.index(content.image(["A=arm"], architecture="arm64") | {"platform": ARM64})
    top = content.index(other | ({"platform": ARM64} if said else {}), inner | said, at=TAG)
    image = read(serve(content))
    assert (image.env, image.digest) == ({"A": "amd"}, top["digest"])
    assert image.manifest_digest not in (inner["digest"], top["digest"])
    assert sorted(image.platforms) == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize("config", [{"os": ""}, {"architecture": ""}, {"os": None, "architecture": None}])
def test_an_image_that_names_no_platform(serve: Serve, content: Content, config: dict[str, Any]) -> None:
    """buildpacks/pack#2315: gcr.io/paketo-buildpacks/nodejs. Nodes ask for none where there is no index."""
    content.image(at=TAG, rootfs={"type": "layers"}, **config)
    found = read(serve(content))
    assert (found.cuda_version, [one for one in found.platforms if "/" in one]) == ("12.6.3", [])
    content.index(content.image(rootfs={"type": "layers"}, **config), at=TAG)
    with pytest.raises(ManifestError, match="it is not built for linux/amd64"):
        read(serve(content))


def test_attestations_and_other_things_are_no_images(serve: Serve, content: Content) -> None:
    artifact = {"mediaType": MANIFEST, "config": {"mediaType": "application/vnd.example"}, "layers": []}
    content.index(
        content.put(artifact) | {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        content.put(artifact),
        {"mediaType": "application/vnd.example", "digest": "sha256:" + "a" * 64},
        "nonsense",
        content.image(["A=amd"]),
        at=TAG,
    )
    image = read(serve(content))
    assert (image.env, image.platforms) == ({"A": "amd"}, ("linux/amd64",))


def test_indexes_have_a_depth(serve: Serve, content: Content) -> None:
    entry = content.image()
    for _ in range(3):
        entry = content.index(entry)
    content.index(entry, at=TAG)
    assert read(serve(content)).cuda_version == "12.6.3"
    content.index(content.index(entry), at=TAG)
    with pytest.raises(ManifestError, match="its indexes lie more than 4 deep in each other"):
        read(serve(content))


def test_an_index_is_not_searched_for_ever(serve: Serve, content: Content) -> None:
    content.index(*(content.image([f"A={n}"], architecture="s390x") for n in range(30)), at=TAG)
    registry = serve(content)
    with pytest.raises(ManifestError, match="more than 24 entries without a platform"):
        read(registry)
    assert len(registry.log) == 1 + 2 * 24


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/arm64", ["linux/arm64/v8"], 0),
        ("linux/arm64/v8", ["linux/arm64"], 0),
        ("linux/arm64", ["linux/arm64/v9"], None),
        ("linux/arm64/v9", ["linux/arm64/v8"], 0),
        ("linux/amd64", ["linux/amd64/v3"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], 1),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm", ["linux/arm/v7"], 0),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/amd64", ["windows/amd64", "linux/x86_64"], 1),
        ("linux/arm", ["linux/arm64/v8"], None),
    ],
)
def test_the_platform_that_containerd_takes(
    serve: Serve, content: Content, wanted: str, offered: list[str], chosen: int | None
) -> None:
    names = ("os", "architecture", "variant")
    parts = [dict(zip(names, one.split("/"), strict=False)) for one in offered]
    content.index(*(content.image([f"A={n}"], **part) | {"platform": part} for n, part in enumerate(parts)), at=TAG)
    registry = serve(content)
    if chosen is None:
        with pytest.raises(ManifestError, match=f"it is not built for {wanted}, only for {', '.join(offered)}"):
            read(registry, wanted)
    else:
        assert read(registry, wanted).env == {"A": str(chosen)}


def test_no_error_of_these_is_a_traceback() -> None:
    assert all(issubclass(one, CollectionError) for one in (RegistryError, ManifestError, TagMissingError))
