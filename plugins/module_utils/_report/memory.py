# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Who sits on each card, and what is left: from a reading and the budgets made of it. All amounts in MiB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from .._gpu.memory import Card as Read
from .._gpu.memory import Reading
from . import numbers, text

MOST_CARDS = 64
MOST_TENANTS = 200


class Tenant(TypedDict):
    """Who is on the card. peak: the most that was seen or is named, at least what it has now."""

    name: str
    now: int
    peak: int
    ours: bool


class Shrink(TypedDict):
    """A tenant that alone could make room, and to how much."""

    name: str
    peak: int
    to: int


class Budget(TypedDict):
    """The sum: as portal.stt.gpu_memory_check returns it. name: what ours is called."""

    name: str
    fit: str
    ours: int
    worst: int
    now: int
    left: int
    left_now: int
    headroom: int
    shrink: list[Shrink]


class Card(TypedDict):
    """A card, or a MIG slice of one; None is what is not known. usable_by: how `usable` is known."""

    name: str
    node: str
    total: int | None
    reserved: int | None
    usable: int | None
    usable_by: str
    known: bool
    unattributed: int
    tenants: list[Tenant]
    budget: Budget | None


class Memory(TypedDict):
    """What was read at one time. at: when it was measured, "" for now; known: whether the tenants are all there are."""

    play: str
    source: str
    at: str
    known: bool
    cards: list[Card]


def memories(play: str, results: Iterable[Mapping[str, Any]]) -> Iterator[Memory]:
    """What the results of portal.stt.gpu_memory_info tell, each with the budgets that were made of it."""
    results = list(results)
    budgets = {str(one.get("card")): one for result in results for one in numbers.mappings(result.get("budgets"))}
    for result in results:
        try:
            reading = Reading.from_result(result["reading"])
        except (KeyError, TypeError, ValueError):
            continue
        if reading.cards or reading.seats:
            cards = [_card(card, reading, budgets.get(card.name, {})) for card in reading.cards[:MOST_CARDS] or [_NONE]]
            source, at = text.name(reading.source), _moment(reading.at)
            yield {"play": play, "source": source, "at": at, "known": reading.known, "cards": cards}


_NONE = Read(uuid="")
"""Where tenants are known and no card."""


def _card(card: Read, reading: Reading, budget: Mapping[str, Any]) -> Card:
    usable = card.usable.mib if card.usable else None
    total = card.total
    if total is None and usable is not None and card.reserved is not None:
        total = usable + card.reserved
    reserved = max(0, total - usable) if total is not None and usable is not None else card.reserved
    return {
        "name": text.name(card.name),
        "node": text.name(card.node),
        "total": numbers.whole(total),
        "reserved": numbers.whole(reserved),
        "usable": numbers.whole(usable),
        "usable_by": text.shown(card.usable.how) if card.usable else "",
        "known": reading.known,
        "unattributed": reading.unattributed(card),
        "tenants": _tenants(card, reading, budget),
        "budget": _budget(budget) if budget else None,
    }


def _tenants(card: Read, reading: Reading, budget: Mapping[str, Any]) -> list[Tenant]:
    """The largest first. The budget's own where there is one: it knows of those that are named, and which is ours."""
    ours = str(budget.get("name", ""))
    seats = [seat for seat in reading.seats if seat.uuid in ("", card.uuid)]
    found = [_tenant(seat.name, seat.now, seat.peak, seat.name == ours) for seat in seats]
    if budget:
        named = numbers.mappings(budget.get("tenants"))
        found = [one for one in found if one["ours"]]
        found += [_tenant(one.get("name"), one.get("now"), one.get("peak"), False) for one in named]
    return sorted(found, key=lambda one: (-one["peak"], one["name"]))[:MOST_TENANTS]


def _tenant(name: object, now: object, peak: object, ours: bool) -> Tenant:
    amount = max(0, numbers.whole(now) or 0)
    return {"name": text.name(name), "now": amount, "peak": max(amount, numbers.whole(peak) or 0), "ours": ours}


def _budget(given: Mapping[str, Any]) -> Budget:
    def amount(key: str, of: Mapping[str, Any] = given) -> int:
        return numbers.whole(of.get(key)) or 0

    return {
        "name": text.name(given.get("name", "")),
        "fit": text.name(given.get("fit", "")),
        "ours": amount("ours"),
        "worst": amount("worst"),
        "now": amount("now"),
        "left": amount("left"),
        "left_now": amount("left_now"),
        "headroom": amount("headroom"),
        "shrink": [
            {"name": text.name(one.get("name")), "peak": amount("peak", one), "to": amount("to", one)}
            for one in numbers.mappings(given.get("shrink"))[:MOST_TENANTS]
        ],
    }


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
    except (ValueError, OverflowError, OSError):
        return ""
