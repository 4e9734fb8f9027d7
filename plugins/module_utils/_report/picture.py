# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Where what stands in the pictures of a report: shares of a picture's width, in per cent, to scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .memory import Card, Tenant
from .rollout import Pod, Rollout
from .speech import Clip

MOST_LANES = 5
"""Outlines below each other; of those beyond, the table tells."""
_NAMED = 14.0
"""Per cent that a part has to have so that its name stands in it; below _NUMBERED not even its number does."""
_NUMBERED = 3.2
_TOLD = 26.0
_SEEN = 0.5
"""Per cent by which one has to grow so that its outline is drawn: of less, the table tells."""


def _label(number: int, width: float) -> str:
    """A number as it stands in a part that is so wide, in per cent; "" where it has no room."""
    return str(number) if number and width >= _NUMBERED * (1 + 0.5 * (len(str(number)) - 1)) else ""


@dataclass(frozen=True)
class Part:
    """A part of a bar. kind: reserved, tenant, ours, nobody, free, headroom, over. number: of its row in the table, 0
    for none. odd: every other tenant, so that neighbours differ. start, width: per cent of the picture."""

    kind: str
    start: float
    width: float
    mib: int
    name: str = ""
    number: int = 0
    odd: bool = False

    @property
    def label(self) -> str:
        """Its number, where there is room."""
        return _label(self.number, self.width)

    @property
    def has_room(self) -> bool:
        """Whether its name has room in it."""
        return self.width >= _NAMED


@dataclass(frozen=True)
class Peak:
    """The outline of one that may grow: from where it begins, as wide as it was at its peak. lane: below which other
    outlines it stands, so that none covers another."""

    start: float
    width: float
    mib: int
    name: str
    number: int
    lane: int

    @property
    def label(self) -> str:
        """Its number, where there is room."""
        return _label(self.number, self.width)

    @property
    def has_room(self) -> bool:
        """Whether its name has room in it."""
        return self.width >= _TOLD


@dataclass(frozen=True)
class Bar:
    """A card, filled. peaks: outlines of what may grow. end: where the card ends. over: MiB beyond it."""

    parts: tuple[Part, ...]
    peaks: tuple[Peak, ...]
    end: float
    over: int

    @property
    def lanes(self) -> int:
        return max((one.lane + 1 for one in self.peaks), default=0)


@dataclass(frozen=True)
class Row:
    """A line of the table beside the bars."""

    kind: str
    number: int
    name: str
    now: int | None
    peak: int | None
    odd: bool = False


@dataclass(frozen=True)
class Picture:
    """A card as two bars to one scale, and as a table. worst: where all are at their peaks; None where nobody is
    known. total: of the card, in MiB."""

    now: Bar
    worst: Bar
    rows: tuple[Row, ...]
    total: int


def picture(card: Card) -> Picture | None:
    """The bars of a card; None where its size is not known."""
    usable = card["usable"] or 0
    reserved = card["reserved"] or 0
    total = max(card["total"] or 0, usable + reserved)
    if not usable:
        return None
    drawn = rows(card)
    headroom = card["budget"]["headroom"] if card["budget"] else 0
    full = reserved + sum(row.peak or 0 for row in drawn if row.kind in _COUNTED)
    scale = 100 / max(total, full + headroom, reserved + sum(row.now or 0 for row in drawn if row.kind in _COUNTED))
    now = _bar([(row, row.now or 0) for row in drawn], total, scale)
    worst = _bar([(row, row.peak or 0) for row in drawn], total, scale, headroom)
    return Picture(now, worst, drawn, total)


_COUNTED = ("tenant", "ours", "nobody")


def rows(card: Card) -> tuple[Row, ...]:
    """The table's lines, in the order of the bars' parts: what the driver keeps, ours, the others with those last that
    may grow most, and what is nobody's."""
    return tuple(_rows(card))


def _rows(card: Card) -> Iterator[Row]:
    if card["reserved"]:
        yield Row("reserved", 0, "kept by the driver", card["reserved"], card["reserved"])
    for number, tenant in enumerate(_with_ours(card), 1):
        kind = "ours" if tenant["ours"] else "tenant"
        yield Row(kind, number, tenant["name"], tenant["now"], tenant["peak"], bool(number % 2))
    if card["unattributed"]:
        yield Row("nobody", 0, "of no container", card["unattributed"], card["unattributed"])


