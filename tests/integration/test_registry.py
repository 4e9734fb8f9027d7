"""oci_image_info against the real docker-registry: formats, logins, mirrors, and its words when something is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from ansible_collections.portal.stt.plugins.modules import oci_image_info
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from lab import api
from lab import registry as lab_registry
from tests.modules import run_module
from tests.vectors import SAMPLE

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

REPOSITORY = "speaches-ai/speaches"
SECRET = "alice:$2b$04$zu3saKJ4.2rs7Hr.VJnyouH9jkMvk8GSAiCZEJs.x2dVBf7fqYhgi\n"  # password: secret
SECRETS = "/api/v1/namespaces/default/secrets"
Secret = Callable[[str, dict[str, str]], dict[str, str]]
REQUIRE = json.loads(SAMPLE.read_text())["require"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No docker configuration of the machine's user gets in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    return tmp_path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Registry:
    """A running docker-registry, and a way to push to it."""

    address: str
    auth: tuple[str, str] | None = None

    def push(self, reference: str, content: bytes, kind: str, repository: str = REPOSITORY) -> dict[str, Any]:
        """Puts a manifest under a tag or digest; returns its descriptor."""
        digest = sha256(content)
        answer = requests.put(
            f"http://{self.address}/v2/{repository}/manifests/{reference or digest}",
            data=content,
            headers={"Content-Type": kind},
            auth=self.auth,
            timeout=10,
        )
        answer.raise_for_status()
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def blob(self, content: bytes, kind: str, repository: str = REPOSITORY) -> dict[str, Any]:
        start = requests.post(f"http://{self.address}/v2/{repository}/blobs/uploads/", auth=self.auth, timeout=10)
        start.raise_for_status()
        done = requests.put(
            start.headers["Location"], params={"digest": sha256(content)}, data=content, auth=self.auth, timeout=10
        )
        done.raise_for_status()
        return {"mediaType": kind, "digest": sha256(content), "size": len(content)}

    def image(self, tag: str, cuda: str = "", architecture: str = "amd64", docker: bool = False) -> dict[str, Any]:
        """Pushes one platform's image with the environment of a Speaches image; returns its descriptor."""
        env = ["PATH=/usr/bin", *([f"CUDA_VERSION={cuda}", f"NVIDIA_REQUIRE_CUDA={REQUIRE[cuda]}"] if cuda else [])]
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": "2025-12-27T15:04:05Z",
            "config": {"User": "ubuntu", "Env": env, "Labels": {"org.opencontainers.image.version": "0.9.0-rc.3"}},
            "history": [{"created_by": f"RUN apt-get install cuda-cudart-{minor(cuda)} cuda-compat-{minor(cuda)}"}]
            if cuda
            else [],
            "rootfs": {"type": "layers", "diff_ids": []},
        }
        layer = self.blob(b"layer", "application/vnd.oci.image.layer.v1.tar")
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": self.blob(json.dumps(config).encode(), DOCKER_CONFIG if docker else OCI_CONFIG),
            "layers": [layer],
        }
        descriptor = self.push(tag, json.dumps(manifest).encode(), manifest["mediaType"])  # type: ignore[arg-type]
        return {**descriptor, "platform": {"os": "linux", "architecture": architecture}}

    def index(self, tag: str, entries: list[dict[str, Any]], kind: str = OCI_INDEX) -> dict[str, Any]:
        content = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
        return self.push(tag, content, kind)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def minor(cuda: str) -> str:
    return "-".join(cuda.split(".")[:2])


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Registry]]:
    """Starts real registries on 127.0.0.1; `auth` is the registry's own configuration for it."""
    running: list[subprocess.Popen[bytes]] = []

    def start(auth: dict[str, Any] | None = None, login: tuple[str, str] | None = None) -> Registry:
        folder = tmp_path_factory.mktemp("registry")
        address = f"127.0.0.1:{free_port()}"
        settings = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": address},
            **({"auth": auth} if auth else {}),
        }
        (folder / "config.yml").write_text(json.dumps(settings))
        log = (folder / "log").open("wb")
        running.append(
            subprocess.Popen([str(lab_registry.find()), "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        )
        for _ in range(100):
            try:
                requests.get(f"http://{address}/v2/", timeout=1)
                return Registry(address, login)
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError((folder / "log").read_text())

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait()


@pytest.fixture(scope="session")
def registry(serve: Callable[..., Registry]) -> Registry:
    """A registry with the Speaches tags: each in another of the formats that are about."""
    found = serve()
    attestation = {
        **found.push("", json.dumps(artifact(found)).encode(), OCI_MANIFEST),
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    amd64, arm64 = found.image("", "12.9.0"), found.image("", "12.9.0", "arm64")
    for tag in ("0.9.0-rc.3-cuda", "latest-cuda"):
        found.index(tag, [attestation, amd64, arm64])
    found.index("0.9.0-rc.3-cuda-12.6.3", [found.image("", "12.6.3", docker=True)], DOCKER_LIST)
    found.image("0.9.0-rc.3-cuda-12.4.1", "12.4.1")
    found.image("0.9.0-rc.3-cpu", docker=True)
    found.image("0.8.3-cuda", "12.6.3")
    found.push("notes", json.dumps(artifact(found)).encode(), OCI_MANIFEST)
    return found


def artifact(registry: Registry) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": registry.blob(b"{}", "application/vnd.example.notes+json"),
        "layers": [registry.blob(b"notes", "text/plain")],
    }


def ask(registry: Registry | str, reference: str = f"{REPOSITORY}:0.9.0-rc.3-cuda", **params: Any) -> dict[str, Any]:
    address = registry if isinstance(registry, str) else registry.address
    return run_module(oci_image_info, **{"plain_http": True, "image": f"{address}/{reference}", **params})


def test_an_index_gives_its_own_digest_and_the_platforms_configuration(registry: Registry) -> None:
    result = ask(registry)
    image = result["image"]
    served = requests.head(
        f"http://{registry.address}/v2/{REPOSITORY}/manifests/0.9.0-rc.3-cuda", headers={"Accept": OCI_INDEX}, timeout=5
    )
    assert image["digest"] == served.headers["Docker-Content-Digest"] != image["manifest_digest"]
    assert image["pinned"] == f"{registry.address}/{REPOSITORY}:0.9.0-rc.3-cuda@{image['digest']}"
    assert image["platforms"] == ["linux/amd64", "linux/arm64"]
    assert image["env"]["NVIDIA_REQUIRE_CUDA"] == REQUIRE["12.9.0"]
    assert (image["user"], image["cuda_version"], image["cuda_compat"]) == ("ubuntu", "12.9.0", "12.9")
    assert result["changed"] is False
    assert result["findings"] == [
        {
            "check": "image.digest",
            "status": "ok",
            "subject": f"image {registry.address}/{REPOSITORY}:0.9.0-rc.3-cuda",
            "message": f"is {image['digest']} (linux/amd64, linux/arm64).",
            "remedy": "",
            "evidence": [],
        }
    ]


@pytest.mark.parametrize(
    ("tag", "cuda", "platforms"),
    [
        pytest.param("0.9.0-rc.3-cuda-12.6.3", "12.6.3", ["linux/amd64"], id="docker-manifest-list"),
        pytest.param("0.9.0-rc.3-cuda-12.4.1", "12.4.1", ["linux/amd64"], id="oci-manifest"),
        pytest.param("0.9.0-rc.3-cpu", "", ["linux/amd64"], id="docker-schema-2"),
    ],
)
def test_every_format(registry: Registry, tag: str, cuda: str, platforms: list[str]) -> None:
    image = ask(registry, f"{REPOSITORY}:{tag}")["image"]
    assert (image["cuda_version"], image["platforms"], image["platform"]) == (cuda, platforms, "linux/amd64")


def test_a_digest_in_the_reference_is_what_is_read(registry: Registry) -> None:
    digest = ask(registry, f"{REPOSITORY}:0.9.0-rc.3-cuda-12.4.1")["image"]["digest"]
    image = ask(registry, f"{REPOSITORY}@{digest}")["image"]
    assert (image["digest"], image["tag"], image["cuda_version"]) == (digest, "", "12.4.1")
    assert image["pinned"] == f"{registry.address}/{REPOSITORY}@{digest}"


def test_another_platform(registry: Registry) -> None:
    assert ask(registry, platform="linux/arm64")["image"]["platform"] == "linux/arm64"
    refused = ask(registry, platform="linux/s390x")
    assert refused["msg"] == (
        f"image {registry.address}/{REPOSITORY}:0.9.0-rc.3-cuda: it is not built for linux/s390x, only for "
        "linux/amd64, linux/arm64. Set platform to one of these, or take an image that is built for the nodes."
    )
    single = ask(registry, f"{REPOSITORY}:0.9.0-rc.3-cuda-12.4.1", platform="linux/arm64")
    assert "it is not built for linux/arm64, only for linux/amd64." in single["msg"]


def test_variants_of_the_same_release(registry: Registry) -> None:
    variants = ask(registry, variants=True)["variants"]
    assert [(one["tag"], one["cuda_version"]) for one in variants] == [
        ("0.9.0-rc.3-cuda", "12.9.0"),
        ("0.9.0-rc.3-cuda-12.6.3", "12.6.3"),
        ("0.9.0-rc.3-cuda-12.4.1", "12.4.1"),
    ]


def test_a_moving_tag_is_no_pin(registry: Registry) -> None:
    result = ask(registry, f"{REPOSITORY}:latest-cuda")
    assert [(one["check"], one["status"], one["message"]) for one in result["findings"]][1:] == [
        (
            "image.tag",
            "warning",
            "latest-cuda names no release: the next one will overwrite it, and it is no pin.",
        )
    ]


def test_a_tag_that_is_not_there_and_those_that_are(registry: Registry) -> None:
    result = ask(registry, f"{REPOSITORY}:0.9.0-rc.4-cuda")
    assert result["failed"] is True
    assert result["msg"] == (
        f"image {registry.address}/{REPOSITORY}:0.9.0-rc.4-cuda: {registry.address}/{REPOSITORY} has no tag "
        "0.9.0-rc.4-cuda. Tags that it has: 0.9.0-rc.3-cuda, 0.8.3-cuda, 0.9.0-rc.3-cuda-12.6.3 (7 in all)."
    )
    assert [one["check"] for one in result["findings"]] == ["image.tag"]


def test_a_repository_that_is_not_there(registry: Registry) -> None:
    assert ask(registry, "speaches-ai/speeches:latest")["msg"] == (
        f"image {registry.address}/speaches-ai/speeches:latest: http://{registry.address} has no repository "
        "speaches-ai/speeches, or nothing in it. Check the repository's name."
    )


def test_what_is_no_image(registry: Registry) -> None:
    assert ask(registry, f"{REPOSITORY}:notes")["msg"] == (
        f"image {registry.address}/{REPOSITORY}:notes: this is no container image that a node can run "
        "(application/vnd.example.notes+json). Name an image in OCI or Docker (schema 2) format."
    )


def test_a_registry_that_is_down() -> None:
    port = free_port()
    started = time.monotonic()
    result = ask(f"127.0.0.1:{port}")
    assert result["msg"] == (
        f"registry http://127.0.0.1:{port}: it does not answer: Connection refused. Check its name, the network and "
        "the proxy (HTTPS_PROXY, NO_PROXY) from the machine that runs this."
    )
    assert time.monotonic() - started < 30


def test_a_registry_without_tls(registry: Registry) -> None:
    assert ask(registry, plain_http=False)["msg"] == (
        f"registry https://{registry.address}: it does not speak TLS. It is a plain-HTTP registry: set plain_http, or "
        "an http:// address in mirrors."
    )


def test_mirrors_are_asked_in_order_and_the_reference_stays(registry: Registry, serve: Callable[..., Registry]) -> None:
    empty, dead = serve(), f"127.0.0.1:{free_port()}"
    mirrors = {"ghcr.io": [f"http://{dead}", f"http://{empty.address}", f"http://{registry.address}"]}
    image = run_module(oci_image_info, image=f"ghcr.io/{REPOSITORY}:0.9.0-rc.3-cuda", mirrors=mirrors)["image"]
    assert image["pinned"] == f"ghcr.io/{REPOSITORY}:0.9.0-rc.3-cuda@{image['digest']}"


def test_a_mirror_that_is_no_registry_is_passed_by(registry: Registry) -> None:
    digest = ask(registry)["image"]["digest"]
    with server(CaptivePortalStandIn) as portal:
        mirrors = {"ghcr.io": [f"http://{portal}", f"http://{registry.address}"]}
        for reference in (f"ghcr.io/{REPOSITORY}:0.9.0-rc.3-cuda", f"ghcr.io/{REPOSITORY}@{digest}"):
            result = run_module(oci_image_info, image=reference, mirrors=mirrors, variants=True)
            assert result["image"]["digest"] == digest


@pytest.mark.parametrize("challenge", ["Basic", 'Bearer realm="http://{}/token",service="mirror"'])
def test_a_mirror_is_not_shown_the_registrys_password(registry: Registry, tmp_path: Path, challenge: str) -> None:
    shown: list[str | None] = []

    class NosyMirrorStandIn(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["Authorization"])
            self.send_response(401)
            self.send_header("WWW-Authenticate", challenge.format(self.headers["Host"]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "login.json").write_text(json.dumps({"auths": {"ghcr.io": {"username": "alice", "password": "p"}}}))
    with server(NosyMirrorStandIn) as mirror:
        result = run_module(
            oci_image_info,
            image=f"ghcr.io/{REPOSITORY}:0.9.0-rc.3-cuda",
            mirrors={"ghcr.io": [f"http://{mirror}", f"http://{registry.address}"]},
            docker_config=str(tmp_path / "login.json"),
        )
    assert "image" in result
    assert set(shown) == {None}


def test_a_proxy_of_the_environment(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name does not resolve here: only the proxy stand-in can reach it."""
    seen: list[str] = []

    class ProxyStandIn(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            path = urlsplit(self.path).path
            straight = requests.Session()
            straight.trust_env = False
            accept = {"Accept": self.headers.get("Accept", "*/*")}
            answer = straight.get(f"http://{registry.address}{path}", headers=accept, timeout=5)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with server(ProxyStandIn) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        assert "image" in ask("registry.invalid")
    assert seen[0] == f"http://registry.invalid/v2/{REPOSITORY}/manifests/0.9.0-rc.3-cuda"


@pytest.fixture
def pull_secret() -> Iterator[Secret]:
    """Makes Secrets in the cluster, of a type and with data, and gives the option that names them."""
    made: list[str] = []

    def make(kind: str, data: dict[str, str]) -> dict[str, str]:
        metadata = {"generateName": "registry-login-"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": data}
        made.append(api.call("POST", SECRETS, secret)["metadata"]["name"])
        return {"namespace": "default", "name": made[-1]}

    yield make
    for name in made:
        api.call("DELETE", f"{SECRETS}/{name}")


@pytest.fixture(scope="module")
def private(serve: Callable[..., Registry], tmp_path_factory: pytest.TempPathFactory) -> Registry:
    users = tmp_path_factory.mktemp("auth") / "htpasswd"
    users.write_text(SECRET)
    found = serve({"htpasswd": {"realm": "private", "path": str(users)}}, ("alice", "secret"))
    found.image("1.0.0-cuda", "12.6.3")
    return found


class TestPasswords:
    """htpasswd: the registry asks for Basic."""

    def login(self, address: str, password: str = "secret") -> str:
        auth = base64.b64encode(f"alice:{password}".encode()).decode()
        return json.dumps({"auths": {f"https://{address}/v1/": {"auth": auth}}})

    def test_without_a_login(self, private: Registry) -> None:
        assert ask(private, f"{REPOSITORY}:1.0.0-cuda")["msg"] == (
            f"image {private.address}/{REPOSITORY}:1.0.0-cuda: http://{private.address} does not give access "
            "(UNAUTHORIZED: authentication required): the repository is private, or does not exist (a registry does "
            f"not tell which). Check the name; for a private one give docker_config or pull_secret with a login for "
            f"{private.address}."
        )

    def test_with_the_users_own_docker_configuration(self, private: Registry, home: Path) -> None:
        (home / ".docker").mkdir()
        (home / ".docker" / "config.json").write_text(self.login(private.address))
        assert "image" in ask(private, f"{REPOSITORY}:1.0.0-cuda")

    def test_with_a_file(self, private: Registry, tmp_path: Path) -> None:
        (tmp_path / "login.json").write_text(self.login(private.address))
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(tmp_path / "login.json"), variants=True)
        assert len(result["variants"]) == 1

    def test_with_a_file_that_is_not_there(self, private: Registry, tmp_path: Path, home: Path) -> None:
        (home / ".docker").mkdir()
        (home / ".docker" / "config.json").write_text(self.login(private.address))
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(tmp_path / "login.json"))
        assert result["msg"] == (
            f"docker configuration {tmp_path}/login.json: it cannot be read: No such file or directory. Repair it "
            "(docker login writes it), or name another file."
        )

    def test_with_another_login_in_the_users_own_file(self, private: Registry, tmp_path: Path, home: Path) -> None:
        (home / ".docker").mkdir()
        (home / ".docker" / "config.json").write_text(self.login(private.address))
        (tmp_path / "login.json").write_text(self.login("ghcr.io"))
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(tmp_path / "login.json"))
        assert "does not give access" in result["msg"]

    def test_of_a_mirror(self, private: Registry, tmp_path: Path) -> None:
        (tmp_path / "login.json").write_text(self.login(private.address))
        result = run_module(
            oci_image_info,
            image=f"ghcr.io/{REPOSITORY}:1.0.0-cuda",
            mirrors={"ghcr.io": f"http://{private.address}"},
            docker_config=str(tmp_path / "login.json"),
        )
        assert "image" in result

    def test_with_an_identity_token(self, private: Registry, tmp_path: Path) -> None:
        login = {"auths": {private.address: {"identitytoken": "secret-token"}}}
        (tmp_path / "login.json").write_text(json.dumps(login))
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(tmp_path / "login.json"))
        assert result["msg"] == (
            f"registry http://{private.address}: its login is an identity token, and it wants user and password. Give "
            f"docker_config or pull_secret with user and password for {private.address}."
        )

    def test_with_a_wrong_password(self, private: Registry, tmp_path: Path) -> None:
        (tmp_path / "login.json").write_text(self.login(private.address, "wrong"))
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(tmp_path / "login.json"))
        assert "does not give access" in result["msg"]

    def test_with_a_credential_helper(self, private: Registry, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        helper = home / "docker-credential-lab"
        helper.write_text(
            '#!/bin/sh\nread -r asked\n[ "$asked" = "' + private.address + '" ] || exit 1\n'
            'echo \'{"Username": "alice", "Secret": "secret"}\'\n'
        )
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", str(home), prepend=":")
        (home / "config.json").write_text(json.dumps({"credHelpers": {private.address: "lab"}}))
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(home / "config.json"))
        assert "image" in result, result["msg"]

    @pytest.mark.parametrize("answer", ["not JSON: secret", '{"Secret": "secret"}', '["secret"]'])
    def test_with_a_credential_helper_that_fails(
        self, private: Registry, home: Path, monkeypatch: pytest.MonkeyPatch, answer: str
    ) -> None:
        helper = home / "docker-credential-broken"
        helper.write_text(f"#!/bin/sh\necho '{answer}'\n")
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", str(home), prepend=":")
        (home / "config.json").write_text(json.dumps({"credsStore": "broken"}))
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(home / "config.json"))
        assert result["msg"] == (
            f"credential helper docker-credential-broken: it has no usable answer for {private.address}: JSON with "
            f"Username and Secret is expected. See what it says: echo {private.address} | docker-credential-broken "
            "get. Or give docker_config without it."
        )

    def test_with_a_pull_secret_of_the_cluster(self, private: Registry, pull_secret: Secret) -> None:
        secret = pull_secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": self.login(private.address)})
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", pull_secret=secret, variants=True)
        assert [one["tag"] for one in result["variants"]] == ["1.0.0-cuda"]

    def test_a_pull_secret_comes_before_the_docker_configuration(
        self, private: Registry, pull_secret: Secret, tmp_path: Path
    ) -> None:
        (tmp_path / "login.json").write_text(self.login(private.address, "wrong"))
        secret = pull_secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": self.login(private.address)})
        wrong = {"docker_config": str(tmp_path / "login.json")}
        assert "image" in ask(private, f"{REPOSITORY}:1.0.0-cuda", pull_secret=secret, **wrong)

    def test_a_pull_secret_for_another_registry(self, private: Registry, pull_secret: Secret) -> None:
        secret = pull_secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": self.login("ghcr.io")})
        result = ask(private, f"{REPOSITORY}:1.0.0-cuda", pull_secret=secret)
        assert "does not give access" in result["msg"]

    def test_a_secret_of_another_kind(self, private: Registry, pull_secret: Secret) -> None:
        secret = pull_secret("Opaque", {"password": "secret"})
        assert ask(private, pull_secret=secret)["msg"] == (
            f"Secret {secret['namespace']}/{secret['name']}: it holds no docker configuration (type Opaque). Make it "
            f"with: kubectl create secret docker-registry {secret['name']} -n default --docker-server=… "
            "--docker-username=…"
        )

    def test_a_secret_that_is_not_there(self, private: Registry) -> None:
        result = ask(private, pull_secret={"namespace": "default", "name": "no-such-secret"})
        assert result["msg"] == (
            "Secret default/no-such-secret: it is not there. Make it with: kubectl create secret docker-registry "
            "no-such-secret -n default --docker-server=… --docker-username=…"
        )

    def test_with_a_broken_file(self, private: Registry, tmp_path: Path) -> None:
        (tmp_path / "login.json").write_text("{")
        result = ask(private, docker_config=str(tmp_path / "login.json"))
        assert result["msg"].startswith(f"docker configuration {tmp_path}/login.json: it cannot be read: ")


@pytest.fixture(scope="module")
def guarded(serve: Callable[..., Registry], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    key = rsa.generate_private_key(65537, 2048)
    certificate = self_signed(key)
    bundle = tmp_path_factory.mktemp("auth") / "bundle.pem"
    bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    class TokenServiceStandIn(BaseHTTPRequestHandler):
        """Gives everybody pull, and alice push; nobody else exists. alice has an identity token too."""

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            scopes = query.get("scope", [])
            login = base64.b64decode(self.headers.get("Authorization", "Basic ")[6:]).decode()
            if login not in ("", "alice:secret") or any("secret-project" in scope for scope in scopes):
                return self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "no such user"}]})
            actions = ["pull", "push"] if login else ["pull"]
            access = [{"type": "repository", "name": scope.split(":")[1], "actions": actions} for scope in scopes]
            return self.answer(200, {"token": token(key, certificate, query["service"][0], access)})

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if form["grant_type"] != ["refresh_token"] or form["refresh_token"] != ["alices-identity"]:
                return self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "no such token"}]})
            access = [{"type": "repository", "name": form["scope"][0].split(":")[1], "actions": ["pull"]}]
            return self.answer(200, {"access_token": token(key, certificate, form["service"][0], access)})

        def answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with server(TokenServiceStandIn) as address:
        settings = {
            "realm": f"http://{address}/token",
            "service": "lab",
            "issuer": "lab-issuer",
            "rootcertbundle": str(bundle),
        }
        found = serve({"token": settings})
        whole = [{"type": "repository", "name": REPOSITORY, "actions": ["pull", "push"]}]
        bearer = token(key, certificate, "lab", whole)
        push_with_token(found, bearer)
        yield found


class TestTokens:
    """A token service, as ghcr.io and Docker Hub have it; the registry is real and checks every signature."""

    def test_anonymous(self, guarded: Registry) -> None:
        result = ask(guarded, f"{REPOSITORY}:1.0.0-cuda", variants=True)
        assert [one["tag"] for one in result["variants"]] == ["1.0.0-cuda"]

    def test_a_tag_that_is_not_there(self, guarded: Registry) -> None:
        assert (
            "has no tag 2.0.0-cuda. Tags that it has: 1.0.0-cuda (1 in all)."
            in (ask(guarded, f"{REPOSITORY}:2.0.0-cuda")["msg"])
        )

    @pytest.mark.parametrize(
        "login",
        [
            pytest.param(
                {"auth": base64.b64encode(b"0000:").decode(), "identitytoken": "alices-identity"}, id="az-acr"
            ),
            pytest.param({"auth": base64.b64encode(b"<token>:alices-identity").decode()}, id="helper"),
        ],
    )
    def test_an_identity_token_is_exchanged(self, guarded: Registry, tmp_path: Path, login: dict[str, str]) -> None:
        (tmp_path / "login.json").write_text(json.dumps({"auths": {guarded.address: login}}))
        result = ask(guarded, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(tmp_path / "login.json"), variants=True)
        assert [one["tag"] for one in result["variants"]] == ["1.0.0-cuda"]

    def test_an_identity_token_that_is_no_longer_good(self, guarded: Registry, tmp_path: Path) -> None:
        (tmp_path / "login.json").write_text(json.dumps({"auths": {guarded.address: {"identitytoken": "old"}}}))
        result = ask(guarded, f"{REPOSITORY}:1.0.0-cuda", docker_config=str(tmp_path / "login.json"))
        assert "does not give access (UNAUTHORIZED: no such token)" in result["msg"]

    def test_private_or_absent(self, guarded: Registry) -> None:
        started = time.monotonic()
        assert ask(guarded, "team/secret-project:1.0.0")["msg"] == (
            f"image {guarded.address}/team/secret-project:1.0.0: http://{guarded.address} does not give access "
            "(UNAUTHORIZED: no such user): the repository is private, or does not exist (a registry does not tell "
            f"which). Check the name; for a private one give docker_config or pull_secret with a login for "
            f"{guarded.address}."
        )
        assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        pytest.param(
            429,
            {"Retry-After": "3600"},
            {"errors": [{"code": "TOOMANYREQUESTS", "message": "retry-after: 880.092µs, allowed: 44000/minute"}]},
            "it limits the rate of requests (TOOMANYREQUESTS: retry-after: 880.092µs, allowed: 44000/minute) "
            "(Retry-After: 3600): the image was not looked at. Wait, or log in: registries give accounts a higher "
            "limit (docker_config, pull_secret).",
            id="rate-limit",
        ),
        pytest.param(
            503,
            {},
            {},
            "it failed with HTTP status 503. Try again later; its operator's status page may know more.",
            id="down-behind-its-proxy",
        ),
    ],
)
def test_a_registry_that_cannot_now(status: int, headers: dict[str, str], body: dict[str, Any], said: str) -> None:
    class BusyRegistryStandIn(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            busy = self.path != "/v2/"
            content = json.dumps(body if busy else {}).encode()
            self.send_response(status if busy else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with server(BusyRegistryStandIn) as address:
        assert ask(address)["msg"] == f"registry http://{address}: {said}"


def in_front_of(registry: Registry, status: Callable[[str], int]) -> type[BaseHTTPRequestHandler]:
    """A stand-in's handler that answers each path with a status: 307 sends on to the real registry."""

    class FrontStandIn(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = status(self.path)
            self.send_response(code)
            if code == 307:
                self.send_header("Location", f"http://{registry.address}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return FrontStandIn


def test_a_registry_that_lists_no_tags(registry: Registry) -> None:
    """As a pull-through cache, or one whose tokens are good for pulling only: advice is lost, the image is known."""

    closed = f"/v2/{REPOSITORY}/tags/list"
    with server(in_front_of(registry, lambda path: 403 if path.startswith(closed) else 307)) as address:
        result = ask(address, variants=True)
    assert result["image"]["cuda_version"] == "12.9.0"
    assert result["variants"] == []
    assert [one["status"] for one in result["findings"]] == ["ok", "warning"]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (403, "http://{} does not give access: the repository is private, or does not exist (a registry does not tell "
              "which)."),
        (405, "it failed with HTTP status 405."),
        (429, "it limits the rate of requests: the image was not looked at."),
    ],
)  # fmt: skip
def test_a_tag_that_is_not_there_where_no_tags_are_listed(registry: Registry, status: int, why: str) -> None:
    closed = f"/v2/{REPOSITORY}/tags/list"
    with server(in_front_of(registry, lambda path: status if path.startswith(closed) else 307)) as address:
        result = ask(address, f"{REPOSITORY}:7.7.7-cuda")
    assert result["msg"] == (
        f"image {address}/{REPOSITORY}:7.7.7-cuda: {address}/{REPOSITORY} has no tag 7.7.7-cuda.\n"
        f"  its tags cannot be listed: {why.format(address)}\nCheck it where the image is published."
    )
    assert [one["check"] for one in result["findings"]] == ["image.tag"]


@pytest.mark.parametrize(
    ("lost", "says"), [(f"/v2/{REPOSITORY}/blobs/", "blobs"), (f"/v2/{REPOSITORY}/manifests/sha256:", "manifests")]
)
def test_an_image_of_which_a_part_is_lost(registry: Registry, lost: str, says: str) -> None:
    with server(in_front_of(registry, lambda path: 404 if path.startswith(lost) else 307)) as address:
        said = ask(address)["msg"]
    assert said.startswith(
        f"image {address}/{REPOSITORY}:0.9.0-rc.3-cuda: http://{address} has no /v2/{REPOSITORY}/{says}/sha256:"
    )
    assert said.endswith(". A part of the image is lost there: push it again, or take another tag.")


def test_tags_on_many_pages(registry: Registry) -> None:
    """The second page is empty and not the last; a Link may name a host that only the registry's proxy knows."""
    pages = {
        "": (["0.9.0-rc.3-cuda"], f"/v2/{REPOSITORY}/tags/list?n=1&last=a"),
        "n=1&last=a": ([], f"http://registry.invalid/v2/{REPOSITORY}/tags/list?n=1&last=b"),
        "n=1&last=b": (["0.9.0-rc.3-cuda-12.6.3"], "list?n=1&last=c"),
        "n=1&last=c": (["0.9.0-rc.3-cuda-12.4.1"], ""),
    }

    class PagesStandIn(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            listed = asked.path.endswith("/tags/list")
            tags, following = pages[asked.query] if listed else ([], "")
            content = json.dumps({"name": REPOSITORY, "tags": tags}).encode()
            self.send_response(200 if listed else 307)
            if not listed:
                self.send_header("Location", f"http://{registry.address}{self.path}")
            if following:
                self.send_header("Link", f'<{following}>; rel="next"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with server(PagesStandIn) as address:
        variants = ask(address, variants=True)["variants"]
    assert [one["tag"] for one in variants] == ["0.9.0-rc.3-cuda", "0.9.0-rc.3-cuda-12.6.3", "0.9.0-rc.3-cuda-12.4.1"]


def test_a_limit_that_passes(registry: Registry) -> None:
    """One 429, as ghcr.io gives them by the second; then the real registry answers."""
    calls: list[str] = []

    def status(path: str) -> int:
        calls.append(path)
        return 429 if len(calls) == 1 else 307

    with server(in_front_of(registry, status)) as address:
        assert "image" in ask(address)
    assert calls[0] == calls[1]


class CaptivePortalStandIn(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = b"<html>Welcome! Log in for internet access.</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def test_a_captive_portal() -> None:
    with server(CaptivePortalStandIn) as address:
        assert ask(address)["msg"] == (
            f"image {address}/{REPOSITORY}:0.9.0-rc.3-cuda: {address} answered with something that is no JSON object. "
            "Is that address a registry? A captive portal or proxy answers like this."
        )


def test_a_text_that_is_no_reference() -> None:
    result = run_module(oci_image_info, image="ghcr.io/Speaches:latest")
    assert result["msg"] == (
        "image 'ghcr.io/Speaches:latest': this is no image reference. Write registry/repository:tag or "
        "registry/repository@sha256:…, all lower case before the tag."
    )


class server:
    """A handler served on 127.0.0.1 for the length of a with block; gives its address."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab-issuer")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def token(key: rsa.RSAPrivateKey, certificate: x509.Certificate, service: str, access: list[dict[str, Any]]) -> str:
    """A JSON web token as distribution's token specification wants it."""
    der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    now = int(time.time())
    header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
    claims = {
        "iss": "lab-issuer", "sub": "", "aud": service, "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1",
        "access": access,
    }  # fmt: skip
    signed = b".".join(urlsafe(json.dumps(part).encode()) for part in (header, claims))
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return b".".join((signed, urlsafe(signature))).decode()


def urlsafe(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def push_with_token(registry: Registry, bearer: str) -> None:
    """Publishes one image at a registry that wants a token to push."""

    class Bearer(requests.auth.AuthBase):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = f"Bearer {bearer}"
            return request

    Registry(registry.address, Bearer()).image("1.0.0-cuda", "12.6.3")  # type: ignore[arg-type]
