"""A forward proxy for tests: proxy.py, which notes what it is asked for. Names below .invalid are this machine's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.common.types import HostPort
from proxy.http.parser import HttpParser
from proxy.http.proxy import HttpProxyBasePlugin

from tests.conftest import ROOT, until

_NOTES = "FORWARD_PROXY_NOTES"


class Noting(HttpProxyBasePlugin):
    """Runs in the proxy's own process."""

    def resolve_dns(self, host: str, port: int) -> tuple[str | None, HostPort | None]:
        return ("127.0.0.1" if host.endswith(".invalid") else None), None

    def before_upstream_connection(self, request: HttpParser) -> HttpParser:
        with open(os.environ[_NOTES], "a") as notes:
            notes.write(f"{_text(request.method)} {_text(request.host)}:{request.port}\n")
        return request


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


@dataclass(frozen=True)
class Proxy:
    """address: host and port. asked: method and target of each request so far."""

    address: str
    notes: Path

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def asked(self) -> list[str]:
        return self.notes.read_text().splitlines()


@contextlib.contextmanager
def proxying(folder: Path, credentials: str = "") -> Iterator[Proxy]:
    """A proxy on this machine. credentials: USER:PASSWORD that it wants."""
    notes, port = folder / "notes", folder / "port"
    notes.touch()
    argv = [
        sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port),
        "--num-workers", "1", "--num-acceptors", "1", "--plugins", f"{__name__}.{Noting.__name__}",
        *(["--basic-auth", credentials] if credentials else []),
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, _NOTES: str(notes)})
        try:
            until(lambda: port.exists() and port.read_text().strip(), 30, (folder / "log").read_text, every=0.05)
            yield Proxy(f"127.0.0.1:{port.read_text().strip()}", notes)
        finally:
            process.terminate()
            process.wait(20)
