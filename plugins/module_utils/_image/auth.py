# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""How a registry asks for a login, and where that login may go.

Challenges: RFC 9110, 11.6.1. Token service: distribution.github.io/distribution/spec/auth/token. A realm is the
registry's word alone: the rules of `token_service` are those of GHSA-xf85-363p-868w (oras-go) and CVE-2020-15157
(containerd).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from .._text import plain

_PORTS = {"http": 80, "https": 443}
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PART = re.compile(
    rf'(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))|(?P<scheme>{_TOKEN})'
)
_LONGEST = 8192  # of the header; longer ones are cut
_BEARER = re.compile(r"[\x21-\x7e]{1,65536}")


class RealmError(ValueError):
    """A realm that no login may be sent to; the text says why."""


@dataclass(frozen=True)
class Origin:
    """Where a URL leads: another port or scheme is another place."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True)
class Challenge:
    """One way to sign in: scheme in lower case (``bearer``), and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def origin(url: str) -> Origin:
    """Where an http or https URL leads. Raises ValueError for any other text, and for one with a login in it."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or parts.password is not None:
        raise ValueError("no address")
    if re.search(r"[\s\\\x00-\x20\x7f]", url):
        raise ValueError("no address")
    return Origin(parts.scheme, parts.hostname.rstrip("."), parts.port or _PORTS[parts.scheme])


def same_place(here: Origin, there: Origin) -> bool:
    """Whether what was meant for one place may go to another: to itself, or with TLS to the same host."""
    upgraded = Origin("https", here.host, 443) if here == Origin("http", here.host, 80) else here
    return there in (here, upgraded)


def challenges(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header, or of several joined by commas; Bearer first, as containerd has it.

    Text that is none is passed by.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for part in _PART.finditer(header[:_LONGEST]):
        if part["scheme"]:
            found.append((part["scheme"].lower(), {}))
        elif found:
            value = part["bare"] if part["quoted"] is None else re.sub(r"\\(.)", r"\1", part["quoted"])
            found[-1][1].setdefault(part["name"].lower(), value)
    return sorted((Challenge(*one) for one in found), key=lambda one: one.scheme != "bearer")


def token_service(challenge: Challenge, registry: Origin) -> str:
    """The address that a Bearer challenge of a registry names for its tokens.

    It may be any host by HTTPS. Plain HTTP is for a registry that is itself reached so; nobody's token service is a
    link-local address, where clouds keep their metadata.

    Raises RealmError with what is wrong with it.
    """
    realm = challenge.parameters.get("realm", "")
    if not realm:
        raise RealmError("it names no token service")
    try:
        parts, place = urlsplit(realm), origin(realm)
    except ValueError:
        raise RealmError(f"{plain(realm, 200)!r} is no https:// address") from None
    if place.scheme == "http" and registry.scheme != "http":
        raise RealmError(f"{plain(realm, 200)!r} is reached without TLS, and the registry with it")
    if place.host != registry.host and _is_link_local(place.host):
        raise RealmError(f"{plain(realm, 200)!r} is a link-local address")
    return parts._replace(fragment="").geturl()


def bearer(answer: object) -> str:
    """The token in a token service's answer; empty where there is none that could stand in a header."""
    if not isinstance(answer, Mapping):
        return ""
    for name in ("token", "access_token"):
        token = answer.get(name)
        if isinstance(token, str) and _BEARER.fullmatch(token):
            return token
    return ""


def _is_link_local(host: str) -> bool:
    try:
        return ip_address(host).is_link_local
    except ValueError:
        return False
