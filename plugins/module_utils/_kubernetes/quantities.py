# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Kubernetes' quantities as numbers: `200m`, `2Gi`, `1e3`."""

from __future__ import annotations

import re
from fractions import Fraction

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:(?P<suffix>[KMGTPE]i|[numkMGTPE]|)|[eE](?P<exponent>[+-]?[0-9]{1,3}))"
)
_LONGEST = 64
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
LARGEST = 2**63 - 1
"""What Kubernetes can hold; it cuts off what is larger."""


class QuantityError(ValueError):
    """The text is no quantity."""


def parse_quantity(text: str) -> Fraction:
    """The exact number that Kubernetes reads (apimachinery pkg/api/resource/quantity.go).

    Raises QuantityError for what is no quantity, and for what Kubernetes would not read as written: more than it can
    hold.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if not match:
        raise QuantityError(text)
    number = Fraction(match["number"].rstrip("."))
    if match["exponent"]:
        number *= Fraction(10) ** int(match["exponent"])
    elif match["suffix"] in _BINARY:
        number *= 2 ** _BINARY[match["suffix"]]
    else:
        number *= Fraction(10) ** _DECIMAL[match["suffix"]]
    if abs(number) > LARGEST:
        raise QuantityError(text)
    return number


def canonical_count(text: str) -> str:
    """A whole number as Kubernetes gives it back: 5000 as 5k, 1Gi as it is. Raises QuantityError for what is none.

    Extended resources are whole numbers; what is not written as it comes back looks like a change for ever
    (apimachinery pkg/api/resource, CanonicalizeBytes).
    """
    number = parse_quantity(text)
    if number.denominator != 1 or number < 0:
        raise QuantityError(text)
    found = int(number)
    binary = text.strip().endswith("i") and found % 1024 == 0
    base, suffixes = (1024, ("", *_BINARY)) if binary else (1000, ("", "k", "M", "G", "T", "P", "E"))
    power = 0
    while found and found % base == 0 and power < len(suffixes) - 1:
        found, power = found // base, power + 1
    return f"{found}{suffixes[power]}"
