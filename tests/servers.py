"""Servers of a test's own: one that answers HTTP as told, and others on 127.0.0.1 that misbehave in one way each."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

Behaviour = Callable[[socket.socket, threading.Event], None]
"""What a server does with a connection, until the event says that the test is over."""

Answer = Callable[[Request], Response]


class _Web(HTTPServer):
    def thread_target(self) -> None:
        assert self.server
        if isinstance(self.server.socket, ssl.SSLSocket):
            # Each in its own thread: one who connects and says nothing would keep all others out, and the end as well.
            self.server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]
        self.server.serve_forever(0.02)  # the seconds that its end may take


@contextlib.contextmanager
def web(answer: Answer, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address, ``HOST:PORT``, at which `answer` makes the answer to every request. port: 0 for one that is free."""
    with _Web(host, port, tls, threaded=True) as server:
        server.expect_request(re.compile(".*")).respond_with_handler(answer)
        yield f"{host}:{server.port}"


@contextlib.contextmanager
def serving(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port at which each connection is treated so."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_accept, args=(listening, behave, tls, over), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def _accept(listening: socket.socket, behave: Behaviour, tls: ssl.SSLContext | None, over: threading.Event) -> None:
    threads = []
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            threads.append(threading.Thread(target=_treat, args=(connection, behave, tls, over), daemon=True))
            threads[-1].start()
    for thread in threads:
        thread.join(10)


def _treat(connection: socket.socket, behave: Behaviour, tls: ssl.SSLContext | None, over: threading.Event) -> None:
    with contextlib.suppress(OSError), connection:
        if tls:
            with tls.wrap_socket(connection, server_side=True) as secured:
                behave(secured, over)
        else:
            behave(connection, over)


def silent(connection: socket.socket, over: threading.Event) -> None:
    over.wait()


def closing(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)


def dripping(head: bytes) -> Behaviour:
    """After `head` one byte now and then, for ever."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while not over.wait(0.05):
            connection.sendall(b"a")

    return behave


def saying(text: bytes) -> Behaviour:
    """The same bytes to every request, and then the end."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return behave


def answering(status: int, body: bytes, kind: str = "application/json") -> Behaviour:
    """The same answer to every request."""
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return saying(head.encode() + body)


@contextlib.contextmanager
def dropping() -> Iterator[int]:
    """A port where packets are dropped: its queue of connections is full and nobody takes one out."""
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@contextlib.contextmanager
def unused() -> Iterator[int]:
    """A port where nothing listens, and nothing will meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def certificate(folder: Path, name: str = "127.0.0.1", *, days: int = 1) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS, with a certificate that is its own authority, and the file with it. days: from now to its end."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
    is_address = name[:1].isdigit()
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(name)) if is_address else x509.DNSName(name)]
    signed = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, path
