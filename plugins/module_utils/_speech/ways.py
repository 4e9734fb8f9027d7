# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The ways to a speech server: through the Kubernetes API server's proxy, by port-forward, or to its own address.

Each has limits for connecting, for silence and as a whole; an answer is bounded, and the server's key goes to the
server alone: no redirect is followed.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from http.client import BadStatusLine, HTTPException, LineTooLong, RemoteDisconnected
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .._findings import CollectionError
from .._kubernetes.cluster import ClusterError
from .._kubernetes.portforward import endpoints, request
from .._text import plain

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

    from .._kubernetes.cluster import Cluster

CONNECT = 10.0
"""Seconds to reach a server's own address."""

ANSWER = 8 << 20
"""Bytes of an answer: an hour of speech as verbose JSON has about one million."""

_SHUT_OUT = "error trying to reach service"
"""The API server's words when its proxy finds an address behind a Service and gets no connection."""

_CUT = ("eof", "connection reset by peer", "broken pipe")
"""How those words end where there was a connection, and it broke off."""


@dataclass(frozen=True)
class Upload:
    """A request's body and its content type."""

    body: bytes
    content_type: str


Send = Callable[[str, str, "Upload | None"], bytes]
"""Sends (method, path below the server's root, body) and returns the answer's body, or raises RefusedError."""


class SpeechError(CollectionError):
    """The server cannot be asked, or did not answer with a text."""

    check = "speech.answer"


