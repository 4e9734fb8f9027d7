# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Where in the host's export files something stands: for messages, never for decisions.

What is exported is decided by the host's own parser; this reader only finds file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .export import Entry, unescaped

_TOKEN = re.compile(r'(?:"[^"]*"|[^\s"])+')


@dataclass(frozen=True)
class Statement:
    """One statement of an export file: where it begins, the path, and the words after it.

    counted: the line as exportfs counts, which leaves out every comment (nfs-utils support/nfs/xio.c).
    """

    file: str
    number: int
    counted: int
    path: str
    words: tuple[str, ...]

    @property
    def where(self) -> str:
        """File and line, as a person looks for it."""
        return f"{self.file} line {self.number}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The clients that the statement names; an anonymous one is `*`, as the server takes it."""
        named = [word for word in self.words if not word.startswith("-")]
        return tuple(word.partition("(")[0] or "*" for word in named) or ("*",)

    @property
    def strays(self) -> tuple[str, ...]:
        """Options that stand alone because of a blank before the parenthesis: they open the path to the world."""
        return tuple(word for word in self.words if word.startswith("("))


def statements(file: str, text: str) -> Iterator[Statement]:
    """The statements of a file's text; source of the rules: exports(5), nfs-utils support/nfs/xio.c."""
    lines = text.split("\n")
    number = comments = 0
    while number < len(lines):
        begin, line = number + 1, lines[number]
        while line.endswith("\\") and number + 1 < len(lines):
            number += 1
            line = line[:-1] + " " + lines[number].lstrip(" \t")
        number += 1
        words = _TOKEN.findall(line)
        until = next((index for index, word in enumerate(words) if word.startswith("#")), len(words))
        if until:
            path, *rest = (unescaped(word.replace('"', "")) for word in words[:until])
            yield Statement(file, begin, begin - comments, path, tuple(rest))
        comments += until < len(words)


def locate(entry: Entry, known: Iterable[Statement]) -> str:
    """Where the entry is declared, or that no file declares it."""
    for statement in known:
        if statement.path.rstrip("/") == entry.path.rstrip("/") and entry.client in statement.hosts:
            return statement.where
    return "the table alone (exported by hand)"


def line_in(file: str, counted: int, known: Iterable[Statement]) -> int:
    """The line of the file that exportfs means, as an editor shows it."""
    before = [each for each in known if each.file == file and each.counted <= counted]
    return before[-1].number + counted - before[-1].counted if before else counted


def host_names(known: Iterable[Statement]) -> Sequence[str]:
    """The clients that the parser will ask the resolver for: plain names, no addresses or patterns."""
    plain = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
    hosts = {host for statement in known for host in statement.hosts}
    return sorted(host for host in hosts if plain.fullmatch(host) and not host.replace(".", "").isdigit())
