# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The ways to a source of measured memory: through the API server's proxy, by port-forward, or by its own address."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from .._findings import CollectionError
from .._kubernetes.cluster import Cluster, ClusterError
from .._text import plain
from .samples import ANSWER_BYTES, SourceError, refusal

if TYPE_CHECKING:
    from urllib3 import PoolManager

    from .._kubernetes.transport import Guard

Ask = Callable[[str, Mapping[str, str]], bytes]
"""The body at a path, below where the source stands, with a query. Raises SourceError."""

CONNECT_SECONDS = 5.0
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True)
class Place:
    """Where a source stands: a Service's port, or an address. prefix: of all its paths. ca_cert: a file.

    With a token a Service is asked by port-forward: the API server's proxy takes the Authorization header away. Then,
    too, ca_cert is the authority of its certificate, which is to be for NAME.NAMESPACE.svc.
    """

    namespace: str = ""
    service: str = ""
    port: str = ""
    scheme: str = "http"
    url: str = ""
    prefix: str = ""
    token: str = field(default="", repr=False)
    ca_cert: str = ""
    tenant: str = ""

    @property
    def subject(self) -> str:
        if not self.url:
            return f"Service {self.namespace}/{self.service}:{self.port}"
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    @classmethod
    def of(cls, option: str, given: Mapping[str, Any] | None, path: str = "") -> Place | None:
        """The place that an option names; None without one. path: where none is given. Raises SourceError."""
        said = {name: value for name, value in (given or {}).items() if value not in (None, "")}
        if not said.get("url") and not said.get("service"):
            return None
        service = re.fullmatch(r"([a-z0-9-]{1,63})/([a-z0-9-]{1,63}):([a-z0-9-]{1,15})", str(said.get("service", "")))
        if not said.get("url") and service is None:
            raise SourceError(
                f"option {option}.service",
                "it is not NAMESPACE/NAME:PORT.",
                "Write it as monitoring/prometheus-server:80.",
            )
        if said.get("url"):
            _check_url(option, str(said["url"]))
        if not _PATH.fullmatch(str(said.get("path", ""))) or ".." in str(said.get("path", "")):
            raise SourceError(f"option {option}.path", "it is no path of a server.", "Write it as /prometheus.")
        token = str(said.get("token", ""))
        if not re.fullmatch(r"[!-~]*", token) or not re.fullmatch(r"[ -~]*", str(said.get("tenant", ""))):
            raise SourceError(
                f"option {option}",
                "a header cannot carry its token or tenant.",
                "Often it is the newline at the end of the file that it was read from.",
            )
        where: dict[str, str] = {}
        if service:
            where = {"namespace": service[1], "service": service[2], "port": service[3]}
        if urlsplit(str(said.get("url", ""))).path not in ("", "/"):
            path = ""
        where |= {name: str(said[name]) for name in ("scheme", "url", "ca_cert", "tenant") if name in said}
        return cls(**where, prefix=str(said.get("path", path)).rstrip("/"), token=token)

    @property
    def host(self) -> str:
        """What the certificate of a Service is for."""
        return f"{self.service}.{self.namespace}.svc"

    @property
    def headers(self) -> dict[str, str]:
        sent = {"Accept": "application/json, text/plain;q=0.9", "User-Agent": "portal.stt"}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        return sent | ({"X-Scope-OrgID": self.tenant} if self.tenant else {})


def _check_url(option: str, url: str) -> None:
    """Raises SourceError, which does not show it: there may be a password in it."""
    try:
        parts = urlsplit(url)
        right = (
            parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and re.fullmatch("[!-~]+", url)
        )
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment:
        raise SourceError(f"option {option}.url", "it is not an address.", "Write it as https://192.168.1.10:9090.")
    if parts.username is not None:
        raise SourceError(f"option {option}.url", "it has a user's name or password in it, which is not sent.",
                          f"Take it out, and give a token in {option}.token.")  # fmt: skip


def way(place: Place, cluster: Callable[[], Cluster], seconds: float) -> Ask:
    """How to ask there. cluster: connects, where that is the way. seconds: for a request and its answer."""
    if place.url:
        return _directly(place, seconds)
    return _by_port_forward(place, cluster(), seconds) if place.token else _through_proxy(place, cluster(), seconds)


def _through_proxy(place: Place, cluster: Cluster, seconds: float) -> Ask:
    secure = "https:" if place.scheme == "https" else ""
    root = f"/api/v1/namespaces/{place.namespace}/services/{secure}{place.service}:{place.port}/proxy{place.prefix}"

    def ask(path: str, query: Mapping[str, str]) -> bytes:
        try:
            return cluster.request("GET", f"{root}{path}", query=query, headers=place.headers, timeout=seconds)
        except ClusterError as exc:
            if exc.body.get("status") == "error":
                raise refusal(place.subject, exc.status, exc.body) from exc
            if exc.body.get("kind") == "Status" or not exc.status:
                raise SourceError(
                    place.subject,
                    f"no way to it through {exc.subject}: {plain(exc.message)}",
                    _PROXY.get(exc.status, exc.remedy),
                    status=exc.status,
                ) from exc
            raise _status(place, exc.status) from exc

    return ask


