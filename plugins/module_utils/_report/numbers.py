# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Values of results as a report may hold them: what is not of the kind that is meant is left out, never guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_MOST = 1e15


def number(given: object) -> float | None:
    """A finite number that JSON can hold; None for anything else."""
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    return given if math.isfinite(given) and abs(given) < _MOST else None


def whole(given: object) -> int | None:
    """A whole number."""
    found = number(given)
    return None if found is None else round(found)


def truth(given: object) -> bool | None:
    return given if isinstance(given, bool) else None


def numbers(given: object) -> list[float]:
    """Those of a list that are numbers."""
    return [one for one in map(number, items(given)) if one is not None]


def items(given: object) -> Sequence[Any]:
    """A list's items; none for what is no list."""
    return given if isinstance(given, Sequence) and not isinstance(given, (str, bytes)) else ()


def mappings(given: object) -> list[Mapping[str, Any]]:
    """Those of a list that are dictionaries."""
    return [one for one in items(given) if isinstance(one, Mapping)]


def mapping(given: object) -> Mapping[str, Any]:
    """The dictionary; an empty one for anything else."""
    return given if isinstance(given, Mapping) else {}