class Silence(Enum):
    """Why there is no answer: nobody was reached, nothing came in time, it broke off, or it was none of this kind."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    STRANGE = "strange"


class RefusedError(Exception):
    """The answer was not a success.

    status: HTTP status, 0 without an answer.
    detail: the server's own words, on one line of plain characters.
    by_cluster: the Kubernetes API server answered, not the speech server behind it.
    silence: why there is no answer, None where there is one.
    """

    def __init__(self, status: int, detail: str, *, by_cluster: bool = False, silence: Silence | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.by_cluster, self.silence = status, plain(detail, 500), by_cluster, silence


CLUSTER_REMEDIES = {
    0: "Check that the address is right and reachable from this machine (kubeconfig or K8S_AUTH_*).",
    401: "The credentials are not accepted or have expired: renew the kubeconfig or token.",
    403: "Give the account `get` on services, `list` on pods, and `get` and `create` on services/proxy and "
    "pods/portforward in this namespace, as playbooks/rbac.yml does.",
    404: "Correct [namespace], [service] and port, or run the deploy play first.",
    503: "Look at the pods, or run the deploy play, which waits and explains.",
}


def servers(
    cluster: Cluster, namespace: str, service: str, port: str, api_key: str, timeout: float
) -> list[tuple[str, Send]]:
    """The way to each Ready pod of a Service, with the pod's name, which is empty where there is only one.

    Several are asked by port-forward: the Service would spread a pod's requests over all. Raises SpeechError.
    """
    try:
        pods = endpoints(cluster, namespace, service, port)
    except ClusterError as exc:
        raise SpeechError(exc.subject, exc.message, CLUSTER_REMEDIES.get(exc.status, exc.remedy)) from exc
    ways = [(pod, through_pod(cluster, namespace, pod, number, api_key, timeout)) for pod, number in pods]
    if len(ways) > 1:
        return ways
    only = ways[0][1]
    return [("", only if api_key else through_cluster(cluster, namespace, service, port, timeout, only))]


def through_cluster(
    cluster: Cluster, namespace: str, service: str, port: str, timeout: float, by_port_forward: Send
) -> Send:
    """Sends through the API server's proxy to a Service. timeout: seconds without a byte.

    Where the proxy cannot reach the pods, mostly for a NetworkPolicy, by port-forward from then on.
    """
    root = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy"
    shut_out = False

    def send(method: str, path: str, upload: Upload | None) -> bytes:
        nonlocal shut_out
        if shut_out:
            return by_port_forward(method, path, upload)
        try:
            return cluster.request(
                method,
                f"{root}{path}",
                body=upload.body if upload else None,
                headers=_headers(upload),
                timeout=timeout,
            )
        except ClusterError as exc:
            if exc.status and _SHUT_OUT in exc.message:
                if exc.message.lower().rstrip(".").endswith(_CUT):
                    raise RefusedError(0, _words(Silence.BROKEN, exc.message), silence=Silence.BROKEN) from exc
                shut_out = True
                return by_port_forward(method, path, upload)
            if not exc.status:
                raise _unanswered(exc, timeout) from exc
            by_cluster = exc.body.get("kind") == "Status"
            detail = exc.message if by_cluster else _detail(exc.body)
            raise RefusedError(exc.status, detail, by_cluster=by_cluster) from exc

    return send


def through_pod(cluster: Cluster, namespace: str, pod: str, port: int, api_key: str, timeout: float) -> Send:
    """Sends by port-forward to a pod. timeout: seconds without a byte.

    api_key: sent as a bearer token unless empty. Raises SpeechError for one that no header can carry.
    """
    key = _bearer(api_key)

    def send(method: str, path: str, upload: Upload | None) -> bytes:
        headers = key | _headers(upload)
        body = upload.body if upload else None
        try:
            status, answer = request(cluster, namespace, pod, port, method, path, body, headers, timeout)
        except ClusterError as exc:
            if exc.status:
                raise RefusedError(exc.status, exc.message, by_cluster=True) from exc
            raise _unanswered(exc, timeout) from exc
        return _successful(status, answer)

    return send


def directly(url: str, api_key: str, timeout: float, *, validate_certs: bool = True) -> Send:
    """Sends to a server's own address, by the environment's proxy. timeout: seconds without a byte.

    api_key: as in `through_pod`. Raises SpeechError for an address that is none.
    """
    import urllib3

    from .._kubernetes.transport import Guard, why

    key, root = _bearer(api_key), _root(url)
    pool = _pool(root, validate_certs)
    waits = urllib3.Timeout(connect=min(CONNECT, timeout), read=timeout)

    def send(method: str, path: str, upload: Upload | None) -> bytes:
        body = upload.body if upload else None
        # No second use of a connection: the server may end an idle one just then.
        headers = {"User-Agent": "portal.stt", "Connection": "close", **key, **_headers(upload)}
        with Guard(max(60.0, 2 * timeout)) as guard:
            try:
                with guard.sending():
                    answer = pool.request(
                        method, f"{root}{path}", body=body, headers=headers, timeout=waits, redirect=False,
                        retries=False, preload_content=False, decode_content=False,
                    )  # fmt: skip
                content = _read(answer)
                if guard.is_cut:
                    raise TimeoutError
            except (urllib3.exceptions.HTTPError, OSError, HTTPException, ValueError) as exc:
                silence = Silence.TIMEOUT if guard.is_cut else _silence(exc)
                said = why(exc, min(CONNECT, timeout), timeout)[0]
                raise RefusedError(0, f"{url}: {_words(silence, said, timeout)}", silence=silence) from exc
        if answer.status in (301, 302, 303, 307, 308):
            raise RefusedError(answer.status, f"it leads to {plain(answer.headers.get('Location') or 'nowhere')}")
        return _successful(answer.status, content)

    return send


def _read(answer: BaseHTTPResponse) -> bytes:
    """The body as it comes, not unpacked, up to a byte more than it may have. Only the read after its last byte tells
    whether it is whole."""
    content = bytearray()
    while len(content) <= ANSWER and (part := answer.read(1 << 20, decode_content=False)):
        content += part
    return bytes(content)


def _pool(root: str, validate_certs: bool) -> PoolManager:
    import urllib3

    from .._kubernetes.transport import limited

    trust = ssl.create_default_context()
    if not validate_certs:
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    given = urlsplit(root)
    proxy = None if proxy_bypass(given.hostname or "") else getproxies().get(given.scheme)
    options: dict[str, Any] = {"ssl_context": trust, "maxsize": 1}
    return limited(urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options))


def _root(url: str) -> str:
    """The address without the slash at its end. Raises SpeechError."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and not parts.query
    except ValueError:
        right = False
    if not right or parts.username is not None or not re.fullmatch(r"[!-~]+", url):
        shown = plain(re.sub("//.*@", "//***@", url))
        raise SpeechError("option url", f"{shown} is no address of a server.", "Write it as http://HOST:PORT.")
    return url.rstrip("/")


