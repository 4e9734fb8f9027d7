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
from .memory import Card, Reading, Seat, is_alone

_APART = 128  # MiB by which a named number and a measured one may differ without a word


@dataclass(frozen=True)
class Plan:
    """The server that is to run, or runs. mib: what it takes at most as its operator measured, 0 for not measured.

    neighbours: ``namespace/container`` → the most that its operator measured. headroom: MiB to be left. replicas: pods.
    """

    namespace: str
    container: str
    models: tuple[str, ...] = ()
    compute_type: str = "int8"
    mib: int = 0
    neighbours: Mapping[str, int] | None = None
    headroom: int = 0
    replicas: int = 1

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
    """Whether ours fits: a finding a card; none where nothing was asked or has answered, as gpu_memory_info has said.

    It is refused only where fewer cards have room than pods are to run; which card a pod gets is not ours to say.
    """
    if not reading.source and not plan.neighbours and not is_alone(reading):
        return []
    wanted, subject = need(plan, reading), f"{plan.name} in GPU memory"
    if wanted is None:
        shown = ", ".join(plan.models) or "its models"
        return [_untold(subject, f"what it takes is not known for {shown} in {plan.compute_type}",
                        "Set [memory.ours] to what you have measured.")]  # fmt: skip
    cards = [card for card in reading.cards if card.usable]
    if not (reading.known or plan.neighbours or is_alone(reading)):
        facts = [_free_now(wanted, card) for card in cards if card.free is not None]
        return [_untold(subject, "who else sits there is not known",
                        "Let the sources tell it (see gpu.memory), or name the neighbours' measured peaks in "
                        "[memory.neighbours].", facts)]  # fmt: skip
    if not cards:
        return [_untold(subject, "how much memory the card has is not known",
                        "Let dcgm-exporter or the node's labels (gpu-feature-discovery) tell it.")]  # fmt: skip
    found = [_judged(plan, wanted, reading, card) for card in cards]
    room = sum(one.status is not Status.REFUSED for one in found)
    return [_softened(one) for one in found] if room >= plan.replicas else found


def _free_now(wanted: Need, card: Card) -> str:
    return f"{card.name}: {card.free} MiB are free now, and {wanted.mib} are wanted where it does not run yet"


def _judged(plan: Plan, wanted: Need, reading: Reading, card: Card) -> Finding:
    tenants, notes = neighbours(plan, reading, card)
    assert card.usable is not None
    found = reckon(plan, wanted, reading, card)
    facts = [
        f"usable: {card.usable.mib} MiB ({card.usable.how})",
        f"ours: {wanted.mib} MiB ({wanted.how})",
        *_shown(tenants),
        *([f"of nobody: {nobody} MiB"] if (nobody := _nobody(reading, card)) else []),
        *([f"to be left: {found.headroom} MiB"] if found.headroom else []),
        *notes[:_MOST_LINES],
    ]
    if card.shared is False:
        facts.append("the card is not shared: whoever has it, has it alone")
    elif not reading.known:
        facts.append("who sits there was not measured: only the named neighbours count, as if at their peaks")
    status = {Fit.FITS: Status.OK, Fit.ONLY_NOW: Status.WARNING, Fit.NOT: Status.REFUSED}[found.fit]
    remedy = "" if found.fit is Fit.FITS else _remedy(plan, wanted, found)
    return Finding("gpu.budget", status, f"{plan.name} on {card.name}", _said(found), remedy, tuple(facts))


_MOST_LINES = 12


def _shown(tenants: Sequence[Tenant]) -> list[str]:
    """The largest; what is in the sum has to be in the text, too."""
    lines = [f"{one.name}: {one.now} MiB now, {one.most} at the peak" for one in tenants[:_MOST_LINES]]
    if rest := tenants[_MOST_LINES:]:
        now, most = sum(one.now for one in rest), sum(one.most for one in rest)
        lines.append(f"{len(rest)} more: {now} MiB now, {most} at their peaks")
    return lines


