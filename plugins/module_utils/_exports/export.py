# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What an NFS export is: the intent, how it is written, and the table that the server reads."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from .._findings import CollectionError, Finding, Status

EXPORTS = "/etc/exports"
EXPORTS_D = "/etc/exports.d"
NOTE = "# Written by portal.stt.nfs_export; a change made here by hand is undone by its next run.\n"
WORLD = ("*", "0.0.0.0/0", "::/0")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HOST = re.compile(r"@?[A-Za-z0-9*?\[][A-Za-z0-9._*?\[\]-]*")
_NOT_IN_OPTIONS = '(), "#\\'
_EVERYBODY = 8  # bits: a network with a shorter prefix is no site's own
_OPTION = re.compile(r"[A-Za-z_]+(=[A-Za-z0-9_./:@%+-]+)?")
_ROOT_FSID = re.compile(r"fsid=(root|(0[xX])?0+)")


class ExportError(CollectionError):
    """An export that is refused, or could not be made; several refusals speak with one voice."""

    check = "nfs.export"

    @classmethod
    def of(cls, refused: Sequence[Finding]) -> ExportError:
        """The error for these findings; its own finding is the first of them."""
        first = refused[0]
        if len(refused) == 1:
            error = cls(first.subject, first.message, first.remedy, evidence=first.evidence)
        else:
            lines = tuple(f"{number}. {_as_line(each)}" for number, each in enumerate(refused, start=1))
            message = f"{len(refused)} findings refuse the export, and nothing was changed:"
            error = cls(first.subject, message, "Do what each says and run again.", evidence=lines)
        error._first = first
        return error

    _first: Finding | None = None

    @property
    def finding(self) -> Finding:
        """The first refusal, or the error itself where it stands alone."""
        return self._first or super().finding

    def __str__(self) -> str:
        return str(super().finding)  # all of them, not the first


def _as_line(finding: Finding) -> str:
    facts = "".join(f" [{fact}]" for fact in finding.evidence)
    return f"{finding.message}{facts} {finding.remedy}".rstrip()


@dataclass(frozen=True)
class Client:
    """Who may mount, and how: a host as exports(5) names it, and options without parentheses."""

    host: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """One directory, published to clients by one file of its own in /etc/exports.d."""

    name: str
    path: str
    clients: tuple[Client, ...] = ()
    mountpoint: str = ""

    @property
    def file(self) -> str:
        """The only file that belongs to this export."""
        return f"{EXPORTS_D}/{self.name}.exports"

    @property
    def text(self) -> str:
        """The file's content: one line a client, so that the parser's line number names the client.

        With ``mountpoint=`` the server does not serve the path while the disk below it is not mounted
        (exports(5)): nobody writes on the root disk after a boot without the disk.
        """
        disk = (f"mountpoint={_escaped(self.mountpoint)}",) if self.mountpoint else ()
        path = _escaped(self.path)
        lines = (f"{path} {each.host}({','.join((*each.options, *disk))})\n" for each in self.clients)
        return "".join((*lines, NOTE))  # last, because exportfs does not count comments as lines


def _escaped(path: str) -> str:
    """The path as exportfs reads it: blanks, quotes, `#` and backslashes as octal numbers."""
    return "".join(f"\\{ord(char):03o}" if char in ' "#\\' else char for char in path)


def client_of(host: str, options: Iterable[str]) -> Client:
    """The client as it is written: a network with its prefix, a netmask turned into one."""
    try:
        text = str(ipaddress.ip_network(host)) if "/" in host else str(ipaddress.ip_address(host))
    except ValueError:
        text = host
    return Client(text, tuple(options))


def check_place(export: Export, *, subject: str) -> list[Finding]:
    """What is wrong with the name of the export or its path: files and directories are removed by them, too."""

    def refused(message: str, remedy: str) -> Finding:
        return Finding("nfs.intent", Status.REFUSED, subject, message, remedy)

    findings: list[Finding] = []
    if not _NAME.fullmatch(export.name):
        findings.append(
            refused(
                f"The name {export.name!r} cannot be a file name in {EXPORTS_D}.",
                "Use letters, digits, '-' and '_', at most 64, as in 'portal-stt'.",
            )
        )
    return findings + [refused(*problem) for problem in _path_problems(export.path)]


