# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What was said and what was heard, with the words marked in which they differ; and how long it took."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, TypedDict

from .._speech.proof import SPACELESS
from . import numbers, text

MOST_CLIPS = 100
MOST_REQUESTS = 100
MOST_WORDS = 1500
"""Of each side: what is compared costs the square of it."""


class Part(TypedDict):
    """Words in a row that are alike on both sides, or differ. One side is empty where words are missing or too many."""

    alike: bool
    expected: str
    heard: str


class Clip(TypedDict):
    """A clip. seconds: of each request, in order; duration: of the clip, None where it is not known."""

    clip: str
    language: str
    expected: str
    heard: str
    parts: list[Part]
    wer: float | None
    cer: float | None
    seconds: list[float]
    duration: float | None


class Proof(TypedDict):
    """What one server showed with one model; pod: "" for a single server. None is what was not measured."""

    model: str
    pod: str
    warm: bool | None
    listed: bool | None
    first_seconds: float | None
    median_seconds: float | None
    rtf: float | None
    concurrent: list[float]
    clips: list[Clip]


def proofs(result: Mapping[str, Any]) -> Iterator[Proof]:
    """The proofs in a result of portal.stt.transcription_check."""
    asked = result.get("item")
    model = text.name(asked.get("model", "") if isinstance(asked, Mapping) else "")
    for one in numbers.mappings(result.get("pods")) or [result]:
        clips = numbers.mappings(one.get("clips"))[:MOST_CLIPS]
        if clips:
            yield {
                "model": model,
                "pod": text.name(one.get("pod", "")),
                "warm": numbers.truth(one.get("warm")),
                "listed": numbers.truth(one.get("listed")),
                "first_seconds": numbers.number(one.get("first_seconds")),
                "median_seconds": numbers.number(one.get("median_seconds")),
                "rtf": numbers.number(one.get("rtf")),
                "concurrent": numbers.numbers(one.get("concurrent"))[:MOST_REQUESTS],
                "clips": [_clip(clip) for clip in clips],
            }


def _clip(given: Mapping[str, Any]) -> Clip:
    expected, heard = (text.shown(given.get(key, "")) for key in ("expected", "text"))
    language = text.name(given.get("language", ""))
    return {
        "clip": text.name(given.get("clip", "")),
        "language": language,
        "expected": expected,
        "heard": heard,
        "parts": compared(expected, heard, by_character=language in SPACELESS),
        "wer": numbers.number(given.get("wer")),
        "cer": numbers.number(given.get("cer")),
        "seconds": numbers.numbers(given.get("seconds"))[:MOST_REQUESTS],
        "duration": numbers.number(given.get("duration")) or None,
    }


def compared(expected: str, heard: str, *, by_character: bool = False) -> list[Part]:
    """Both texts in parts, by words; letter case and punctuation make no difference, as they make none in a WER.

    by_character: for languages that are written without spaces.
    """
    said, got = (_signs(one) if by_character else _cut(one.split()) for one in (expected, heard))
    matcher = SequenceMatcher(None, [_key(word) for word in said], [_key(word) for word in got], autojunk=False)
    joint = "" if by_character else " "
    return [
        {"alike": tag == "equal", "expected": joint.join(said[a:b]), "heard": joint.join(got[c:d])}
        for tag, a, b, c, d in matcher.get_opcodes()
    ]


def _cut(words: list[str]) -> list[str]:
    return words if len(words) <= MOST_WORDS else [*words[:MOST_WORDS], "…"]


def _signs(given: str) -> list[str]:
    """The characters, each with the punctuation that follows it, so that this makes no difference."""
    signs: list[str] = []
    for one in given:
        if signs and unicodedata.category(one)[0] not in "LN":
            signs[-1] += one
        else:
            signs.append(one)
    return _cut(signs)


def _key(word: str) -> str:
    """The word as it is compared; a word of signs only is compared as it stands."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(sign for sign in folded if unicodedata.category(sign)[0] in "LMN") or folded
