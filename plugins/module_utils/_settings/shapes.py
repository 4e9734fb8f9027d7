# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The shapes of values: text, whole number, truth value, mapping, list; each says what is wrong with a value.

A shape is called with a pass over the variables (Look), the place (`speaches_volume.size`) and the value as Ansible
has templated it. What it does not understand it refuses; it never raises, and never repeats a secret.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .._here import here
from . import show
from .grammar import Grammar, Wrong, line

QUOTES = "Put it in quotes."
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})")
_TRUTH = ("true", "false", "yes", "no", "on", "off", "1", "0", "t", "f", "y", "n")
_MOST = 1000
_SMALL = 8
"""From here on `010` is another number, which the number alone no longer tells."""


@dataclass(frozen=True)
class Problem:
    """at: the place. check: identifier of a finding."""

    at: str
    message: str
    remedy: str
    check: str = "settings.value"


@dataclass(frozen=True)
class Broken:
    """Stands where a value could not be templated."""

    message: str
    remedy: str


@dataclass
class Look:
    """One pass over the variables.

    is_file: whether a path is a file on the controller. texts: place → how a number, a truth value or a date is written
    in its file, where that is known.
    """

    is_file: Callable[[str], bool]
    texts: Mapping[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, at: str, message: str, remedy: str, check: str = "settings.value") -> None:
        self.problems.append(Problem(at, message, remedy, check))


class Shape(Protocol):
    """What a variable, or a part of one, may be."""

    def __call__(self, look: Look, at: str, value: object) -> None: ...


def visit(look: Look, at: str, value: object, shape: Shape) -> None:
    """Looks at a value, whatever it is."""
    if isinstance(value, Broken):
        look.wrong(at, value.message, value.remedy, "settings.template")
    elif value is None:
        null = getattr(shape, "null", "") or "Write a value, or remove the line to have the default."
        look.wrong(at, "is empty, which YAML reads as null.", null)
    else:
        shape(look, at, value)


@dataclass(frozen=True)
class Text:
    """Text of a grammar. null: what to write in place of nothing. An empty text is taken where `empty` is true."""

    grammar: Grammar = line
    empty: bool = False
    secret: bool = False
    null: str = ""

    def __call__(self, look: Look, at: str, value: object) -> None:
        if not isinstance(value, str):
            not_text(look, at, value, secret=self.secret)
        elif value == "":
            if not self.empty:
                look.wrong(at, "is empty.", "Write a value, or remove the line to have the default.")
        elif wrong := _unsound(value) or self.grammar(value):
            look.wrong(at, wrong.message if self.secret else f"{show.shown(value)} {wrong.message}", wrong.remedy)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    names: tuple[str, ...]

    def __call__(self, look: Look, at: str, value: object) -> None:
        if not isinstance(value, str):
            not_text(look, at, value)
        elif value not in self.names:
            meant = closest(value, self.names)
            remedy = f"Did you mean {meant}?" if meant else "Write one of them."
            look.wrong(at, f"{show.shown(value)} is none of {', '.join(self.names)}.", remedy)


@dataclass(frozen=True)
class Whole:
    """A whole number between two bounds; as text, too, as it comes from the command line."""

    least: int
    most: int = 2**31 - 1

    def __call__(self, look: Look, at: str, value: object) -> None:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            look.wrong(at, f"is {show.shown(value)}, where a whole number is meant.", self._bounds())
        elif not self.least <= value <= self.most:
            look.wrong(at, f"is {show.shown(value)}.", self._bounds())

    def _bounds(self) -> str:
        return f"Write a whole number from {self.least} to {self.most}."


@dataclass(frozen=True)
class Number:
    """A number between two bounds."""

    least: float
    most: float

    def __call__(self, look: Look, at: str, value: object) -> None:
        remedy = f"Write a number from {self.least:g} to {self.most:g}."
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            look.wrong(at, f"is {show.shown(value)}, where a number is meant.", remedy)
        elif (isinstance(value, float) and math.isnan(value)) or not self.least <= value <= self.most:
            look.wrong(at, f"is {show.shown(value)}.", remedy)