def check_intent(export: Export, *, subject: str, allow_world: bool) -> list[Finding]:
    """What is wrong or remarkable with an export that is wanted, before any host is looked at."""

    def refused(message: str, remedy: str) -> Finding:
        return Finding("nfs.intent", Status.REFUSED, subject, message, remedy)

    findings = check_place(export, subject=subject)
    if export.mountpoint:
        findings += [refused(*problem) for problem in _mountpoint_problems(export)]
    if not export.clients:
        findings.append(refused("No client is named, so nobody could mount it.", "Name at least one client."))
    seen: set[str] = set()
    for client in export.clients:
        findings += [refused(*problem) for problem in _client_problems(client)]
        if client.host in seen:
            findings.append(
                refused(f"The client {client.host} is named twice.", "Keep one entry with all its options.")
            )
        seen.add(client.host)
        findings += _client_remarks(client, subject, allow_world)
    return findings


def _path_problems(path: str) -> Iterable[tuple[str, str]]:
    parts = path.split("/")
    if not path.startswith("/") or len(path) < 2 or any(part in ("", ".", "..") for part in parts[1:]):
        yield (
            f"The path {path!r} is not a plain absolute path.",
            "Write it from the root, without '.', '..', double or trailing slashes; '/' itself is never exported.",
        )
    if any(char != " " and not char.isprintable() for char in path):
        yield f"The path {path!r} has a character that cannot be printed.", "Rename the directory."


def _mountpoint_problems(export: Export) -> Iterable[tuple[str, str]]:
    if export.mountpoint != "/" and posixpath.normpath(export.mountpoint) != export.mountpoint:
        yield (
            f"The mountpoint {export.mountpoint!r} is not a plain absolute path.",
            "Write it as `findmnt` prints it, without '.', '..', double or trailing slashes.",
        )
    elif any(char in _NOT_IN_OPTIONS or not char.isprintable() for char in export.mountpoint):
        yield (
            f"The mountpoint {export.mountpoint!r} cannot be written as an option: exportfs could not read its own "
            "table any more.",
            "Rename the mountpoint, or require none.",
        )
    elif export.path != export.mountpoint and not export.path.startswith(export.mountpoint.rstrip("/") + "/"):
        yield (
            f"{export.path} is not below {export.mountpoint}, where it is expected.",
            "Correct the path, or the mountpoint that is required.",
        )


def _client_problems(client: Client) -> Iterable[tuple[str, str]]:
    host = client.host
    if "/" in host or ":" in host:
        try:
            ipaddress.ip_network(host)
        except ValueError as error:
            yield f"The client {host!r} is not a network: {error}.", _network_remedy(host)
    elif not _HOST.fullmatch(host):
        yield (
            f"The client {host!r} is not a host, network, wildcard or netgroup.",
            "Write it as in 192.168.1.20, 192.168.1.0/24, node-1.lan, *.lan or @nodes; its options go to 'options'.",
        )
    if not client.options:
        yield f"The client {host} has no options.", "Write at least one, as in ['rw', 'sync', 'no_subtree_check']."
    for option in client.options:
        if not _OPTION.fullmatch(option):
            yield (
                f"{option!r} is not one option of exports(5).",
                "Write each option as its own item of the list, without parentheses, commas or blanks.",
            )
        elif _ROOT_FSID.fullmatch(option):
            yield (
                f"{option} would make this path the root of all NFSv4 exports of the host, and every other "
                "mount by full path would fail with 'No such file or directory'.",
                "Leave it out; where the file system needs a number, use another one, as in fsid=127.",
            )


def _network_remedy(host: str) -> str:
    try:
        return f"Write {ipaddress.ip_network(host, strict=False)}, or the address alone."
    except ValueError:
        return "Write a network with its prefix, as in 192.168.1.0/24."


