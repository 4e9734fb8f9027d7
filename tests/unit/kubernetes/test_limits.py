"""Every connection to the API server has an end, and a sentence that says why; against servers that misbehave."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import (
    Cluster,
    ClusterError,
    Limits,
)
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.transport import open_socket
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.watch import Interrupted, Watches
from kubernetes.client import Configuration
from werkzeug import Request, Response

from tests.servers import (
    answering,
    certificate,
    closing,
    dripping,
    dropping,
    saying,
    serving,
    silent,
    unused,
    web,
)

LIMITS = Limits(connect=0.4, silence=0.4, whole=1.0, answer=1024 * 1024)
ADDRESS = "Check address and port of the cluster (kubeconfig, context, host or K8S_AUTH_*), and that it runs."
ELSEWHERE = "Check that the address is the API server's own: a proxy, a login page or another service may stand there."
AGAIN = "Try again; where it stays so, look at what stands before the API server, and at its load."
LOOK = "Look at what answers there."
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
LONG = 30.0
"""Seconds: far above each limit of these tests, far below what it took without."""


def cluster(port: int, scheme: str = "http", limits: Limits = LIMITS, **access: Any) -> Cluster:
    configuration = Configuration(host=f"{scheme}://operator:geheim@127.0.0.1:{port}")
    for name, value in access.items():
        setattr(configuration, name, value)
    return Cluster(lambda: (configuration, {}), limits)


def refusal(ask: Callable[[], object], port: int) -> tuple[str, str]:
    """Message and remedy; the subject is the address without what is secret in it."""
    start = time.monotonic()
    with pytest.raises(ClusterError) as caught:
        ask()
    assert time.monotonic() - start < LONG
    assert caught.value.subject in (f"API server http://127.0.0.1:{port}", f"API server https://127.0.0.1:{port}")
    assert "geheim" not in str(caught.value)
    return caught.value.message, caught.value.remedy


ADMINISTRATOR = "Have an administrator run playbooks/rbac.yml with the same settings, or use another account."


def body(value: object) -> bytes:
    return json.dumps(value).encode()


def forbidden(message: str) -> bytes:
    return body({"kind": "Status", "message": message, "reason": "Forbidden", "code": 403})


@pytest.mark.parametrize(
    ("server", "message", "remedy"),
    [
        pytest.param(dropping(), "no connection within 0.4 s: the machine is off, or something drops the packets.",
                     ADDRESS, id="packets are dropped"),
        pytest.param(unused(), "it refuses the connection: nothing listens there.", ADDRESS, id="refused"),
        pytest.param(serving(silent), "it accepts the connection and says nothing for 0.4 s.", ADDRESS, id="silent"),
        pytest.param(serving(dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ")),
                     "it has not answered completely after 1 s.", AGAIN, id="headers without an end"),
        pytest.param(serving(dripping(HEAD + b"Content-Length: 9999\r\n\r\n")),
                     "it has not answered completely after 1 s.", AGAIN, id="a body without an end"),
        pytest.param(serving(closing), "it closes the connection without an answer.", ADDRESS, id="closes"),
        pytest.param(serving(saying(HEAD + b"Content-Length: 99\r\n\r\n{")), "its answer breaks off.",
                     AGAIN, id="breaks off"),
        pytest.param(serving(saying(b"SSH-2.0-OpenSSH_9.2\r\n")), "it does not speak HTTP.", ADDRESS, id="no HTTP"),
        pytest.param(serving(answering(200, b"[" * 1100000)),
                     "its answer for /api/v1/nodes is larger than 1 MiB.", LOOK, id="too large"),
        pytest.param(serving(answering(200, HTML, "text/html")),
                     "its answer for /api/v1/nodes is not that of a Kubernetes API server: it is a page of HTML.",
                     ELSEWHERE, id="a page"),
        pytest.param(serving(answering(302, HTML, "text/html")),
                     "it sends requests for /api/v1/nodes elsewhere (HTTP status 302).",
                     "Check that the address is the API server's own: a login page may stand before it.",
                     id="a way to a login page"),
        pytest.param(serving(answering(200, b"ok")),
                     "its answer for /api/v1/nodes is not that of a Kubernetes API server: it is not JSON.",
                     ELSEWHERE, id="no JSON"),
        pytest.param(serving(answering(200, b"[]")),
                     "its answer for /api/v1/nodes is not that of a Kubernetes API server: it is not a JSON object.",
                     ELSEWHERE, id="a list"),
        pytest.param(serving(answering(200, body({"status": "up"}))),
                     "its answer for /api/v1/nodes is not that of a Kubernetes API server: "
                     "it is no Kubernetes object.", ELSEWHERE, id="JSON of something else"),
        pytest.param(serving(answering(200, body({"kind": "NodeList", "metadata": {}, "items": {"a": 1}}))),
                     "its answer for /api/v1/nodes is not that of a Kubernetes API server: "
                     "its items are no Kubernetes objects.", ELSEWHERE, id="items are no list"),
        pytest.param(serving(answering(200, body({"kind": "NodeList", "metadata": {}, "items": [{"metadata": 1}]}))),
                     "its answer for /api/v1/nodes is not that of a Kubernetes API server: "
                     "its items are no Kubernetes objects.", ELSEWHERE, id="items are no objects"),
        pytest.param(serving(answering(401, body({"kind": "Status", "message": "Unauthorized", "code": 401}))),
                     "Unauthorized.",
                     "The credentials are not accepted or have expired: renew the kubeconfig or token.", id="401"),
        pytest.param(serving(answering(403, forbidden("nodes is forbidden: User u cannot list"))),
                     "nodes is forbidden: User u cannot list.",
                     ADMINISTRATOR, id="403"),
        pytest.param(serving(answering(403, HTML, "text/html")),
                     "it answers with HTTP status 403 for /api/v1/nodes.",
                     ADMINISTRATOR,
                     id="403 by something else"),
        pytest.param(serving(answering(400, b"Client sent an HTTP request to an HTTPS server.\n", "text/plain")),
                     "Client sent an HTTP request to an HTTPS server.", "", id="HTTP to an HTTPS port"),
    ],
)  # fmt: skip
def test_a_sentence_in_time(server: AbstractContextManager[int], message: str, remedy: str) -> None:
    with server as port:
        access = cluster(port)
        assert refusal(lambda: access.get("/api/v1/nodes"), port) == (message, remedy)


def test_it_waits_where_the_api_server_asks_for_it() -> None:
    asked: list[str] = []

    def busy(request: Request) -> Response:
        asked.append(request.path)
        if len(asked) < 3:
            return Response(status=429, headers={"Retry-After": "0"})
        return Response(body({"kind": "Node", "metadata": {"name": "n"}}))

    with web(busy) as address:
        assert cluster(int(address.rpartition(":")[2])).get("/api/v1/nodes/n")["kind"] == "Node"
    assert len(asked) == 3


@pytest.mark.parametrize("wanted", ["0", "3600", "9" * 5000, "Fri, 27 Nov 2026 09:00:00 GMT", ""])
def test_its_patience_has_an_end(wanted: str) -> None:
    asked: list[str] = []

    def busy(request: Request) -> Response:
        asked.append(request.path)
        return Response(status=429, headers={"Retry-After": wanted})

    with web(busy) as address:
        port = int(address.rpartition(":")[2])
        message, remedy = refusal(lambda: cluster(port).get("/api/v1/nodes"), port)
    assert message == "it answers with HTTP status 429 for /api/v1/nodes."
    assert remedy == "The API server asks for patience: try again in a minute."
    assert len(asked) == (6 if wanted == "0" else 1)


UNKNOWN = "its certificate is signed by nobody that is known here (self-signed certificate)."
CA = "Set ca_cert (K8S_AUTH_SSL_CA_CERT), or certificate-authority in the kubeconfig, to the cluster's own authority."
CLOCK = "Renew the API server's certificate, or set the clock of this machine right."
NAME = "Use a name that the certificate has, or set tls-server-name in the kubeconfig to one."


@pytest.mark.parametrize(
    ("name", "days", "known", "message", "remedy"),
    [
        pytest.param("127.0.0.1", 1, False, UNKNOWN, CA, id="unknown"),
        pytest.param("127.0.0.1", -1, True, "its certificate has expired.", CLOCK, id="expired"),
        pytest.param("10.9.9.9", 1, True, "its certificate is not for this address.", NAME, id="another's"),
    ],
)
def test_certificates(tmp_path: Path, name: str, days: int, known: bool, message: str, remedy: str) -> None:
    tls, path = certificate(tmp_path, name, days=days)
    with serving(answering(200, b"{}"), tls) as port:
        access = cluster(port, "https", ssl_ca_cert=str(path) if known else None)
        assert refusal(lambda: access.get("/api/v1/nodes"), port) == (message, remedy)


@pytest.mark.parametrize(
    ("server", "message", "remedy"),
    [
        pytest.param(serving(silent), "it accepts the connection and says nothing for 0.4 s.", ADDRESS, id="silent"),
        pytest.param(serving(dripping(b"\x16\x03\x03\x40\x00")),
                     "it accepts the connection and says nothing for 0.4 s.", ADDRESS, id="a handshake without an end"),
        pytest.param(serving(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "it does not speak TLS.",
                     "Check the port, and whether the address begins with http:// or https://.", id="no TLS"),
    ],
)  # fmt: skip
def test_tls_that_does_not_come_about(server: AbstractContextManager[int], message: str, remedy: str) -> None:
    with server as port:
        access = cluster(port, "https")
        assert refusal(lambda: access.get("/api/v1/nodes"), port) == (message, remedy)


PROXY = "Check the proxy (option proxy, proxy-url in the kubeconfig, HTTPS_PROXY), or except the cluster in NO_PROXY."


@pytest.mark.parametrize(
    ("server", "message"),
    [
        pytest.param(serving(answering(403, b"")),
                     "the proxy gives no way to it: Tunnel connection failed: 403 Said.", id="it refuses"),
        pytest.param(unused(), "the proxy gives no way to it: it refuses the connection: nothing listens there.",
                     id="it is not there"),
    ],
)  # fmt: skip
def test_a_proxy(server: AbstractContextManager[int], message: str) -> None:
    with server as port:
        access = cluster(6443, "https", proxy=f"http://127.0.0.1:{port}", no_proxy="")
        assert refusal(lambda: access.get("/api/v1/nodes"), 6443) == (message, PROXY)


def test_all_addresses_of_a_name_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with dropping() as port:
        one = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [one] * 40)
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            open_socket("many", port, 1.0)
        assert time.monotonic() - start < 20  # 40 s one by one


def test_a_name_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait())
    access = Cluster(lambda: (Configuration(host="http://cluster.invalid"), {}), LIMITS)
    with pytest.raises(ClusterError) as caught:
        access.get("/api/v1/nodes")
    over.set()
    assert caught.value.message == "its name cannot be resolved: the name servers do not answer within 0.4 s."


def test_an_empty_list_that_go_calls_null() -> None:
    with serving(answering(200, body({"kind": "NodeList", "metadata": {}, "items": None}))) as port:
        assert cluster(port).get("/api/v1/nodes")["items"] == []


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (serving(silent), "it accepts the connection and says nothing for 10.5 s."),
        (serving(answering(200, b'{"type": "ADDED", "object": 3}\n')), None),
        (serving(answering(200, b"<html>\n")), None),
        (serving(answering(200, b"x" * 1100000)), "its answer for /api/v1/pods is larger than 1 MiB."),
    ],
)
def test_a_watch(server: AbstractContextManager[int], message: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    with server as port:
        access = cluster(port)
        if message and "says nothing" in message:  # the limit is above ten seconds: cut as another thread would
            timer = threading.Timer(0.2, access.hang_up)
            timer.start()
            said, _ = refusal(lambda: list(access.watch("/api/v1/pods", timeout=0.5)), port)
            assert said == "it has not answered completely after 15.5 s."
        else:
            said, _ = refusal(lambda: list(access.watch("/api/v1/pods")), port)
            assert said == message or (message is None and "is not that of a Kubernetes API server" in said)


def test_watches_end_when_they_are_stopped() -> None:
    before = set(threading.enumerate())
    listed = body({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []})
    answers = iter([answering(200, listed)])

    def behave(connection: socket.socket, over: threading.Event) -> None:
        next(answers, silent)(connection, over)

    with serving(behave) as port:
        watches = Watches(cluster(port, limits=Limits()))
        watches.add("/api/v1/pods")
        assert not isinstance(watches.inbox.get(timeout=LONG), Interrupted)
        watches.stop()
        assert [one.name for one in set(threading.enumerate()) - before if one.name.startswith("watch")] == []


def test_nothing_stays_open() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with serving(answering(200, body({"kind": "NodeList", "metadata": {}, "items": []}))) as port:
        access = cluster(port)
        access.get("/api/v1/nodes")
        before, threads = descriptors(), threading.active_count()
        for _ in range(20):
            access.get("/api/v1/nodes")
        assert descriptors() <= before + 2
        assert threading.active_count() <= threads + 2