@dataclass(frozen=True)
class Truth:
    """true or false, in the words that Ansible takes."""

    def __call__(self, look: Look, at: str, value: object) -> None:
        word = value.lower() if isinstance(value, str) else value
        if not isinstance(value, bool) and word not in _TRUTH and not (isinstance(value, int) and value in (0, 1)):
            look.wrong(at, f"is {show.shown(value)}, where true or false is meant.", "Write true or false.")


@dataclass(frozen=True)
class Scalar:
    """The value of an environment variable: text, or a number that can only have been written one way."""

    grammar: Grammar

    def __call__(self, look: Look, at: str, value: object) -> None:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and _written_so(look, at, value):
            return
        Text(self.grammar, empty=True, secret=True, null='Write "" for an empty value.')(look, at, value)


@dataclass(frozen=True)
class Keys:
    """A mapping with certain keys, each with its shape. `also` looks at the whole, once its parts are right."""

    fields: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    also: Callable[[Mapping[str, Any]], Wrong | None] | None = None

    def __call__(self, look: Look, at: str, value: object) -> None:
        if not isinstance(value, Mapping):
            look.wrong(at, f"is {_kind(value)}, where a mapping is meant.", f"It can have: {', '.join(self.fields)}.")
            return
        before = len(look.problems)
        for key, one in value.items():
            if not isinstance(key, str):
                _not_a_key(look, at, key)
            elif key in self.fields:
                visit(look, f"{at}.{key}", one, self.fields[key])
            else:
                look.wrong(
                    f"{at}.{show.plain(key)}", "is read by nobody.", _meant(key, self.fields, at), "settings.unknown"
                )
        for key in self.required:
            if key not in value:
                look.wrong(at, f"has no {key}.", f"Add {key}.")
        if self.also and len(look.problems) == before and (wrong := self.also(value)):
            look.wrong(at, wrong.message, wrong.remedy, "settings.together")


@dataclass(frozen=True)
class Dictionary:
    """A mapping of keys that the operator chooses.

    reserved: key → what to do in place of setting it. most: bytes of all keys and values together.
    """

    key: Grammar
    value: Shape
    reserved: Mapping[str, str] = field(default_factory=dict)
    most: int = 0

    def __call__(self, look: Look, at: str, value: object) -> None:
        if not isinstance(value, Mapping):
            look.wrong(at, f"is {_kind(value)}, where a mapping is meant.", "Write {NAME: value}, or {} for none.")
            return
        if self.most and sum(_bytes(key) + _bytes(one) for key, one in value.items()) > self.most:
            look.wrong(at, f"is larger than {self.most // 1024} KiB in all.", "Shorten it.", "settings.together")
        for key, one in value.items():
            if not isinstance(key, str):
                _not_a_key(look, at, key)
                continue
            # What follows = or : may be a secret that was meant to be the value.
            name = show.plain(re.split(r"[=:\s]", key, maxsplit=1)[0] if re.search("[=:]", key) else key)
            if key in self.reserved:
                look.wrong(f"{at}.{key}", "is not set here.", self.reserved[key], "settings.reserved")
            elif wrong := _unsound(key) or self.key(key):
                look.wrong(at, f'has a key "{name}" that {wrong.message}', wrong.remedy)
            visit(look, f"{at}.{name}", one, self.value)