def _nobody(reading: Reading, card: Card) -> int:
    """What is in use there that no container has; on a card that one pod has alone, all is that pod's."""
    return 0 if card.shared is False else reading.unattributed(card)


def reckon(plan: Plan, wanted: Need, reading: Reading, card: Card) -> Budget:
    """The budget of one card whose usable memory is known."""
    assert card.usable is not None
    tenants, _ = neighbours(plan, reading, card)
    headroom = 0 if card.shared is False else plan.headroom  # it is for the growth of others
    return budget(card.usable.mib, tenants, wanted.mib, headroom=headroom, unattributed=_nobody(reading, card))


def neighbours(plan: Plan, reading: Reading, card: Card) -> tuple[list[Tenant], list[str]]:
    """Who else is on the card, the larger of what was measured and what is named; and where these differ."""
    if card.shared is False:
        return [], []
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
    if is_alone(reading) and not (reading.known and ours):
        pass  # nobody else's use of it matters
    elif not reading.source:
        return []
    elif not reading.known or not ours:
        what = "the sources name no process of it" if reading.known else "what it takes was not measured"
        found.append(_untold(subject, what, "Run verify again after one interval of the exporter."))
    else:
        found.append(_kept(subject, sum(map(_most, ours)), sum(seat.now for seat in ours), planned))
        found += [_judged(plan, Need(most, most, "its own measured peak"), reading, card)
                  for card in reading.cards if card.usable and (most := sum(map(_most, ours)))]  # fmt: skip
    return [_softened(one) for one in found] + _growing(history)


_MOST_GROWING = 8


def _growing(history: Iterable[tuple[str, Sequence[tuple[float, int]]]]) -> list[Finding]:
    """Who has grown, those who have most now first."""
    growing = [(points[-1][1], name, grown) for name, points in history if (grown := growth(points))]
    growing.sort(key=lambda one: (-one[0], one[1]))
    remedy = "See what it keeps: an arena without a limit takes the card at last. Cap it, or let it unload."
    found = [
        Finding("gpu.growth", Status.WARNING, f"{name} in GPU memory", f"grows: {grown}.", remedy)
        for _, name, grown in growing[:_MOST_GROWING]
    ]
    if rest := [name for _, name, _ in growing[_MOST_GROWING:]]:
        found.append(Finding("gpu.growth", Status.WARNING, "GPU memory", f"{len(rest)} more grow.", remedy,
                             (", ".join(rest[:_MOST_LINES]),)))  # fmt: skip
    return found


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


def _untold(subject: str, why: str, remedy: str, facts: Iterable[str] = ()) -> Finding:
    said = f"whether it fits cannot be told: {why}."
    return Finding("gpu.budget", Status.WARNING, subject, said, remedy, tuple(facts))


def as_result(plan: Plan, reading: Reading, *, deployed: bool = False) -> list[dict[str, Any]]:
    """The budget of each card as a module returns it. deployed: ours counts as it was measured, if it was."""
    wanted, result = need(plan, reading), []
    if deployed and (most := sum(_most(seat) for seat in reading.seats if seat.name == plan.name and seat.now)):
        wanted = Need(most, most, "its own measured peak")
    for card in reading.cards:
        can_be_told = reading.known or plan.neighbours or card.shared is False
        if wanted is None or card.usable is None or not can_be_told:
            continue
        tenants, found = neighbours(plan, reading, card)[0], reckon(plan, wanted, reading, card)
        result.append({
            "card": card.name, "node": card.node, "name": plan.name, "fit": found.fit.value, "usable": found.usable,
            "ours": found.ours, "tenants": [{"name": one.name, "now": one.now, "peak": one.most} for one in tenants],
            "worst": found.worst, "now": found.now, "left": found.left, "left_now": found.left_now,
            "headroom": found.headroom, "shrink": [vars(one) for one in found.shrink],
        })  # fmt: skip
    return result
