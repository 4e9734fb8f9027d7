# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""HTTP that has an end: limits for connecting and for a request as a whole, and a reason in words.

urllib3 limits each address of a name and each silence by itself: a name with four dead addresses takes four times as
long, and a server that sends a byte now and then is never too slow.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead, RemoteDisconnected
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
)
from urllib3.exceptions import TimeoutError as HttpTimeoutError

_under_way = threading.local()
"""The guard of this thread's request while it is being sent: a connection that is opened or taken up for it is its."""


class Guard:
    """The time that a request may take. When it is over, its connection is cut, whatever it is doing."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_cut = False
        self._lock = threading.Lock()
        self._held: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self.cut)
        self._timer.daemon = True

    def __enter__(self) -> Guard:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        with self._lock:
            for one in self._held:
                one.close()
            self._held.clear()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Connections that this thread uses within are the guard's."""
        _under_way.guard = self
        try:
            yield
        finally:
            _under_way.guard = None

    def hold(self, sock: socket.socket) -> None:
        """Cuts this connection when the time is over. A copy is kept: TLS takes the original's descriptor away."""
        copy = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            self._held.append(copy)
        if self.is_cut:
            self.cut()

    def cut(self) -> None:
        """Ends the request now; may be called from any thread."""
        with self._lock:
            self.is_cut = True
            for one in self._held:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


class _Limited(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        seconds = self.timeout if isinstance(self.timeout, (int, float)) else None
        try:
            sock = open_socket(self._dns_host, int(self.port or 0), seconds or 60.0, self.socket_options)
        except socket.gaierror as exc:
            raise NameResolutionError(self.host, self, exc) from exc
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, "no connection") from exc
        except OSError as exc:
            raise NewConnectionError(self, str(exc)) from exc
        _hold(sock)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _hold(self.sock)
        super().request(*args, **kwargs)


