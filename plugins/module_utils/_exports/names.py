# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Clients as the server means them.

exportfs lists a host by the resolver's canonical name, whatever a file calls it, and tells hosts apart by their
addresses (nfs-utils 2.6.2, support/export/client.c: client_lookup, check_fqdn). So do we.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .export import WORLD, Table

RESOLVE_SECONDS = 15.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Host:
    """What the resolver says of a name: the canonical one, and all addresses."""

    canonical: str
    addresses: tuple[str, ...]


def is_name(client: str) -> bool:
    """Whether exportfs asks the resolver for it: a plain name, no address, network, pattern or netgroup."""
    return bool(_NAME.fullmatch(client)) and not client.replace(".", "").isdigit()


@dataclass(frozen=True)
class Names:
    """The resolver's answers. hosts: by the name that was asked for. unresolved: names without an answer."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    unresolved: tuple[str, ...] = ()

    def meant(self, client: str) -> str:
        """One text for all that mean the same client: names and addresses of one machine, forms of one network."""
        if "/" in client:
            try:
                return str(ipaddress.ip_network(client, strict=False))
            except ValueError:
                return client
        asked = self._addresses(client)
        if not asked:
            return client.casefold() if is_name(client) else client
        # Two names of one machine share an address; the machine is called by the least of all that are so connected.
        reached = set(asked)
        groups = [set(host.addresses) for host in self.hosts.values()]
        while more := {each for group in groups if group & reached for each in group} - reached:
            reached |= more
        return min(reached)

    def covers(self, outer: str, inner: str) -> bool | None:
        """Whether every machine that the client `inner` means is also one of `outer`; None where names hide it."""
        if outer in WORLD or self.meant(outer) == self.meant(inner):
            return True
        try:
            net = ipaddress.ip_network(self.meant(outer))
            parts = [ipaddress.ip_network(each) for each in self._addresses(inner) or (self.meant(inner),)]
        except ValueError:
            return None
        return all(part.version == net.version and part.subnet_of(net) for part in parts)  # type: ignore[arg-type]

    def table(self, table: Table) -> Table:
        """The table with what its clients mean."""
        return tuple(sorted((replace(entry, means=self.meant(entry.client)) for entry in table), key=lambda e: e.key))

    @property
    def lines(self) -> str:
        """The answers as lines of /etc/hosts."""
        found = sorted((name, host) for name, host in self.hosts.items())
        return "\n".join(
            " ".join(dict.fromkeys((address, host.canonical, name)))
            for name, host in found
            for address in host.addresses
        )

    def _addresses(self, client: str) -> tuple[str, ...]:
        try:
            return (str(ipaddress.ip_address(client)),)
        except ValueError:
            known = {name.casefold(): host for name, host in self.hosts.items()}
            known |= {host.canonical.casefold(): host for host in self.hosts.values()}
            host = known.get(client.casefold())
            return host.addresses if host else ()


def resolve(names: Iterable[str], seconds: float = RESOLVE_SECONDS) -> Names:
    """What the host's resolver says of the names, all asked at once; who has not answered in time is unresolved."""
    wanted = sorted(set(names))
    hosts: dict[str, Host] = {}

    def ask(name: str) -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        except (OSError, UnicodeError):
            return
        addresses = tuple(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))
        hosts[name] = Host(_checked(found[0][3], name), addresses)

    # Not a pool: its threads would keep the process until the last name server has timed out.
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in wanted]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    answered = dict(hosts)
    return Names(answered, tuple(name for name in wanted if name not in answered))


def _checked(canonical: str, name: str) -> str:
    """A name server may answer anything, and the answer becomes a line of the dry run's /etc/hosts."""
    return canonical if _NAME.fullmatch(canonical) else name
