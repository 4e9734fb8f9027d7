# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a Whisper model takes of a card's memory, in MiB: measured by others, none of it on a T4.

All are peaks of the whole process, its CUDA context with it, beam 5, without batches. Speaches always asks
faster-whisper for batches of 8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_README = "faster-whisper's README 1.1, RTX 3070 Ti"
_1030 = "faster-whisper#1030"
_122 = "wyoming-faster-whisper#122, RTX PRO 4500"
_SMALL_CARD = "measured on an MX330"

TABLE: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "large-v3-turbo": {
        "float16": (2537, _1030), "int8": (1545, f"at second hand of {_1030}"), "int8_float16": (1224, _122),
    },
    "distil-large-v3": {"float16": (2409, _1030), "int8": (1481, _1030), "int8_float32": (1089, _SMALL_CARD)},
    "large-v3": {"float16": (4521, _1030), "int8": (2953, _1030)},
    "large-v2": {"float16": (4525, _README), "int8": (2926, _README)},
    "distil-medium.en": {"int8_float32": (700, _SMALL_CARD)},
    "small": {
        "float16": (1158, _122), "int8": (426, _122),
        "float32": (1365, _SMALL_CARD), "int8_float32": (609, _SMALL_CARD),
    },
    "base": {"int8_float32": (225, _SMALL_CARD)},
    "tiny": {"int8_float32": (200, _SMALL_CARD)},
}  # fmt: skip

BATCH = 1574
"""What batches of 8 added to large-v2 (1565 in float16, 1574 in int8): no smaller model can need more for them."""

_SIZES = (
    ("large-v3-turbo", r"turbo"),
    ("distil-large-v3", r"distil.*large"),
    ("distil-medium.en", r"distil.*medium"),
    ("large-v3", r"large-v3|large$|large-ct2"),
    ("large-v2", r"large-v[12]"),
    ("small", r"\bsmall\b"),
    ("base", r"\bbase\b"),
    ("tiny", r"\btiny\b"),
)
_WIDER = {
    "int8": ("int8_float32", "float16", "float32"),
    "int8_float16": ("int8", "float16", "float32"),
    "int8_float32": ("float32",),
    "int8_bfloat16": ("int8_float16", "int8", "float16"),
    "bfloat16": ("float16", "float32"),
    "float16": ("float32",),
    "auto": ("float32", "float16"),
    "default": ("float32", "float16"),
}
_LARGER = {"tiny": ("base", "small"), "base": ("small",), "distil-medium.en": ("distil-large-v3",)}


@dataclass(frozen=True)
class Need:
    """What a server takes: idle with its models loaded, and with batches of 8 at work. how: where that comes from."""

    idle: int
    mib: int
    how: str


def size(model: str) -> str:
    """Which of the table's models a name means; empty where none."""
    name = model.rpartition("/")[2].lower()
    return next((size for size, pattern in _SIZES if re.search(pattern, name)), "")


def need(models: Iterable[str], compute_type: str) -> Need | None:
    """What a server with all these models takes; None where one of them is not in the table."""
    idle, hows = 0, []
    for model in models:
        found = _one(size(model), compute_type)
        if found is None:
            return None
        idle += found[0]
        hows.append(found[1])
    if not hows:
        return None
    # one model works at a time on its batch, at worst
    return Need(
        idle, idle + BATCH, f"{' + '.join(hows)}, and {BATCH} for batches of 8; an estimate, no T4 was measured"
    )


def _one(model: str, compute_type: str) -> tuple[int, str] | None:
    """The table's number, or that of what needs more: a wider type, a larger model."""
    for larger in (model, *_LARGER.get(model, ())):
        row = TABLE.get(larger, {})
        for wider in (compute_type, *_WIDER.get(compute_type, ())):
            if wider in row:
                amount, source = row[wider]
                most = "" if (larger, wider) == (model, compute_type) else "at most "
                return amount, f"{most}{amount} for {larger} in {wider} ({source})"
    return None


def smaller(models: list[str], compute_type: str) -> list[tuple[str, Need]]:
    """What else a server could run that takes less, the most capable first: another type, a smaller model."""
    now = need(models, compute_type)
    if now is None:
        return []
    found = [
        (f"compute type {other}", one)
        for other in ("float16", "int8", "int8_float16")
        if (one := need(models, other)) and one.mib < now.mib
    ]
    if len(models) == 1:
        found += [
            (f"a model of the size {other}", one)
            for other in ("large-v3-turbo", "distil-large-v3", "small")
            if other != size(models[0]) and (one := need([other], compute_type)) and one.mib < now.mib
        ]
    return found