def _client_remarks(client: Client, subject: str, allow_world: bool) -> Iterable[Finding]:
    if _means_everybody(client.host):
        yield Finding(
            "nfs.world",
            Status.WARNING if allow_world else Status.REFUSED,
            subject,
            f"The client {client.host} lets every machine that reaches the server mount the export.",
            "Name the cluster's network instead, or allow the world by name with [allow_world]: true."
            if not allow_world
            else "Name the cluster's network instead, where it is known.",
        )
    elif _is_public(client.host):
        yield Finding(
            "nfs.world",
            Status.WARNING,
            subject,
            f"The client {client.host} is on the public internet; NFS with sec=sys has no password.",
            "Name a private network, or put a VPN in between.",
        )
    if "no_root_squash" in client.options:
        yield Finding(
            "nfs.root_squash",
            Status.WARNING,
            subject,
            f"no_root_squash lets root on {client.host} write here as root, set-uid files included.",
            "Use root_squash: the pods need no root, the directories belong to their user.",
        )


def _means_everybody(host: str) -> bool:
    """Whether hardly a machine is left out: the world, half of it, or a pattern without any letter of a name."""
    try:
        return ipaddress.ip_network(host).prefixlen < _EVERYBODY
    except ValueError:
        letters = re.sub(r"\[[^]]*\]", "", host).replace("*", "").replace("?", "").strip(".-")
        return not letters and any(char in host for char in "*?[")


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_network(host).is_global
    except ValueError:
        return False


@dataclass(frozen=True)
class Entry:
    """A line of the export table: a path, one client, the options in effect.

    means: one text for all ways to write the client; two entries are the same whichever their files use.
    """

    path: str
    client: str = field(compare=False)
    options: tuple[str, ...]
    means: str = ""

    def __post_init__(self) -> None:
        if not self.means:
            object.__setattr__(self, "means", self.client)

    @property
    def key(self) -> tuple[str, str]:
        """What the server tells exports apart by."""
        return self.path, self.means

    @property
    def is_v4_root(self) -> bool:
        """Whether NFSv4 clients see this path as the root of everything."""
        return any(_ROOT_FSID.fullmatch(option) for option in self.options)

    def __str__(self) -> str:
        return f"{_escaped(self.path)} {self.client}({','.join(self.options)})"


Table = tuple[Entry, ...]


def parse_table(text: str) -> Table:
    """The table that ``exportfs -s`` printed, sorted.

    Source of the format: nfs-utils 2.6.2 utils/exportfs/exportfs.c dump(): path with blanks and
    backslashes as octal numbers, blanks, client, options in parentheses.
    """
    entries = []
    for line in text.splitlines():
        path, _, rest = line.partition(" ")
        client, _, options = rest.strip().rpartition("(")
        if path and client:
            entries.append(Entry(unescaped(path), client, tuple(options.removesuffix(")").split(","))))
    return tuple(sorted(entries, key=lambda entry: entry.key))


def unescaped(text: str) -> str:
    """The text with its octal numbers replaced, as xgettok() of nfs-utils does."""
    raw = re.sub(rb"\\([0-3][0-7]{2})", lambda m: bytes([int(m[1], 8)]), text.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Difference:
    """How one table differs from another, entry by entry."""

    lost: Table
    changed: tuple[tuple[Entry, Entry], ...]
    added: Table

    @property
    def lines(self) -> tuple[str, ...]:
        """What clients would notice, one line each: losses first."""
        return (
            *(f"lost: {entry}" for entry in self.lost),
            *(f"changed: {old} becomes {new}" for old, new in self.changed),
        )

    @property
    def harms(self) -> bool:
        """Whether somebody loses an export or finds it with other options."""
        return bool(self.lost or self.changed)


def difference(before: Table, after: Table, *, own: Collection[tuple[str, str]] = ()) -> Difference:
    """How `after` differs from `before`, without the entries whose keys are our own."""
    old = [entry for entry in before if entry.key not in own]
    new = [entry for entry in after if entry.key not in own]
    left = {entry.key: entry for entry in reversed(new)}
    keys = {entry.key for entry in old}
    return Difference(
        lost=tuple(entry for entry in old if entry.key not in left),
        changed=tuple((entry, left[entry.key]) for entry in old if entry.key in left and entry not in new),
        added=tuple(entry for entry in new if entry.key not in keys),
    )