_PROXY = {
    403: "Give the account the right to get services/proxy there, or name the source's url.",
    404: "Check namespace, name and port of the Service.",
    503: "Check that a pod behind the Service is Ready, and that no NetworkPolicy keeps the API server out.",
}  # fmt: skip


def _by_port_forward(place: Place, cluster: Cluster, seconds: float) -> Ask:
    from .._kubernetes import portforward

    tls = (_trust(place), place.host) if place.scheme == "https" else None

    def ask(path: str, query: Mapping[str, str]) -> bytes:
        target = f"{place.prefix}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            pod, port = portforward.endpoints(cluster, place.namespace, place.service, place.port)[0]
            status, body = portforward.request(
                cluster, place.namespace, pod, port, "GET", target, None, place.headers, seconds, tls
            )
        except ClusterError as exc:
            remedy = exc.remedy or "Give the account the right to pods/portforward there, or name the source's url."
            raise SourceError(place.subject, plain(exc.message), remedy, status=exc.status) from exc
        return _good(place, status, body)

    return ask


def _trust(place: Place) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=place.ca_cert or None)
    except (OSError, ValueError) as exc:
        said = getattr(exc, "strerror", None) or "it has no certificate"
        raise SourceError(
            place.subject, f"ca_cert cannot be used: {plain(said)}.", "Name a file with certificates as PEM."
        ) from exc


def _pool(place: Place) -> PoolManager:
    """Through the environment's proxy where there is one, as the other ways of the collection."""
    from urllib3 import PoolManager, ProxyManager

    from .._kubernetes.transport import limited

    parts = urlsplit(place.url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    options: dict[str, Any] = {"num_pools": 1, "retries": False}
    if parts.scheme == "https":
        options["ssl_context"] = _trust(place)
    return limited(ProxyManager(proxy, **options) if proxy else PoolManager(**options))


def _directly(place: Place, seconds: float) -> Ask:
    """Redirects are not followed: the token is for this host alone."""
    from urllib3 import Timeout

    from .._kubernetes.transport import Guard, why

    pool = _pool(place)

    def ask(path: str, query: Mapping[str, str]) -> bytes:
        url = f"{place.url.rstrip('/')}{place.prefix}{path}" + (f"?{urlencode(query)}" if query else "")
        with Guard(seconds) as guard:
            try:
                with guard.sending():
                    response = pool.request(
                        "GET", url, headers=place.headers, timeout=Timeout(CONNECT_SECONDS, seconds),
                        redirect=False, preload_content=False,
                    )  # fmt: skip
                return _good(place, response.status, _bounded(place, response, guard))
            except CollectionError:
                raise
            except Exception as exc:
                said = (
                    f"it has not answered within {seconds:g} s"
                    if guard.is_cut
                    else why(exc, CONNECT_SECONDS, seconds)[0]
                )
                raise SourceError(
                    place.subject, f"{said}.", "Check its address, certificate authority and that it runs."
                ) from exc

    return ask


def _bounded(place: Place, response: Any, guard: Guard) -> bytes:
    parts, size = [], 0
    for chunk in response.stream(1024 * 1024, decode_content=True):
        size += len(chunk)
        if size > ANSWER_BYTES:
            response.close()
            raise SourceError(
                place.subject, f"its answer is larger than {ANSWER_BYTES // 1024**2} MiB.", "Ask for a shorter window."
            )
        parts.append(chunk)
    if guard.is_cut:
        raise TimeoutError
    return b"".join(parts)


def _good(place: Place, status: int, body: bytes) -> bytes:
    if 200 <= status < 300:
        return body
    import json

    try:
        said = json.loads(body[: 64 * 1024])
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and said.get("status") == "error":
        raise refusal(place.subject, status, said)
    raise _status(place, status)


def _status(place: Place, status: int) -> SourceError:
    remedies = {
        401: "Give a token that it accepts.",
        403: "Give a token that may read metrics.",
        404: "Check the path: some serve the API below a prefix (/prometheus, /select/0/prometheus).",
    }
    if 300 <= status < 400:
        return SourceError(
            place.subject, f"it sends requests elsewhere (HTTP status {status}).",
            "Name the address where it answers itself: a login page may stand before it.", status=status,
        )  # fmt: skip
    return SourceError(
        place.subject, f"it answers with HTTP status {status}.", remedies.get(status, "Look at its log."), status=status
    )