@dataclass(frozen=True)
class Items:
    """A list. same: what two items may not have in common; `also` looks at the whole, once its items are right."""

    item: Shape
    least: int = 0
    same: Callable[[Any], object] | None = None
    also: Callable[[list[Any]], Wrong | None] | None = None
    null: str = "Write [] for none, or remove the line to have the default."

    def __call__(self, look: Look, at: str, value: object) -> None:
        if not isinstance(value, (list, tuple)):
            look.wrong(at, f"is {_kind(value)}, where a list is meant.", "Write [ITEM, …], even for one.")
            return
        if len(value) > _MOST:
            look.wrong(at, f"has more than {_MOST} items.", "Shorten it.")
            return
        before = len(look.problems)
        for index, one in enumerate(value):
            visit(look, f"{at}[{index}]", one, self.item)
        if len(value) < self.least:
            look.wrong(at, "is an empty list.", "Give at least one.")
        if len(look.problems) != before:
            return
        self._repeated(look, at, list(value))
        if self.also and (wrong := self.also(list(value))):
            look.wrong(at, wrong.message, wrong.remedy, "settings.together")

    def _repeated(self, look: Look, at: str, value: list[Any]) -> None:
        seen: list[object] = []
        for index, one in enumerate(value):
            key = self.same(one) if self.same else one
            if key in seen:
                what = show.shown(key) if isinstance(key, str) else "the same"
                message = f"is {what} once more, as in [{seen.index(key)}]."
                look.wrong(f"{at}[{index}]", message, "Keep one of them.", "settings.together")
            seen.append(key)


@dataclass(frozen=True)
class OneOrMore:
    """A list, or one item that stands without."""

    item: Shape

    def __call__(self, look: Look, at: str, value: object) -> None:
        if isinstance(value, (list, tuple)):
            Items(self.item, least=1)(look, at, value)
        else:
            self.item(look, at, value)


@dataclass(frozen=True)
class File:
    """The path of a file on the controller; `~` and `$VARIABLES` are the module's to fill in."""

    grammar: Grammar

    def __call__(self, look: Look, at: str, value: object) -> None:
        before = len(look.problems)
        Text(self.grammar)(look, at, value)
        if len(look.problems) == before and isinstance(value, str) and not look.is_file(value):
            look.wrong(at, f"there is no such file {here().place}: {show.plain(value)}.", here().remedy)


def not_text(look: Look, at: str, value: object, *, secret: bool = False) -> None:
    """Refuses what is no text; says how it is written where that is known."""
    written = look.texts.get(at, "")
    if isinstance(value, (list, tuple, Mapping)):
        look.wrong(at, f"is {show.kind(value)}, where text is meant.", "Write one text.")
    elif secret:
        what = "a truth value" if isinstance(value, bool) else "a number or a date"
        look.wrong(at, f"is {what}, where text is meant.", QUOTES)
    elif written:
        written = show.plain(written)
        look.wrong(at, f"YAML reads {written} as {show.shown(value)}.", f'Put it in quotes: "{written}".')
    else:
        look.wrong(at, f"is {show.shown(value)}, where text is meant.", QUOTES)


def _not_a_key(look: Look, at: str, key: object) -> None:
    look.wrong(at, f"has a key that YAML reads as {show.shown(key)}.", "Put the key in quotes.")


def closest(name: str, names: Collection[str]) -> str:
    """The name that was probably meant, or an empty text."""
    folded = {one.lower(): one for one in names}
    found = difflib.get_close_matches(name[:100].lower(), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else ""


def _meant(key: str, fields: Mapping[str, Shape], at: str) -> str:
    meant = closest(key, fields)
    return f"Did you mean {at}.{meant}?" if meant else f"Remove it. There are: {', '.join(fields)}."


def _kind(value: object) -> str:
    return show.kind(value)


def _bytes(value: object) -> int:
    return len(value.encode(errors="replace")) if isinstance(value, str) else 0


def _unsound(text: str) -> Wrong | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return Wrong("is no sound Unicode.", "Write it anew.")
    return None


def _written_so(look: Look, at: str, value: float) -> bool:
    """Whether the number's text is what was written: `8` may have been `010`, `90` may have been `1:30`."""
    written = look.texts.get(at)
    if written is not None:
        return abs(value) < 10**18 and written == str(value)
    return isinstance(value, int) and abs(value) < _SMALL
