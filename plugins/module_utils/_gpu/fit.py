# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The memory budget as findings: before a deployment, and after it. What cannot be told is said, and stops nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._findings import Finding, Status
from . import appetite
from .appetite import Need
from .budget import Budget, Fit, Tenant, budget
from .growth import growth
from .memory import Card, Reading, Seat

_APART = 128  # MiB by which a named number and a measured one may differ without a word


@dataclass(frozen=True)
class Plan:
    """The server that is to run, or runs. mib: what it takes at most as its operator measured, 0 for not measured.

    neighbours: ``namespace/container`` → the most that its operator measured. headroom: MiB to be left.
    """

    namespace: str
    container: str
    models: tuple[str, ...] = ()
    compute_type: str = "int8"
    mib: int = 0
    neighbours: Mapping[str, int] | None = None
    headroom: int = 0

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.container}"


def need(plan: Plan, reading: Reading) -> Need | None:
    """What ours takes: as its operator says, else as measured, else by the table.

    A measured peak below what the models need only to be there is one of other models, or of before they were loaded.
    """
    if plan.mib:
        return Need(plan.mib, plan.mib, "as is set")
    table = appetite.need(plan.models, plan.compute_type)
    peak = max((_most(seat) for seat in reading.seats if seat.name == plan.name), default=0)
    if not peak or (table and peak < 0.75 * table.idle):
        return table
    return Need(peak, peak, "its own measured peak")


def before(plan: Plan, reading: Reading) -> list[Finding]:
    """Whether ours fits: a finding a card."""
    wanted, subject = need(plan, reading), f"{plan.name} in GPU memory"
    if wanted is None:
        shown = ", ".join(plan.models) or "its models"
        return [_untold(subject, f"what it takes is not known for {shown} in {plan.compute_type}",
                        "Set [memory.ours] to what you have measured.")]  # fmt: skip
    if not reading.known and not plan.neighbours:
        return [_untold(subject, "who else sits there is not known",
                        "Let the sources tell it (see gpu.memory), or name the neighbours' measured peaks in "
                        "[memory.neighbours].")]  # fmt: skip
    cards = [card for card in reading.cards if card.usable]
    if not cards:
        return [_untold(subject, "how much memory the card has is not known",
                        "Let dcgm-exporter or the node's labels (gpu-feature-discovery) tell it.")]  # fmt: skip
    return [_judged(plan, wanted, reading, card) for card in cards]


def _judged(plan: Plan, wanted: Need, reading: Reading, card: Card) -> Finding:
    tenants, notes = neighbours(plan, reading, card)
    assert card.usable is not None
    found = reckon(plan, wanted, reading, card)
    facts = [
        f"usable: {card.usable.mib} MiB ({card.usable.how})",
        f"ours: {wanted.mib} MiB ({wanted.how})",
        *(f"{tenant.name}: {tenant.now} MiB now, {tenant.most} at the peak" for tenant in tenants),
        *([f"of nobody: {reading.unattributed(card)} MiB"] if reading.unattributed(card) else []),
        *([f"to be left: {plan.headroom} MiB"] if plan.headroom else []),
        *notes,
    ]
    if not reading.known:
        facts.append("who sits there was not measured: only the named neighbours count, as if at their peaks")
    status = {Fit.FITS: Status.OK, Fit.ONLY_NOW: Status.WARNING, Fit.NOT: Status.REFUSED}[found.fit]
    remedy = "" if found.fit is Fit.FITS else _remedy(plan, wanted, found)
    return Finding("gpu.budget", status, f"{plan.name} on {card.name}", _said(found), remedy, tuple(facts))


def reckon(plan: Plan, wanted: Need, reading: Reading, card: Card) -> Budget:
    """The budget of one card whose usable memory is known."""
    assert card.usable is not None
    tenants, _ = neighbours(plan, reading, card)
    return budget(card.usable.mib, tenants, wanted.mib, headroom=plan.headroom, unattributed=reading.unattributed(card))


def neighbours(plan: Plan, reading: Reading, card: Card) -> tuple[list[Tenant], list[str]]:
    """Who else is on the card, the larger of what was measured and what is named; and where these differ."""
    named, notes = dict(plan.neighbours or {}), []
    tenants = []
    for seat in reading.seats if reading.known else ():
        if seat.name == plan.name or seat.uuid not in ("", card.uuid):
            continue
        said = named.pop(seat.name, None)
        measured = _most(seat)
        if said is not None and abs(said - measured) > _APART:
            notes.append(f"{seat.name}: {said} MiB are named and {measured} measured: the larger number counts")
        tenants.append(Tenant(seat.name, seat.now, max(measured, said or 0)))
    for name, said in named.items():
        tenants.append(Tenant(name, 0 if reading.known else said, said))
    return sorted(tenants, key=lambda tenant: -tenant.most), notes


