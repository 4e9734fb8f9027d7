# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether a tenant of a card grows: by steps and by its floor. An arena grows at once and stays: a slope sees none.

Seen: 1958 fresh, 2552 after 14 h, 5478 after 32 h, flat for days, and then 12044 within one interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

FLOOR_FACTOR = 1.5
FLOOR_MIB = 256
STEP_MIB = 1024

Point = tuple[float, int]


@dataclass(frozen=True)
class Step:
    """The largest rise between two measurements, in MiB and Unix seconds."""

    low: int
    high: int
    at: float


@dataclass(frozen=True)
class Growth:
    """How a tenant grew. floors: the least in the first and the last third of the window, where that rose. step: the
    largest rise at once, where it is a large one. began, ended: of the window, Unix seconds."""

    began: float
    ended: float
    floors: tuple[int, int] | None = None
    step: Step | None = None

    def __str__(self) -> str:
        said = []
        if self.floors:
            low, high = self.floors
            said.append(f"its floor rose from {low} to {high} MiB ({moment(self.began)} to {moment(self.ended)})")
        if self.step:
            said.append(f"it rose from {self.step.low} to {self.step.high} MiB at once, {moment(self.step.at)}")
        return ", and ".join(said)


def growth(points: Sequence[Point]) -> Growth | None:
    """How it grew over the window; None where it did not. A load from nothing is no growth, nor a repeated one."""
    if len(points) < 3:
        return None
    began, ended = points[0][0], points[-1][0]
    third = (ended - began) / 3
    first = min(mib for at, mib in points if at <= began + third)
    last = min(mib for at, mib in points if at >= ended - third)
    floors = (first, last) if first and last > first * FLOOR_FACTOR and last - first > FLOOR_MIB else None
    rises = [Step(before, after, at) for (_, before), (at, after) in pairwise(points) if before]
    large = [step for step in rises if step.high - step.low > STEP_MIB]
    step = max((one for one in large if not _usual(one, large)), key=lambda one: one.high - one.low, default=None)
    return Growth(began, ended, floors, step) if floors or step else None


def _usual(step: Step, large: Sequence[Step]) -> bool:
    """Whether it rises so from there time and again, as a tenant does that loads a model and lets it go."""
    return any(
        other is not step and abs(other.low - step.low) <= FLOOR_MIB and other.high >= 0.9 * step.high
        for other in large
    )


def moment(at: float) -> str:
    """As a person reads it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
