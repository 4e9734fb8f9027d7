"""CardStandIn: the page of an exporter of GPU memory. There is no GPU: the page is a file, which a test may replace.

The page that comes with it is the first operator's card, a T4, with the server of ours in it, in the shape of an
exporter of `gpu_pod_memory_used_bytes` and of dcgm-exporter, whose names that operator's Prometheus prefixes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 9401
MIB = 1024 * 1024
USABLE, RESERVED = 14913, 447
UUID = "GPU-11111111-2222-4333-8444-555555555555"
STEADY = {"immich/immich-machine-learning": 2150, "frigate/frigate": 1950, "android/emulator": 150}
"""MiB by namespace and container, as that operator measured."""
OURS = {"portal-stt/portal-stt": 1480}


def seat(name: str, mib: int, at: float | None = None) -> str:
    """A line of the exporter, with a time where it is of the past."""
    namespace, container = name.split("/")
    labels = f'namespace="{namespace}",pod="{container}-0",container="{container}",process_name="x",pid="1"'
    return f"gpu_pod_memory_used_bytes{{{labels}}} {mib * MIB}{f' {at:.0f}' if at else ''}\n"


def page(tenants: Mapping[str, int]) -> str:
    """What the exporters say of a card with these tenants."""
    used = sum(tenants.values())
    labels = f'{{gpu="0",UUID="{UUID}",modelName="Tesla T4",Hostname="t4"}}'
    amounts = {"USED": used, "FREE": USABLE - used, "RESERVED": RESERVED}
    lines = [f"nvidia_tesla_t4_DCGM_FI_DEV_FB_{name}{labels} {mib}\n" for name, mib in amounts.items()]
    head = "# HELP gpu_pod_memory_used_bytes GPU memory\n# TYPE gpu_pod_memory_used_bytes gauge\n"
    return head + "".join(seat(name, mib) for name, mib in tenants.items()) + "".join(lines)


def serve(host: str, port: int, file: Path) -> ThreadingHTTPServer:
    """A server of the file, read anew for each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return ThreadingHTTPServer((host, port), Handler)


if __name__ == "__main__":
    serve(sys.argv[1], PORT, Path(sys.argv[2])).serve_forever()
