# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Where in the host's export files something stands: for messages, never for decisions.

What is exported is decided by the host's own parser; this reader only finds file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .export import Entry, unescaped
from .names import Names, is_name

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


def locate(entry: Entry, known: Iterable[Statement], names: Names) -> str:
    """Where the entry is declared, or that no file declares it."""
    for statement in known:
        same = statement.path.rstrip("/") == entry.path.rstrip("/")
        if same and entry.means in map(names.meant, statement.hosts):
            return statement.where
    return "the table alone (exported by hand)"


def line_in(file: str, counted: int, known: Iterable[Statement]) -> int:
    """The line of the file that exportfs means, as an editor shows it."""
    before = [each for each in known if each.file == file and each.counted <= counted]
    return before[-1].number + counted - before[-1].counted if before else counted


def host_names(known: Iterable[Statement]) -> set[str]:
    """The clients that the parser will ask the resolver for."""
    return {host for statement in known for host in statement.hosts if is_name(host)}


_PUT_AWAY = re.compile(
    r"~|[.-](bak|backup|copy|disabled|dpkg-\w+|in|inactive|lock|new|off|old|orig|rpm\w+|sample|save|swp|tmp|ucf-\w+)\d*"
)


def is_mistyped(name: str, text: str) -> bool:
    """Whether a file that exportfs passes over was meant to be read: it exports something, and nobody put it away."""
    exports = any(each.path.startswith("/") and each.words for each in statements(name, text))
    return exports and not any(_PUT_AWAY.fullmatch(name[at:].lower()) for at in range(len(name)))
