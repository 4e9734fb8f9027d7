"""A port-forward has an end, too, and says why it came to nothing."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError, Limits
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.portforward import request
from kubernetes.client import Configuration

from tests.servers import Behaviour, answering, serving, silent

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
PORT = 8000


def frame(channel: int, data: bytes) -> bytes:
    """A binary frame of the channel, as a server sends it."""
    content = bytes([channel]) + data
    assert len(content) < 126
    return bytes([0x82, len(content)]) + content


def forwarding(said: Callable[[socket.socket, threading.Event], None]) -> Behaviour:
    """Agrees to a port-forward, as the API server does; then the pod says something."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        asked = connection.recv(65536)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", asked, re.IGNORECASE)
        assert key
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        for channel in (0, 1):
            connection.sendall(frame(channel, PORT.to_bytes(2, "little")))
        said(connection, over)

    return behave


def well(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(frame(0, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nheard"))
    over.wait()


def refuses(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(frame(1, b"failed to connect to localhost:8000 inside namespace"))
    over.wait()


def drips(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(frame(0, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"))
    while not over.wait(0.05):
        connection.sendall(frame(0, b"a"))


def ask(port: int) -> tuple[int, bytes]:
    configuration = Configuration(host=f"http://127.0.0.1:{port}")
    cluster = Cluster(lambda: (configuration, {}), Limits(connect=0.5, silence=0.5, whole=1.5, answer=1024))
    return request(cluster, "n", "pod-1", PORT, "GET", "/health", None, {}, 0.5)


def test_an_answer() -> None:
    with serving(forwarding(well)) as port:
        assert ask(port) == (200, b"heard")


@pytest.mark.parametrize(
    ("behave", "message"),
    [
        pytest.param(silent, "no port-forward to it: Connection timed out.", id="no agreement"),
        pytest.param(answering(403, b"{}"), "no port-forward to it: HTTP status 403.", id="refused"),
        pytest.param(answering(403, b'{"message": "pods is forbidden: User u cannot create"}'),
                     "no port-forward to it: pods is forbidden: User u cannot create.", id="a right is missing"),
        pytest.param(forwarding(silent), "it does not answer at port 8000: timed out.", id="the pod is silent"),
        pytest.param(forwarding(drips), "it does not answer at port 8000: its answer has not ended after 1.5 s.",
                     id="the pod's answer has no end"),
        pytest.param(forwarding(refuses), "it does not answer at port 8000: failed to connect to localhost:8000 inside "
                     "namespace.", id="nothing listens in the pod"),
    ],
)  # fmt: skip
def test_a_sentence_in_time(behave: Behaviour, message: str) -> None:
    start = time.monotonic()
    with serving(behave) as port, pytest.raises(ClusterError) as caught:
        ask(port)
    assert time.monotonic() - start < 30
    assert caught.value.subject == "pod n/pod-1"
    assert caught.value.message == message
