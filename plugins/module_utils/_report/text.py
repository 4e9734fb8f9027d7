# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Text that others wrote, as a report may hold it: of a bounded length, and without what cannot be seen."""

from __future__ import annotations

from .._text import visible

LONG = 4000
"""Characters of one sentence of a report."""
SHORT = 300
"""Characters of a name."""

_JOINERS = "\u200c\u200d"
"""Persian and the scripts of India are written with them."""


def shown(text: object, most: int = LONG) -> str:
    """The text, at most `most` characters of it; control characters, bidi controls and half surrogates as escapes."""
    given = str(text)
    return fit(given if len(given) <= most else f"{given[: most - 1]}…")


def name(text: object) -> str:
    """A name, on one line."""
    return " ".join(shown(text, SHORT).split())


def fit(text: str) -> str:
    """The text, with what cannot be seen as escapes."""
    if text.isprintable():
        return text
    for joiner in _JOINERS:
        if joiner in text:
            return joiner.join(fit(part) for part in text.split(joiner))
    return visible(text)
