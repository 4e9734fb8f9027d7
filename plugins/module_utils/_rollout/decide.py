# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether a rollout is complete, goes on, or has failed: decided from what is observed and the time, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from .._kubernetes.objects import Deployment, Object, deployment
from .diagnosis import NEVER, Diagnosis, diagnose, unknown
from .remarks import Key, Line, Remark, age, awaits, remarks, started
from .rule import Rule, at
from .seen import Seen

FLICKER_SECONDS = 10.0
"""A cause that is out of sight for less than this is still the same one: states change between two tries."""

SETTLED_SECONDS = 2.0
"""A cause that may pass is worth a line when it has lasted so long."""


QUIET_SECONDS = 30.0
"""After so long without a line, one says what is being waited for."""


class Verdict(StrEnum):
    """How a rollout stands."""

    WAITING = "waiting"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class Span:
    """When a cause was seen first and last; ripe, ripe_seen: the same, while nothing else was waited for."""

    first: float
    last: float
    ripe: float | None = None
    ripe_seen: float = 0.0


@dataclass(frozen=True)
class Memory:
    """What one look has to know of those before.

    causes: when each was seen, by its identifier. said: what was said, and when. spoke: when the last line was.
    doing: the last line. looked: whether there was a look before.
    """

    causes: Mapping[str, Span] = field(default_factory=dict)
    said: Mapping[Key, float] = field(default_factory=dict)
    spoke: float = 0.0
    doing: Line | None = None
    looked: bool = False


@dataclass(frozen=True)
class Step:
    """The outcome of one look. `wake`: seconds after which to look again even if nothing happens."""

    memory: Memory
    lines: tuple[Line, ...]
    verdict: Verdict
    diagnosis: Diagnosis | None = None
    wake: float = QUIET_SECONDS


def advance(memory: Memory, seen: Seen, now: float, deadline: float, wall: datetime | None = None) -> Step:
    """One look at a rollout. now, deadline: seconds on one clock; wall: the time of day, with a time zone."""
    memory, lines = _tell(memory, remarks(seen), now)
    if not memory.looked:
        memory = replace(memory, said=_backdated(memory.said, seen, now, wall), looked=True)
    if complete(seen):
        return Step(memory, lines, Verdict.COMPLETE)
    found = diagnose(seen)
    if found is not None:
        return _judge(memory, seen, lines, found, now, deadline)
    if now >= deadline:
        return Step(memory, lines, Verdict.FAILED, unknown(seen))
    return _wait(memory, lines, awaits(seen, memory.said, now), now, deadline - now)


def _tell(memory: Memory, news: Iterable[Remark], now: float) -> tuple[Memory, tuple[Line, ...]]:
    """The lines that have not been said, but for those of which one like them was said just now."""
    said, lines = dict(memory.said), []
    for one in news:
        kind = replace(one.key, detail="")
        if one.key in said or (one.every and now - said.get(kind, -one.every) < one.every):
            continue
        said[kind] = said[one.key] = now
        lines.append(one.line)
    return replace(memory, said=said), tuple(lines)


def _backdated(said: Mapping[Key, float], seen: Seen, now: float, wall: datetime | None) -> dict[Key, float]:
    """At the first look, containers that ran before: since when, as far as their startup probe's time goes."""
    ran = {
        started(pod, one): now - min(age(one, wall), one.startup)
        for pod in seen.pods
        for one in pod.containers
        if one.state == "running"
    }
    return {**said, **ran}


def _judge(
    memory: Memory,
    seen: Seen,
    lines: tuple[Line, ...],
    found: tuple[Diagnosis, Rule, bool],
    now: float,
    deadline: float,
) -> Step:
    """What a cause means at this time."""
    diagnosis, rule, ripe = found
    causes = {cause: span for cause, span in memory.causes.items() if now - span.last <= FLICKER_SECONDS}
    before = causes.get(rule.cause, Span(now, now))
    # Patience begins when nothing else is waited for: an old pod that stops, or another try.
    began = before.ripe if before.ripe is not None and now - before.ripe_seen <= FLICKER_SECONDS else None
    span = Span(before.first, now, before.ripe, before.ripe_seen)
    if ripe:
        span = Span(before.first, now, now if began is None else began, now)
    memory = replace(memory, causes={**causes, rule.cause: span})
    left = None
    if rule.patience is not NEVER and ripe and span.ripe is not None:
        left = span.ripe + rule.patience - now
    if left is not None and left <= 0:
        return Step(memory, lines, Verdict.FAILED, replace(diagnosis, final=True))
    if now >= deadline:
        return Step(memory, lines, Verdict.FAILED, diagnosis)
    wake = min(deadline - now, QUIET_SECONDS if left is None else left)
    if rule.patience is NEVER:
        doing = awaits(seen, memory.said, now) or _about(seen, diagnosis, f"still waiting: {diagnosis.what}")
        return _wait(memory, lines, doing, now, wake)
    if now - span.first < SETTLED_SECONDS:
        wake = min(wake, span.first + SETTLED_SECONDS - now)
    else:
        key = Key("cause", rule.cause, diagnosis.what)
        remark = Remark(key, _about(seen, diagnosis, f"not final yet: {diagnosis.what}"), FLICKER_SECONDS)
        memory, more = _tell(memory, (remark,), now)
        lines += more
    return _wait(memory, lines, _about(seen, diagnosis, f"still waiting: {diagnosis.what}"), now, wake)


def _about(seen: Seen, diagnosis: Diagnosis, text: str) -> Line:
    """A line about where a cause was seen, which is named once if it is a pod."""
    pod = next((one.name for one in seen.pods if diagnosis.where == at(one)), "")
    return Line(text, pod) if pod else Line(f"{diagnosis.where}: {text}")


def _wait(memory: Memory, lines: tuple[Line, ...], doing: Line | None, now: float, wake: float) -> Step:
    if lines:
        memory = replace(memory, spoke=now, doing=lines[-1])
    elif now - memory.spoke >= QUIET_SECONDS:
        last = memory.doing or Line("nothing has been seen yet")
        lines = (doing or Line(f"still waiting: {last.text}", last.pod),)
        memory = replace(memory, spoke=now)
    return Step(memory, lines, Verdict.WAITING, wake=max(0.05, min(wake, QUIET_SECONDS)))


def complete(seen: Seen) -> bool:
    """A Job that has succeeded; a Deployment as observed, all updated and available, and the old pods gone.

    Rules of `kubectl rollout status` (k8s.io/kubectl pkg/polymorphichelpers/rollout_status.go), and the last.
    """
    if seen.job:
        return "Complete" in seen.job.conditions and seen.job.conditions["Complete"].status == "True"
    wanted = seen.deployment
    if wanted is None or not _counts(wanted) or seen.current is None:
        return False
    ready = sum(1 for pod in seen.pods if pod.ready and not pod.deleting)
    return ready >= wanted.wanted and not any(not pod.finished for pod in seen.old_pods)


def settled(raw: Object) -> bool:
    """Whether a Deployment as read says of itself that it is complete."""
    return _counts(deployment(raw))


def _counts(wanted: Deployment) -> bool:
    return (
        wanted.observed >= wanted.generation and wanted.updated == wanted.replicas == wanted.available == wanted.wanted
    )