def _successful(status: int, answer: bytes) -> bytes:
    if len(answer) > ANSWER:
        raise RefusedError(0, f"its answer is longer than {ANSWER >> 20} MiB", silence=Silence.STRANGE)
    if not 200 <= status < 300:
        raise RefusedError(status, _detail(parsed(answer)))
    return answer


def _unanswered(exc: ClusterError, timeout: float) -> RefusedError:
    silence = _silence(exc.__cause__) if exc.__cause__ else Silence.UNREACHABLE
    if silence is Silence.BROKEN and "refused" in exc.message:  # by the pod, at the other end of the port-forward
        silence = Silence.UNREACHABLE
    return RefusedError(0, _words(silence, exc.message, timeout), by_cluster=True, silence=silence)


def _words(silence: Silence, said: str, timeout: float = 0) -> str:
    """What happened, as a sentence without its end. said: why, in the words of the connection."""
    if silence is Silence.TIMEOUT:
        return f"no answer within {timeout:g} s"
    if silence is Silence.BROKEN:
        return f"the server broke the connection off in the middle of the request ({said.rstrip('.')})"
    return said.rstrip(".")


def _silence(exc: BaseException) -> Silence:
    from urllib3 import exceptions

    unreachable = (
        exceptions.ConnectTimeoutError,
        exceptions.NewConnectionError,
        exceptions.ProxyError,
        exceptions.SSLError,
        ssl.SSLCertVerificationError,
        gaierror,
        ConnectionRefusedError,
    )
    chain = list(_chain(exc))
    kinds: list[tuple[tuple[type[BaseException], ...], Silence]] = [
        (unreachable, Silence.UNREACHABLE),
        ((exceptions.ReadTimeoutError, TimeoutError), Silence.TIMEOUT),
        ((RemoteDisconnected,), Silence.BROKEN),
        ((BadStatusLine, LineTooLong), Silence.STRANGE),
        ((exceptions.ProtocolError, ConnectionError, HTTPException, ssl.SSLError, EOFError), Silence.BROKEN),
    ]
    return next((kind for types, kind in kinds if any(isinstance(one, types) for one in chain)), Silence.UNREACHABLE)


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if exc is None:
            return
        yield exc
        exc = exc.__cause__ or exc.__context__


def _bearer(api_key: str) -> dict[str, str]:
    """The header that carries the key. Refuses what a header cannot carry: the library's own error shows the key."""
    if not re.fullmatch(r"[!-~\xa1-\xff]*", api_key):
        raise SpeechError(
            "option server_api_key",
            "it holds white space, or a character that a header cannot carry.",
            "Correct the key. Often it is the newline at the end of the file that the key was read from.",
        )
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _headers(upload: Upload | None) -> dict[str, str]:
    return {"Content-Type": upload.content_type} if upload else {}


def parsed(body: bytes) -> dict[str, Any]:
    """The answer's JSON object; where it is none, what there is as its `detail`."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    return given if isinstance(given, dict) else {"detail": body[:2000].decode(errors="replace").strip()[:500]}


def _detail(body: Mapping[str, Any]) -> str:
    """FastAPI's `detail` (a text, or a list of wrong fields) or another server's message, in words."""
    detail = body.get("detail") or body.get("message") or "no reason given"
    if isinstance(detail, list):
        return "; ".join(_field(one) for one in detail[:10])
    return str(detail)[:2000]


def _field(one: Any) -> str:
    place = one.get("loc") if isinstance(one, dict) else None
    if not isinstance(place, list):
        return str(one)[:200]
    return f"{'.'.join(map(str, place))}: {one.get('msg')}"
