# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What the host's own exportfs would make of a file, found out where nobody can see it.

``exportfs`` has no dry run. In private mount and network namespaces it gets one: its state directory is an
empty tmpfs, /etc/exports.d a copy, and the kernel's export caches are those of a network nobody uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .export import EXPORTS, ExportError, Table, parse_table
from .names import Names

TOOLS = ("unshare", "mount", "exportfs", "nfsconf")
"""What a dry run needs on the host: util-linux, and the NFS server's own tools."""

# Arguments: state directory of exportfs, name of our file, Scene, lines for /etc/hosts. Standard input: our file.
# The host's names are resolved outside, because inside there is no network to ask a name server through; inside, their
# answers are all there is, so that nobody waits for a server that cannot be reached.
_SCRIPT = """
set -eu
state=$1 file=$2 scene=$3 hosts=$4
mount -t tmpfs -o mode=0700 tmpfs "$state"
cd "$state"
mkdir upper work exports.d
: > exports
if [ ! -d /etc/exports.d ]; then
  mount -t overlay -o "lowerdir=/etc,upperdir=$state/upper,workdir=$state/work" overlay /etc
  mkdir /etc/exports.d
fi
if [ -n "$hosts" ]; then
  cp /etc/hosts hosts
  printf '%s\\n' "$hosts" >> hosts
  mount --bind hosts /etc/hosts
fi
if [ -f /etc/nsswitch.conf ]; then
  sed '/^[[:blank:]]*hosts[[:blank:]]*:/d' /etc/nsswitch.conf > nsswitch
  echo 'hosts: files' >> nsswitch
  mount --bind nsswitch /etc/nsswitch.conf
fi
if [ "$scene" = alone ]; then
  if [ -f /etc/exports ]; then mount --bind exports /etc/exports; fi
else
  cp -a /etc/exports.d/. exports.d/
  rm -f "exports.d/$file"
fi
if [ "$scene" != without ]; then cat > "exports.d/$file"; fi
mount --bind exports.d /etc/exports.d
echo ready
rc=0
exportfs -ra || rc=$?
echo "$rc"
exportfs -s
"""


@dataclass(frozen=True)
class Completed:
    """What a command left: exit status, standard output, standard error."""

    rc: int
    out: str
    err: str


Run = Callable[[Sequence[str], str], Completed]
"""Runs a command (argv, standard input) as root on the host, in the C locale."""


class Scene(StrEnum):
    """Which files the parser sees."""

    ALONE = "alone"  # our file and nothing else
    TOGETHER = "together"  # everything on the host, our file among it
    WITHOUT = "without"  # everything on the host but our file


@dataclass(frozen=True)
class Complaint:
    """The parser's words; file and line where it gave them."""

    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.file} line {self.line}: " if self.file else ""
        return f"{where}exportfs says: {self.text}"


@dataclass(frozen=True)
class Parsed:
    """What exportfs made of a scene."""

    rc: int
    table: Table
    complaints: tuple[Complaint, ...]


def dry_run(run: Run, scene: Scene, file: str, text: str, *, state: str, names: Names, subject: str) -> Parsed:
    """What exportfs makes of the scene; the live table and the host's files stay as they are.

    run: runs commands on the host. scene: what is parsed. file, text: our file's name and content.
    state: the state directory of exportfs. names: what the host's resolver says. subject: for the error.
    Raises ExportError when the private namespaces cannot be made.
    """
    argv = ["unshare", "--mount", "--net", "sh", "-c", _SCRIPT, "dry-run", state, file, scene.value, names.lines]
    done = run(argv, text)
    ready, _, rest = done.out.partition("\n")
    if ready != "ready":
        raise ExportError(
            subject,
            "The export cannot be tried out beforehand: private namespaces cannot be made on this host.",
            "Run as root on the host itself, not in a container. Nothing was changed.",
            evidence=tuple(done.err.split("\n")[:3]),
        )
    rc, _, table = rest.partition("\n")
    return Parsed(int(rc), names.table(parse_table(table)), complaints(done.err))


_AT = re.compile(r"(?P<file>/[^:\[]+?)(?::\s*(?P<colon>\d+):| \[(?P<bracket>\d+)\]:)\s*(?P<text>.*)", re.DOTALL)


def complaints(stderr: str) -> tuple[Complaint, ...]:
    """The messages of exportfs, each once; its continuation lines are joined to the message they explain."""
    messages: list[str] = []
    for line in stderr.splitlines():
        body = line.removeprefix("exportfs: ")
        if messages and (body.startswith((" ", "\t"))):
            messages[-1] += f" {body.strip()}"
        elif body.strip():
            messages.append(body.strip())
    found = []
    for message in dict.fromkeys(messages):
        match = _AT.fullmatch(message)
        if match:
            found.append(Complaint(match["text"], match["file"], int(match["colon"] or match["bracket"])))
        else:
            found.append(Complaint(message))
    return tuple(found)


def is_missing_directory(complaint: Complaint, path: str) -> bool:
    """Whether the complaint is that this directory does not exist yet."""
    return complaint.text == f"Failed to stat {path}: No such file or directory"


def is_missing_exports(complaint: Complaint) -> bool:
    """Whether the complaint is that /etc/exports does not exist: usual where only exports.d is used."""
    return complaint.text.startswith(f"can't open {EXPORTS} for reading")
