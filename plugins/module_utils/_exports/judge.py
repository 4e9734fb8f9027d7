# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What speaks for and against an export on a host: pure judgement of facts and dry runs."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace

from .._findings import Finding, Status
from .dry_run import Complaint, Parsed, is_missing_directory, is_missing_exports
from .export import Entry, Export, Table, difference
from .files import line_in
from .host import HostFacts
from .names import Names

_STATE_ROOM = 256 * 1024


@dataclass(frozen=True)
class Trial:
    """The dry runs of one change: our file alone (None when there will be none), and all files with and without it.

    own: keys of the entries that our file makes, or made until now.
    """

    alone: Parsed | None
    together: Parsed
    without: Parsed
    own: frozenset[tuple[str, str]]

    @property
    def expected(self) -> Table:
        """Our entries as they should be served."""
        return self.alone.table if self.alone else ()


@dataclass(frozen=True)
class Judge:
    """Who asks: the export, what findings call it, and what counts as a refusal.

    changes_table: whether the run will export something; if not, trouble of others is only told.
    """

    export: Export
    subject: str
    changes_table: bool = True

    def _say(self, check: str, status: Status, message: str, remedy: str = "", *evidence: str) -> Finding:
        return Finding(check, status, self.subject, message, remedy, evidence)

    @property
    def _harm(self) -> Status:
        return Status.REFUSED if self.changes_table else Status.WARNING

    def server(self, facts: HostFacts, *, pending: bool) -> Iterator[Finding]:
        """Whether a server runs that clients can mount from with NFSv4. pending: it is about to be installed."""
        absent = Status.WARNING if pending else self._harm
        if not facts.is_root:
            yield self._say("nfs.privileges", Status.REFUSED, "The module does not run as root.", "Use become: true.")
        if "exportfs" in facts.missing_tools:
            yield self._say(
                "nfs.server",
                absent,
                "No NFS server is installed: there is no exportfs.",
                "Install the package nfs-kernel-server, or let [install_server] do it.",
            )
            return
        if facts.missing_tools:
            yield self._say(
                "nfs.tools",
                Status.REFUSED,
                f"The export cannot be tried out beforehand without: {', '.join(facts.missing_tools)}.",
                "Install the packages util-linux, mount and nfs-common.",
            )
        if not facts.threads or not facts.answering:
            what = "rpc.mountd, which tells the kernel who may mount," if facts.threads else "The NFS server"
            yield self._say(
                "nfs.server",
                absent,
                f"{what} does not run.",
                "Start it with `systemctl start nfs-server`; when that fails, `journalctl -u nfs-server` says why.",
            )
        elif not any(version.startswith("+4") for version in facts.versions):
            yield self._say(
                "nfs.v4",
                self._harm,
                f"The NFS server does not offer NFSv4, which the volume is mounted with: {' '.join(facts.versions)}.",
                "Set vers4=y in the section [nfsd] of /etc/nfs.conf; it applies when the server is next started.",
            )
        else:
            yield self._say("nfs.server", Status.OK, f"The NFS server runs with {facts.threads} threads and NFSv4.")

    def disk(self, facts: HostFacts, *, required: str) -> Iterator[Finding]:
        """Whether the disk is mounted that the path is expected on."""
        if required and required not in facts.mounts:
            yield self._say(
                "nfs.mountpoint",
                self._harm,
                f"{required} is not a mountpoint: the disk is not mounted, and models would fill the root disk.",
                f"Mount it (`mount {required}`, and an entry in /etc/fstab), or name the right mountpoint.",
            )
        elif required:
            yield self._say("nfs.mountpoint", Status.OK, f"{required} is mounted.")

    def space(self, free: int, used: int, *, needed: int) -> Iterator[Finding]:
        """Whether the model fits: what already lies below the path counts as room for it. All in MiB."""
        if free + used < needed:
            yield self._say(
                "nfs.space",
                self._harm,
                f"{free} MiB are free and {used} MiB lie below the path already; {needed} MiB are needed.",
                "Make room on the disk, or lower [min_free_mib] where less will do.",
            )
        else:
            yield self._say("nfs.space", Status.OK, f"{free} MiB are free.")

    def files(self, facts: HostFacts) -> Iterator[Finding]:
        """What is wrong in the host's export files, whoever they belong to."""
        for statement in facts.known:
            for stray in statement.strays:
                yield self._say(
                    "nfs.others",
                    Status.WARNING,
                    f"{statement.where} has a blank before {stray}: these options apply to every machine there is.",
                    "Remove the blank, so that the options belong to the client before it.",
                    " ".join((statement.path, *statement.words)),
                )
        if facts.ignored:
            yield self._say(
                "nfs.others",
                Status.WARNING,
                "exportfs reads only files that end in .exports; what others in /etc/exports.d declare is not served.",
                "Rename them if they are meant to be read.",
                *facts.ignored,
            )
        if facts.unreadable:
            yield self._say(
                "nfs.others",
                Status.WARNING,
                "An export file cannot be read, so all it declares ends with the next `exportfs -ra` or restart.",
                "Make the file readable before the server is restarted.",
                *facts.unreadable,
            )
        if facts.immutable and self.changes_table:
            yield self._say(
                "nfs.file",
                Status.REFUSED,
                "The export file cannot be changed: an immutable flag is set.",
                "Ask who set it, then `chattr -i` it.",
                *facts.immutable,
            )
        if facts.state_free < _STATE_ROOM and self.changes_table:
            yield self._say(
                "nfs.state_space",
                Status.REFUSED,
                f"{facts.state} has {facts.state_free // 1024} KiB left: exportfs would cut the table short and "
                "every export behind the cut would end.",
                "Make room on that disk first.",
            )

    def candidate(self, facts: HostFacts, trial: Trial, *, coming: bool) -> Iterator[Finding]:
        """What the parser says of our file alone. coming: the directory will be made by this run."""
        if trial.alone is None:
            return
        for entry in trial.expected:
            if entry.is_v4_root:
                yield self._say(
                    "nfs.v4_root",
                    Status.REFUSED,
                    f"exportfs reads these options as fsid=0: {entry.path} would be the root of all NFSv4 exports of "
                    "the host, and every other mount by full path would fail with 'No such file or directory'.",
                    "Leave fsid out; where the file system needs a number, use another one, as in fsid=127.",
                    str(entry),
                )
        clients = list(self._clients(facts.names))
        yield from clients
        if not clients:
            yield from self._parser(trial.alone, coming)

    def _clients(self, names: Names) -> Iterator[Finding]:
        """Which of our clients exportfs would leave out without a word: unknown ones, and a machine's second name."""
        unresolved = [client.host for client in self.export.clients if client.host in names.unresolved]
        if unresolved:
            yield self._say(
                "nfs.client",
                Status.REFUSED,
                f"The host cannot resolve {', '.join(unresolved)}; exportfs would leave it out without a word.",
                "Correct the name, enter it in the DNS or in /etc/hosts of the NFS host, or use the address.",
            )
        meant: dict[str, str] = {}
        for client in self.export.clients:
            first = meant.setdefault(names.meant(client.host), client.host)
            if first != client.host:
                yield self._say(
                    "nfs.client",
                    Status.REFUSED,
                    f"{first} and {client.host} are the same machine, and exportfs keeps only one of the two entries.",
                    "Keep one of them, with all its options.",
                )

    def _parser(self, alone: Parsed, coming: bool) -> Iterator[Finding]:
        """The parser's own words about our file."""
        said = [
            each
            for each in alone.complaints
            if not is_missing_exports(each) and not (coming and is_missing_directory(each, self.export.path))
        ]
        lines = self.export.text.splitlines()
        words = tuple(f"{each} [{lines[each.line - 1]}]" if 0 < each.line <= len(lines) else str(each) for each in said)
        if (said and alone.rc) or len(alone.table) < len(self.export.clients):
            yield self._say(
                "nfs.candidate",
                Status.REFUSED,
                f"The host's exportfs rejects {self.export.file} as it would be written; nothing was written.",
                "Name the directory in [directories], or correct the path."
                if said and all(is_missing_directory(each, self.export.path) for each in said)
                else "Correct the options or clients in the line that it names.",
                *words,
            )
        elif said:
            yield self._say(
                "nfs.candidate",
                Status.WARNING,
                f"The host's exportfs remarks on {self.export.file}.",
                "Name the option that it misses.",
                *words,
            )

    def rivals(self, facts: HostFacts, trial: Trial) -> Iterator[Finding]:
        """Entries of others for the same path and client: the parser keeps only one of two."""
        ours = {entry.key for entry in trial.expected}
        for entry in trial.without.table:
            if entry.key in ours:
                yield self._say(
                    "nfs.conflict",
                    Status.REFUSED,
                    f"{facts.where(entry)} already exports {entry.path} to {entry.client}; exportfs keeps "
                    "only one of the two entries.",
                    "Remove that entry, name other clients, or set [when_covered]: skip to use it as it is.",
                    f"there: {entry}",
                    *(f"ours: {own}" for own in trial.expected if own.key == entry.key),
                )

    def covering(self, facts: HostFacts, trial: Trial, when_covered: str) -> list[Entry]:
        """Entries of others that already let all our clients reach the path, through it or through a parent.

        With `skip` only those that can stand in for ours: where we want to write, they let write.
        """
        hosts = [client.host for client in self.export.clients]
        writes = when_covered == "skip" and any("rw" in client.options for client in self.export.clients)
        return [
            entry
            for entry in trial.without.table
            if _reaches(entry, self.export.path, facts)
            and all(facts.names.covers(entry.client, host) for host in hosts)
            and ("rw" in entry.options or not writes)
        ]

    def covered(self, facts: HostFacts, covering: list[Entry], when_covered: str) -> Iterator[Finding]:
        """What an entry that already covers the path means."""
        if not covering:
            return
        where = tuple(f"{facts.where(entry)}: {entry}" for entry in covering)
        paths = ", ".join(dict.fromkeys(entry.path for entry in covering))
        if when_covered == "fail":
            yield self._say(
                "nfs.covered",
                Status.REFUSED,
                f"{self.export.path} is already exported to the same clients, by {paths}.",
                "Set [when_covered] to declare or skip when that is meant to be so.",
                *where,
            )
        elif when_covered == "skip":
            yield self._say(
                "nfs.covered",
                Status.WARNING,
                f"{self.export.path} is served by the export of {paths} and by no entry of its own.",
                "It ends when that export ends; set [when_covered]: declare for an entry of its own.",
                *where,
            )
        else:
            yield self._say(
                "nfs.covered",
                Status.WARNING,
                f"The export of {paths} goes on giving its clients access to {self.export.path}, with its own options.",
                "Where that is too wide, narrow that entry; its owner's clients then depend on the change.",
                *where,
            )

    def roots(self, facts: HostFacts, trial: Trial) -> Iterator[Finding]:
        """Exports with fsid=0: they become the root of what NFSv4 clients see."""
        others = {entry.key: entry for entry in (*facts.table, *trial.together.table) if entry.key not in trial.own}
        for entry in others.values():
            if not entry.is_v4_root:
                continue
            answers = [
                facts.names.covers(*pair)
                for client in self.export.clients
                for pair in ((entry.client, client.host), (client.host, entry.client))
            ]
            status = self._harm if any(answers) else Status.WARNING
            below = posixpath.relpath(self.export.path, entry.path)
            seen = "is out of reach" if below.startswith("..") else f"is mounted as /{below}"
            yield self._say(
                "nfs.v4_root",
                status,
                f"{facts.where(entry)} exports {entry.path} with fsid=0: to its NFSv4 clients that is the "
                f"root, so {self.export.path} {seen}; a mount by the full path fails with 'No such file or directory'.",
                "Ask its owner to give it another number, as in fsid=1; NFSv4 clients then mount it by the full path.",
                str(entry),
            )

    def others(self, facts: HostFacts, trial: Trial) -> Iterator[Finding]:
        """What exporting now would do to others, and what the parser says of their files."""
        told = [_told(each, facts) for each in trial.without.complaints if not is_missing_exports(each)]
        pending = difference(facts.table, trial.without.table, own=trial.own)
        if pending.harms:
            yield self._say(
                "nfs.others",
                self._harm,
                f"{_exports(pending.lines)} of others would not survive `exportfs -ra`, whoever runs it: the files "
                "do not declare what is served now.",
                "Declare what was exported by hand in a file of its own in /etc/exports.d, or correct the broken file; "
                "when the loss is meant, run `exportfs -ra` yourself first.",
                *pending.lines,
                *told,
            )
        elif told and trial.without.rc:
            yield self._say(
                "nfs.others",
                Status.WARNING,
                "exportfs complains about files of others.",
                "Tell their owner; this export is not concerned.",
                *told,
            )
        ours = difference(trial.without.table, trial.together.table, own=trial.own)
        if ours.harms:
            yield self._say(
                "nfs.others",
                Status.REFUSED,
                f"With {self.export.file} in place, {_exports(ours.lines)} of others would change.",
                "Name other clients or another path.",
                *ours.lines,
            )
        if pending.added and self.changes_table:
            yield self._say(
                "nfs.others",
                Status.WARNING,
                f"{_exports(pending.added)} of others, declared in a file and not served yet, will be served as well.",
                "Look whether they are meant: their files were edited without `exportfs -ra`.",
                *(f"{facts.where(entry)}: {entry}" for entry in pending.added),
            )


def _exports(some: Sized) -> str:
    return f"{len(some)} export{'s' if len(some) != 1 else ''}"


def _told(complaint: Complaint, facts: HostFacts) -> str:
    """The parser's words with the line as an editor counts it."""
    return str(replace(complaint, line=line_in(complaint.file, complaint.line, facts.known)))


def _reaches(entry: Entry, path: str, facts: HostFacts) -> bool:
    """Whether the entry's clients get to the path: below it, on the same disk or with crossmnt."""
    if entry.path == path:
        return True
    if not path.startswith(entry.path.rstrip("/") + "/"):
        return False
    return facts.mount_of(path) == facts.mount_of(entry.path) or "crossmnt" in entry.options