def _with_ours(card: Card) -> list[Tenant]:
    """Ours first, at the most that is reckoned with; before it is there, with nothing now."""
    tenants = sorted(card["tenants"], key=lambda one: (one["peak"] - one["now"], one["name"]))
    ours = [one for one in tenants if one["ours"]]
    others = [one for one in tenants if not one["ours"]]
    if card["budget"]:
        now = sum(one["now"] for one in ours)
        most = max(now, card["budget"]["ours"])
        ours = [{"name": card["budget"]["name"], "now": now, "peak": most, "ours": True}]
    return [*ours, *others]


def _bar(amounts: list[tuple[Row, int]], total: int, scale: float, headroom: int = 0) -> Bar:
    """The amounts one after another, what is free up to the card's end, and what lies beyond it."""
    parts: list[Part] = []
    peaks: list[Peak] = []
    at = 0
    for row, mib in amounts:
        start = at * scale
        if mib:
            parts.append(Part(row.kind, start, mib * scale, mib, row.name, row.number, row.odd))
        most = row.peak or 0
        if (most - mib) * scale > _SEEN:
            lane = _lane(peaks, start)
            peaks.append(Peak(start, most * scale, most, row.name, row.number, lane))
        at += mib
    if headroom:
        parts.append(Part("headroom", at * scale, headroom * scale, headroom, "to be left free"))
        at += headroom
    over = max(0, at - total)
    if over:
        parts.append(Part("over", total * scale, over * scale, over, "missing"))
    if at < total:
        parts.append(Part("free", at * scale, (total - at) * scale, total - at, "free"))
    return Bar(tuple(parts), tuple(one for one in peaks if one.lane < MOST_LANES), total * scale, over)


def _lane(peaks: Iterable[Peak], start: float) -> int:
    """The first lane that is free from there on: outlines come by their beginnings."""
    ends: dict[int, float] = {}
    for one in peaks:
        ends[one.lane] = max(ends.get(one.lane, 0.0), one.start + one.width)
    return next(lane for lane in range(len(ends) + 1) if ends.get(lane, 0.0) <= start)


@dataclass(frozen=True)
class Stretch:
    """A part of a timeline: what was waited for, from when to when, in seconds; start and width in per cent."""

    number: int
    kind: str
    what: str
    begin: float
    end: float
    start: float
    width: float

    @property
    def label(self) -> str:
        """Its number, where there is room."""
        return _label(self.number, self.width)


def timeline(pod: Pod, rollout: Rollout) -> tuple[Stretch, ...]:
    """What a pod waited for, step by step; and what it did not come to, where the rollout failed."""
    scale = 100 / (rollout["seconds"] or 1)
    stretches: list[Stretch] = []
    begin = 0.0
    for kind, what, end in _steps(pod, rollout):
        end = max(begin, end)
        if end > begin:
            number = len(stretches) + 1
            stretches.append(Stretch(number, kind, what, begin, end, begin * scale, (end - begin) * scale))
        begin = end
    return tuple(stretches)


def _steps(pod: Pod, rollout: Rollout) -> Iterator[tuple[str, str, float]]:
    """Kind, what is waited for, and when it came. A step that was not told of, before one that was, was none to see."""
    is_job, whole = rollout["name"].startswith("Job "), rollout["seconds"]
    is_over = rollout["status"] == "complete"
    steps: list[tuple[str, str, float | None]] = [
        ("scheduled", "a place on a node", pod["scheduled"]),
        ("pulled", "the image", pod["pulled"]),
        ("started", "the container to start", pod["started"]),
        ("ready", "its work", whole if is_over and pod["started"] is not None else None)
        if is_job
        else ("ready", "the model to be warm", pod["ready"]),
    ]
    came = max((number for number, (_, _, at) in enumerate(steps) if at is not None), default=-1)
    yield from ((kind, what, at) for kind, what, at in steps[: came + 1] if at is not None)
    if not is_over and came + 1 < len(steps):
        yield "stuck", steps[came + 1][1], whole


@dataclass(frozen=True)
class Request:
    """How long a request took. width: per cent of the longest."""

    number: int
    seconds: float
    width: float


def requests(clips: Iterable[Clip]) -> tuple[tuple[str, tuple[Request, ...]], ...]:
    """Each clip's name with its requests, all to one scale."""
    clips = list(clips)
    longest = max((one for clip in clips for one in clip["seconds"]), default=0.0) or 1.0
    return tuple(
        (
            clip["clip"],
            tuple(Request(number, one, 100 * max(0.0, one) / longest) for number, one in enumerate(clip["seconds"], 1)),
        )
        for clip in clips
    )