def _most(seat: Seat) -> int:
    return max(seat.now, seat.peak or 0)


def _said(found: Budget) -> str:
    kept = f", {found.headroom} kept free" if found.headroom else ""
    if found.fit is Fit.FITS:
        return f"fits, also when all are at their peaks: {found.left} of {found.usable} MiB are left then."
    over = found.headroom - found.left
    if found.fit is Fit.ONLY_NOW:
        return (
            f"fits only now: {found.left_now} of {found.usable} MiB are left, but {over} are missing when all are at "
            f"their peaks{kept}."
        )
    now = found.headroom - found.left_now
    return f"does not fit: of {found.usable} MiB {now} are missing now, and {over} when all are at their peaks{kept}."


def _remedy(plan: Plan, wanted: Need, found: Budget) -> str:
    over = found.headroom - found.left
    ways = [f"cap {one.name} at {one.to} MiB (its peak is {one.peak})" for one in found.shrink[:3]]
    if not plan.mib and wanted.how != "its own measured peak":
        other = [(what, one.mib) for what, one in appetite.smaller(list(plan.models), plan.compute_type)]
        ways += [f"take {what} ({mib} MiB)" for what, mib in other if wanted.mib - mib >= over][:3]
        ways.append("set [memory.ours] to what you have measured, in place of the estimate")
    if not found.shrink:
        ways.insert(0, f"cap several neighbours, {over} MiB together, or use another card")
    text = "; or ".join(ways)
    return f"{text[0].upper()}{text[1:]}."


def after(plan: Plan, reading: Reading, history: Iterable[tuple[str, Sequence[tuple[float, int]]]]) -> list[Finding]:
    """What ours really takes after it has worked, and who on the card has grown."""
    subject = f"{plan.name} in GPU memory"
    found: list[Finding] = []
    ours = [seat for seat in reading.seats if seat.name == plan.name and seat.now]
    planned = Need(plan.mib, plan.mib, "as is set") if plan.mib else appetite.need(plan.models, plan.compute_type)
    if not reading.known or not ours:
        what = "the sources name no process of it" if reading.known else "what it takes was not measured"
        found.append(_untold(subject, what, "Run verify again after one interval of the exporter."))
    else:
        found.append(_kept(subject, sum(map(_most, ours)), sum(seat.now for seat in ours), planned))
        found += [_judged(plan, Need(most, most, "its own measured peak"), reading, card)
                  for card in reading.cards if card.usable and (most := sum(map(_most, ours)))]  # fmt: skip
    for name, points in history:
        if grown := growth(points):
            found.append(
                Finding("gpu.growth", Status.WARNING, f"{name} in GPU memory", f"grows: {grown}.",
                        "See what it keeps: an arena without a limit takes the card at last. Cap it, or let it unload.")
            )  # fmt: skip
    return [_softened(one) for one in found]


def _kept(subject: str, most: int, now: int, planned: Need | None) -> Finding:
    if planned is None:
        return Finding("gpu.budget", Status.OK, subject, f"it takes {now} MiB after speech, {most} at the peak.")
    if most <= planned.mib:
        said = f"it takes {now} MiB after speech, {most} at the peak, within the {planned.mib} reckoned with."
        return Finding("gpu.budget", Status.OK, subject, said)
    return Finding(
        "gpu.budget", Status.WARNING, subject,
        f"it takes {now} MiB after speech, {most} at the peak: more than the {planned.mib} reckoned with.",
        "Set [memory.ours] to it, and see whether the budget holds.", (f"reckoned with: {planned.how}",),
    )  # fmt: skip


def _softened(finding: Finding) -> Finding:
    """What runs already is not refused: the operator is told."""
    if finding.status is not Status.REFUSED:
        return finding
    return Finding(**{**vars(finding), "status": Status.WARNING})


def _untold(subject: str, why: str, remedy: str) -> Finding:
    return Finding("gpu.budget", Status.WARNING, subject, f"whether it fits cannot be told: {why}.", remedy)


def as_result(plan: Plan, reading: Reading) -> list[dict[str, Any]]:
    """The budget of each card as a module returns it."""
    wanted, result = need(plan, reading), []
    for card in reading.cards:
        if wanted is None or card.usable is None or not (reading.known or plan.neighbours):
            continue
        found = reckon(plan, wanted, reading, card)
        result.append({
            "card": card.name, "node": card.node, "fit": found.fit.value, "usable": found.usable, "ours": found.ours,
            "worst": found.worst, "now": found.now, "left": found.left, "left_now": found.left_now,
            "headroom": found.headroom, "shrink": [vars(one) for one in found.shrink],
        })  # fmt: skip
    return result
