# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Text that others wrote, made fit to be shown: what a registry, an image or a node says stands on a terminal."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with its line breaks; what else is not printable is escaped as by `plain`."""
    return "".join(one if one.isprintable() or one == "\n" else _escaped(one) for one in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def plain(text: object, most: int = 300) -> str:
    """The text on one line of at most `most` characters; what is not printable (escape sequences) as \\x1b is."""
    shown = str(text)[: most + 1]
    shown = "".join(one if one.isprintable() else _escaped(one) for one in shown)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
