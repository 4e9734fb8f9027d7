"""Stand-in of a policy engine: an admission webhook over HTTPS that lets no pod use the host's network."""

from __future__ import annotations

import functools
import json
import ssl
from contextlib import AbstractContextManager
from threading import Lock

from werkzeug import Request, Response

from lab.certificates import PKI
from lab.network import HOST
from tests.servers import web

PORT = 9443


def _review(request: Request) -> Response:
    review = request.get_json()
    asked = review["request"]
    allowed = not asked["object"]["spec"].get("hostNetwork")
    answer = {"uid": asked["uid"], "allowed": allowed}
    if not allowed:
        answer["status"] = {"message": "hostNetwork is for the node's own pods"}
    said = {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}
    return Response(json.dumps(said), mimetype="application/json")


_once = Lock()


def serve() -> None:
    """It answers from now on, until this process ends."""
    with _once:
        _start()


@functools.cache
def _start() -> AbstractContextManager[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PKI / "server.crt", PKI / "server.key")
    served = web(_review, host=HOST, port=PORT, tls=context)
    served.__enter__()
    return served  # kept, for it ends with what holds it