class _LimitedTls(_Limited, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Limited


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedTls


def limited(manager: PoolManager) -> PoolManager:
    """The pool manager (a ProxyManager, too), all of whose connections have limits."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def _hold(sock: socket.socket) -> None:
    guard = getattr(_under_way, "guard", None)
    if guard is not None:
        guard.hold(sock)


def open_socket(host: str, port: int, seconds: float, options: Any = None) -> socket.socket:
    """A connection to one of the addresses of a name, within `seconds` for all of it. Raises OSError."""
    end = time.monotonic() + seconds
    addresses = _addresses(host, port, seconds)
    error: OSError = TimeoutError("no connection")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        left = (end - time.monotonic()) / (len(addresses) - index)
        if left <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(left)
            sock.connect(address)
        except OSError as exc:
            sock.close()
            error = exc
        else:
            sock.settimeout(seconds)
            return sock
    raise error


def _addresses(host: str, port: int, seconds: float) -> list[Any]:
    """What the name stands for. A resolver cannot be interrupted: it is asked in a thread, which ends by itself."""
    plain = host.strip("[]")
    with contextlib.suppress(ValueError):
        ip_address(plain.partition("%")[0])
        return socket.getaddrinfo(plain, port, type=socket.SOCK_STREAM)
    answer: SimpleQueue[Any] = SimpleQueue()

    def ask() -> None:
        try:
            answer.put(socket.getaddrinfo(plain, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as exc:
            answer.put(exc)

    threading.Thread(target=ask, daemon=True, name=f"resolve {plain}").start()
    try:
        got = answer.get(timeout=seconds)
    except Empty:
        raise socket.gaierror(socket.EAI_AGAIN, f"the name servers do not answer within {seconds:g} s") from None
    if isinstance(got, Exception):
        if isinstance(got, OSError):
            raise got
        raise socket.gaierror(socket.EAI_NONAME, "it is no name of a machine") from got
    return list(got)


_ADDRESS = "Check address and port of the cluster (kubeconfig, context, host or K8S_AUTH_*), and that it runs."
AGAIN = "Try again; where it stays so, look at what stands before the API server, and at its load."
_PROXY = "Check the proxy (option proxy, proxy-url in the kubeconfig, HTTPS_PROXY), or except the cluster in NO_PROXY."
_CLOCK = "Renew the API server's certificate, or set the clock of this machine right."
_CA = "Set ca_cert (K8S_AUTH_SSL_CA_CERT), or certificate-authority in the kubeconfig, to the cluster's own authority."
_NAME = "Use a name that the certificate has, or set tls-server-name in the kubeconfig to one."
_CERTIFICATES = {
    9: ("its certificate is not valid yet", _CLOCK),
    10: ("its certificate has expired", _CLOCK),
    62: ("its certificate is not for this name", _NAME),
    64: ("its certificate is not for this address", _NAME),
}
"""OpenSSL's verification errors (openssl/x509_vfy.h)."""


def why(exc: BaseException, connect_seconds: float, silent_seconds: float) -> tuple[str, str]:
    """Why a request came to nothing, as the end of a sentence, and what to do about it."""
    chain = list(_chain(exc))
    chain.sort(key=lambda one: not isinstance(one, (ConnectTimeoutError, NewConnectionError)))  # they know when it was
    said, remedy = next(filter(None, (_told(one, connect_seconds, silent_seconds) for one in chain)), ("", ""))
    if any(isinstance(one, ProxyError) for one in chain):
        return f"the proxy gives no way to it: {said or _last(chain)}", _PROXY
    return said or f"the connection failed: {_last(chain)}", remedy or _ADDRESS


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and what it was made of, the innermost first."""
    inner = [getattr(exc, "original_error", None), getattr(exc, "reason", None), exc.__cause__, *exc.args]
    for one in inner:
        if isinstance(one, BaseException) and one is not exc:
            yield from _chain(one)
    yield exc


def _last(chain: list[BaseException]) -> str:
    innermost = chain[0]
    text = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    return str(text).strip().split("\n")[0].rstrip(".")[:200]


def _told(exc: BaseException, connect_seconds: float, silent_seconds: float) -> tuple[str, str] | None:
    if isinstance(exc, ssl.SSLCertVerificationError):
        unknown = f"its certificate is signed by nobody that is known here ({exc.verify_message})"
        return _CERTIFICATES.get(exc.verify_code, (unknown, _CA))
    if isinstance(exc, ssl.SSLError):
        return _tls(exc)
    if isinstance(exc, (NameResolutionError, socket.gaierror)):
        inner = exc.__cause__ if isinstance(exc, NameResolutionError) else exc
        return f"its name cannot be resolved: {getattr(inner, 'strerror', inner)}", _ADDRESS
    if isinstance(exc, (ConnectTimeoutError, NewConnectionError)):
        return _unconnected(exc, connect_seconds)
    if isinstance(exc, (HttpTimeoutError, TimeoutError)):
        return f"it accepts the connection and says nothing for {silent_seconds:g} s", _ADDRESS
    if isinstance(exc, LocationParseError):
        return "its address is not one", _ADDRESS
    return _broken(exc)


def _unconnected(exc: BaseException, seconds: float) -> tuple[str, str] | None:
    cause = exc.__cause__
    if isinstance(cause, ConnectionRefusedError):
        return "it refuses the connection: nothing listens there", _ADDRESS
    if isinstance(cause, TimeoutError):
        return f"no connection within {seconds:g} s: the machine is off, or something drops the packets", _ADDRESS
    if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "there is no way to it from this machine", "Check the network of this machine, and the address."
    return None


def _broken(exc: BaseException) -> tuple[str, str] | None:
    if isinstance(exc, (RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
        return "it closes the connection without an answer", _ADDRESS
    if isinstance(exc, IncompleteRead):
        return (
            "its answer breaks off",
            "Try again; where it stays so, look at what stands before the API server, and at its load.",
        )
    if isinstance(exc, BadStatusLine) or (isinstance(exc, HTTPException) and not isinstance(exc, ProtocolError)):
        return "it does not speak HTTP", _ADDRESS
    if isinstance(exc, OSError) and exc.filename:
        return (
            f"the file {exc.filename} cannot be read: {exc.strerror}",
            "Correct the path, or give the right to read it.",
        )
    return None


def _tls(exc: ssl.SSLError) -> tuple[str, str] | None:
    reason = str(exc.reason or "")
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return "it does not speak TLS", "Check the port, and whether the address begins with http:// or https://."
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return (
            "it does not accept the client certificate",
            "Renew client_cert and client_key, or the kubeconfig that they are in.",
        )
    if "EOF" in reason or isinstance(exc, ssl.SSLEOFError):
        return "it closes the connection while TLS is agreed upon", _ADDRESS
    if isinstance(exc, ssl.SSLError) and reason in ("KEY_VALUES_MISMATCH", "NO_START_LINE", "PEM_LIB"):
        return (
            f"the certificates given cannot be used ({reason.lower().replace('_', ' ')})",
            "Give ca_cert, client_cert and client_key as PEM files that belong together.",
        )
    return f"no TLS connection: {reason.lower().replace('_', ' ') or _last([exc])}", _ADDRESS
