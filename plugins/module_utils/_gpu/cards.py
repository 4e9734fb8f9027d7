# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""How much of a card's memory its driver gives away: usable = total - reserved. All amounts in MiB.

Since driver 510 `nvidia-smi` and DCGM tell what the driver keeps for itself apart from what is used.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Known:
    """A kind of card: the total that its driver tells, and what that keeps for itself. source: where this was seen."""

    product: re.Pattern[str]
    total: int
    reserved: int
    source: str


def _card(product: str, total: int, reserved: int, source: str) -> Known:
    return Known(re.compile(rf"\b{product}\b", re.IGNORECASE), total, reserved, source)


_GOLDEN = "nvidia_gpu_exporter, internal/integration/testdata"
KNOWN = (
    _card("T4", 15360, 447, "DCGM, driver 590.48.01, ECC on"),
    _card("T4", 15109, 0, "gpu-operator#340: up to driver 470 no reserve is told"),
    _card("L40S", 46068, 609, _GOLDEN),
    _card("RTX 4080 SUPER", 16376, 434, _GOLDEN),
    _card("RTX 2080 SUPER", 8192, 205, _GOLDEN),
    _card("H100", 81559, 479, _GOLDEN),
)

LARGEST_SHARE = 447 / 15360
"""Of what is known, a T4 keeps the largest share: what is reckoned for a card that is not in the table."""


@dataclass(frozen=True)
class Usable:
    """What the driver gives away, and how that is known. measured: not reckoned with a reserve of other cards.

    total: of the card, where that is known.
    """

    mib: int
    how: str
    measured: bool = True
    total: int | None = None


def usable(
    product: str, *, total: int | None, used: int | None, free: int | None, reserved: int | None, label: int = 0
) -> Usable | None:
    """The card's usable memory; None where nothing tells it.

    total, used, free, reserved: as an exporter measures them. label: the total that the node's label names, 0 for none.
    """
    found = _usable(product, total, used, free, reserved, label)
    return replace(found, total=total or label or None) if found else None


def _usable(
    product: str, total: int | None, used: int | None, free: int | None, reserved: int | None, label: int
) -> Usable | None:
    if used is not None and free is not None:
        whole, reserve = total or label, reserved if reserved is not None else _reserve(product, total or label)
        if whole and reserve > _ROUNDING and used + free > whole - reserve + _ROUNDING:
            # nvmlDeviceGetMemoryInfo's first version counts the reserve as used
            return Usable(whole - reserve, f"total {whole} - reserved {reserve}: what is called used holds the reserve")
        return Usable(used + free, f"used {used} + free {free}")
    if total and reserved is not None:
        return Usable(total - reserved, f"total {total} - reserved {reserved}")
    if whole := total or label:
        return _reckoned(product, whole, "total" if total else "the node's label")
    return None


_ROUNDING = 8


def _reserve(product: str, total: int) -> int:
    return next((one.reserved for one in KNOWN if one.total == total and one.product.search(_plain(product))), 0)


def _reckoned(product: str, total: int, said_by: str) -> Usable:
    for one in KNOWN:
        if one.total == total and one.product.search(_plain(product)):
            return Usable(total - one.reserved, f"{said_by} {total} - reserved {one.reserved} ({one.source})", False)
    reserve = math.ceil(total * LARGEST_SHARE)
    how = f"{said_by} {total} - {reserve}, an estimate: the largest share that is known of other cards"
    return Usable(total - reserve, how, False)


def _plain(product: str) -> str:
    """The name as DCGM writes it: labels have ``Tesla-T4-SHARED``."""
    return product.replace("-", " ")
