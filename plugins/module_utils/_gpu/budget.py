# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Does a server fit into a shared card's memory, now and in the worst case? Pure arithmetic; all amounts in MiB.

A time-sliced card has no isolation: what counts is the sum of what all tenants can take, against what the driver
gives away at all (usable = total - reserved), not against the number on the card's box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Fit(StrEnum):
    """How a budget ends."""

    FITS = "fits"
    ONLY_NOW = "fits only now"
    NOT = "does not fit"


@dataclass(frozen=True)
class Tenant:
    """Somebody else on the card, by namespace and container, because pods are renamed at each rollout.

    now: 0 where it is idle. peak: the most that was seen, or that its operator names; at least `now`.
    """

    name: str
    now: int
    peak: int

    @property
    def most(self) -> int:
        """What it can take: what it takes now counts, too."""
        return max(self.now, self.peak)


@dataclass(frozen=True)
class Shrink:
    """A tenant that alone could make room, and the most that it could have then."""

    name: str
    peak: int
    to: int


@dataclass(frozen=True)
class Budget:
    """The sum. left, left_now: what is over in the worst case and now, ours counted; negative where it is short.

    headroom: what is demanded to be left. shrink: tenants that alone could make room, the largest first.
    """

    fit: Fit
    usable: int
    ours: int
    worst: int
    now: int
    headroom: int
    shrink: tuple[Shrink, ...] = ()

    @property
    def left(self) -> int:
        """What the worst case leaves."""
        return self.usable - self.worst

    @property
    def left_now(self) -> int:
        """What is left at this moment once ours is there."""
        return self.usable - self.now


def budget(usable: int, tenants: Sequence[Tenant], ours: int, *, headroom: int = 0, unattributed: int = 0) -> Budget:
    """Whether `ours` fits beside the tenants.

    usable: what the driver gives away. ours: what our server takes at its peak. headroom: what has to be left.
    unattributed: memory in use that belongs to no tenant (contexts, processes of the host): it counts in both sums.
    """
    now = sum(tenant.now for tenant in tenants) + unattributed + ours
    worst = sum(tenant.most for tenant in tenants) + unattributed + ours
    limit = usable - headroom
    if worst <= limit:
        return Budget(Fit.FITS, usable, ours, worst, now, headroom)
    over = worst - limit
    shrink = tuple(
        Shrink(tenant.name, tenant.most, tenant.most - over)
        for tenant in sorted(tenants, key=lambda tenant: -tenant.most)
        if tenant.most > over
    )
    return Budget(Fit.ONLY_NOW if now <= limit else Fit.NOT, usable, ours, worst, now, headroom, shrink)
