"""A name server on the NFS host's loopback: one machine in example.lan, with an alias. Runs until it is killed."""

from __future__ import annotations

from typing import Any

from dnslib import CNAME, QTYPE, RR, A
from dnslib.server import BaseResolver, DNSServer

MACHINE, ALIAS, ADDRESS = "nas.example.lan.", "store.example.lan.", "10.77.0.36"


class Resolver(BaseResolver):  # type: ignore[misc]
    """Answers as a name server does: an alias together with what it stands for."""

    def resolve(self, request: Any, handler: Any) -> Any:
        reply, name = request.reply(), str(request.q.qname).lower()
        if name == ALIAS:
            reply.add_answer(RR(ALIAS, QTYPE.CNAME, rdata=CNAME(MACHINE), ttl=60))
        if name in (MACHINE, ALIAS):
            if request.q.qtype in (QTYPE.A, QTYPE.ANY):
                reply.add_answer(RR(MACHINE, QTYPE.A, rdata=A(ADDRESS), ttl=60))
        else:
            reply.header.rcode = 3
        return reply


if __name__ == "__main__":
    DNSServer(Resolver(), address="127.0.0.1", port=53).start()
