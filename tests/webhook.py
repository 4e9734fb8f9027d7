"""Stand-in of a policy engine: an admission webhook over HTTPS that lets no pod use the host's network."""

from __future__ import annotations

import functools
import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from lab.certificates import PKI
from lab.network import HOST

PORT = 9443


class _Policy(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = review["request"]
        allowed = not asked["object"]["spec"].get("hostNetwork")
        answer = {"uid": asked["uid"], "allowed": allowed}
        if not allowed:
            answer["status"] = {"message": "hostNetwork is for the node's own pods"}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


_once = Lock()


def serve() -> None:
    """It answers from now on, until this process ends."""
    with _once:
        _start()


@functools.cache
def _start() -> None:
    server = ThreadingHTTPServer((HOST, PORT), _Policy)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PKI / "server.crt", PKI / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
