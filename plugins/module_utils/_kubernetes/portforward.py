# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""HTTP through a port-forward to the Ready pods of a Service.

Unlike the API server's proxy it leaves the Authorization header as it is, and it comes out inside the pod, where no
NetworkPolicy applies.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

from . import objects as observed
from .cluster import ClusterError, label_selector

if TYPE_CHECKING:
    from .cluster import Cluster


def endpoints(cluster: Cluster, namespace: str, service: str, port: str) -> list[tuple[str, int]]:
    """Name and port of each Ready pod behind the Service's port, which is given by name or number.

    Raises ClusterError: 404 without such a Service, selector or port, 503 without a Ready pod.
    """
    spec = cluster.get(f"/api/v1/namespaces/{namespace}/services/{service}").get("spec") or {}
    ports = (one for one in spec.get("ports") or () if isinstance(one.get("port"), int))
    wanted = next((one for one in ports if port in (one.get("name"), str(one["port"]))), None)
    if wanted is None:
        raise _missing(404, namespace, service, f"it has no port {port}.")
    if not spec.get("selector"):
        raise _missing(404, namespace, service, "it selects no pods.")
    query = {"labelSelector": label_selector(spec["selector"])}
    found = []
    for pod in cluster.get(f"/api/v1/namespaces/{namespace}/pods", query)["items"]:
        number = _number(pod, wanted.get("targetPort", wanted["port"]))
        seen = observed.pod(pod)
        if seen.ready and not seen.deleting and number:
            found.append((seen.name, number))
    if not found:
        raise _missing(503, namespace, service, "no pod behind it is Ready.")
    return found


def request(
    cluster: Cluster,
    namespace: str,
    pod: str,
    port: int,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: float,
    tls: tuple[ssl.SSLContext, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of the pod's answer. timeout: seconds without a byte. tls: where the pod speaks it, whom to trust
    and the name in its certificate. Raises ClusterError."""
    from .transport import Guard

    subject = f"pod {namespace}/{pod}"
    opened = _opened(cluster, namespace, pod, port, subject)
    connection = HTTPConnection(pod, port, timeout=timeout)
    connection.sock = opened.socket(port)
    with Guard(max(cluster.limits.whole, 2 * timeout)) as guard:
        try:
            connection.sock.setblocking(True)
            connection.sock.settimeout(timeout)
            guard.hold(connection.sock)
            if tls:
                plain_socket = getattr(connection.sock, "_socket", connection.sock)  # the library wraps it
                connection.sock = tls[0].wrap_socket(plain_socket, server_hostname=tls[1])
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read(cluster.limits.answer + 1)
            if guard.is_cut:
                raise TimeoutError
        except (OSError, HTTPException) as exc:
            said = _said(exc, opened.error(port))
            if guard.is_cut:
                said = f"its answer has not ended after {guard.seconds:g} s"
            raise ClusterError(subject, f"it does not answer at port {port}: {said}.", "") from exc
        finally:
            connection.close()
    if len(content) > cluster.limits.answer:
        raise ClusterError(subject, f"its answer at port {port} is too large.", "")
    return answer.status, content


def _opened(cluster: Cluster, namespace: str, pod: str, port: int, subject: str) -> Any:
    """The client library's port-forward, which has no limits of its own."""
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import portforward, ws_client

    kind = getattr(ws_client.WebSocket, "unlimited", ws_client.WebSocket)
    ws_client.WebSocket = _limited(kind, cluster.limits.connect, cluster.limits.silence)
    ws_client.PortForward = _quiet(getattr(ws_client.PortForward, "loud", ws_client.PortForward))
    try:
        # A client for each: the library changes it while it opens a stream.
        return portforward(
            CoreV1Api(cluster.client()).connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port)
        )
    except ApiException as exc:
        status, said = _refusal(exc)
        raise ClusterError(subject, f"no port-forward to it: {said}.", "", status=status) from exc


@cache
def _limited(kind: Any, connect: float, silence: float) -> Any:
    """The library's web socket, with limits for connecting and for silence."""

    class Limited(kind):  # type: ignore[misc]
        unlimited = kind

        def connect(self, url: str, **options: Any) -> None:
            super().connect(url, **{"timeout": connect, **options})
            self.settimeout(silence)

    return Limited


@cache
def _quiet(kind: Any) -> Any:
    """The library's port-forward; that this end has hung up is no traceback of its thread."""

    class Quiet(kind):  # type: ignore[misc]
        loud = kind

        def _proxy(self) -> None:
            with suppress(OSError):
                super()._proxy()

    return Quiet


def _refusal(exc: Any) -> tuple[int, str]:
    """HTTP status, 0 without an answer, and the API server's words. The library has them in what it caught itself."""
    caught = exc.__context__
    status = getattr(caught, "status_code", None) or exc.status or 0
    if status:
        with suppress(ValueError, TypeError):
            answer = json.loads(caught.resp_body)
            if isinstance(answer, dict) and isinstance(answer.get("message"), str):
                return status, answer["message"].strip().rstrip(".")
        return status, f"HTTP status {status}"
    return 0, _said(caught if isinstance(caught, Exception) else exc, None)


def _said(exc: Exception, by_cluster: str | None) -> str:
    """Why there was no answer: the API server's words where it has some."""
    text = by_cluster or getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return str(text).strip().splitlines()[0].rstrip(".")


def _number(pod: Mapping[str, Any], target: str | int) -> int:
    if isinstance(target, int):
        return target
    ports = (one for container in pod["spec"]["containers"] for one in container.get("ports") or ())
    return next((int(one["containerPort"]) for one in ports if one.get("name") == target), 0)


def _missing(status: int, namespace: str, service: str, message: str) -> ClusterError:
    return ClusterError(f"Service {namespace}/{service}", message, "", status=status)
