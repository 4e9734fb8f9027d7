# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Values as they can be printed: whatever they are, one short line that says nothing secret and moves no cursor."""

from __future__ import annotations

LONGEST = 80
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}


def shown(value: object) -> str:
    """The value in quotes, escaped and cut; what stands before an `@` may be a password and is left out."""
    if isinstance(value, str):
        return f'"{plain(value)}"'
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {_number(value)}"
    return kind(value)


def plain(text: str) -> str:
    """The text without quotes, escaped and cut to 80 characters."""
    before, at, after = text.rpartition("@")
    start = "…@" if at and (":" in before or "/" in before) else before + at
    text = start + after
    short = text[:LONGEST]
    escaped = "".join(char if char.isprintable() and char not in _ESCAPES else _escape(char) for char in short)
    return escaped[:LONGEST] + "…" if len(text) > LONGEST or len(escaped) > LONGEST else escaped


def kind(value: object) -> str:
    """What sort of value it is, in an operator's words."""
    if isinstance(value, str):
        return "text"
    if value is None or isinstance(value, (bool, int, float)):
        return shown(value)
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a value of type {plain(type(value).__name__.removeprefix('_AnsibleTagged').lower())}"


def _escape(char: str) -> str:
    code = ord(char)
    return _ESCAPES.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _number(value: float) -> str:
    try:
        text = str(value)
    except ValueError:  # Python refuses to print an integer of more than 4300 digits
        return "of thousands of digits"
    return plain(text)
