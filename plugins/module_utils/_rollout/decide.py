# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether a rollout is complete, goes on, or has failed: decided from what is observed and the time, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .diagnosis import NEVER, Diagnosis, diagnose, unknown
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
class Memory:
    """What one look has to know of those before.

    causes: when each cause was seen first and last. said: keys of the lines that were said.
    """

    causes: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    said: frozenset[str] = frozenset()
    spoke: float = 0.0
    doing: str = ""


@dataclass(frozen=True)
class Step:
    """The outcome of one look. `wake`: seconds after which to look again even if nothing happens."""

    memory: Memory
    lines: tuple[str, ...]
    verdict: Verdict
    diagnosis: Diagnosis | None = None
    wake: float = QUIET_SECONDS


def advance(memory: Memory, seen: Seen, now: float, deadline: float) -> Step:
    """One look at a rollout. now, deadline: seconds on one clock."""
    news = [(key, text) for key, text in remarks(seen) if key not in memory.said]
    memory = replace(memory, said=memory.said | {key for key, _ in news})
    lines = [text for _, text in news]
    if complete(seen):
        return Step(memory, tuple(lines), Verdict.COMPLETE)
    found = diagnose(seen)
    if found is None:
        if now >= deadline:
            return Step(memory, tuple(lines), Verdict.FAILED, unknown(seen))
        return _wait(memory, lines, "", now, deadline - now)
    diagnosis, rule, ripe = found
    causes = {cause: span for cause, span in memory.causes.items() if now - span[1] <= FLICKER_SECONDS}
    first = causes.get(rule.cause, (now, now))[0]
    causes[rule.cause] = (first, now)
    # Patience begins when nothing else is waited for: an old pod that stops, or another try.
    since = causes.get(f"{rule.cause}, ripe", (now, now))[0]
    if ripe:
        causes[f"{rule.cause}, ripe"] = (since, now)
    memory = replace(memory, causes=causes)
    left = None if rule.patience is NEVER or not ripe else since + rule.patience - now
    if left is not None and left <= 0:
        return Step(memory, tuple(lines), Verdict.FAILED, replace(diagnosis, final=True))
    if now >= deadline:
        return Step(memory, tuple(lines), Verdict.FAILED, diagnosis)
    wake = min(deadline - now, left if left is not None else QUIET_SECONDS)
    if rule.patience is not NEVER:
        key = f"{rule.cause} {diagnosis.what}"
        if key not in memory.said and now - first >= SETTLED_SECONDS:
            memory = replace(memory, said=memory.said | {key})
            lines.append(f"{diagnosis.where}: not final yet: {diagnosis.what}")
        elif key not in memory.said:
            wake = min(wake, first + SETTLED_SECONDS - now)
    return _wait(memory, lines, diagnosis.what, now, wake)


def _wait(memory: Memory, lines: list[str], doing: str, now: float, wake: float) -> Step:
    if lines:
        memory = replace(memory, spoke=now, doing=lines[-1])
    elif now - memory.spoke >= QUIET_SECONDS:
        lines = [f"still waiting: {doing or memory.doing or 'nothing has been seen yet'}"]
        memory = replace(memory, spoke=now)
    return Step(memory, tuple(lines), Verdict.WAITING, wake=max(0.05, min(wake, QUIET_SECONDS)))


def complete(seen: Seen) -> bool:
    """A Job that has succeeded; a Deployment as observed, all updated and available, and the old pods gone.

    Rules of `kubectl rollout status` (k8s.io/kubectl pkg/polymorphichelpers/rollout_status.go), and the last.
    """
    if seen.job:
        return "Complete" in seen.job.conditions and seen.job.conditions["Complete"].status == "True"
    wanted = seen.deployment
    if wanted is None or wanted.observed < wanted.generation or seen.current is None:
        return False
    counts = wanted.updated == wanted.replicas == wanted.available == wanted.wanted
    ready = sum(1 for pod in seen.pods if pod.ready and not pod.deleting)
    return counts and ready >= wanted.wanted and not any(not pod.finished for pod in seen.old_pods)


def remarks(seen: Seen) -> Iterator[tuple[str, str]]:
    """What can be said about a rollout now, each with a key that tells whether it has been said."""
    for pod in seen.old_pods:
        if pod.deleting:
            yield f"{pod.uid} stopping", f"pod {pod.name}: old revision, is stopping"
    for pod in seen.pods:
        name = f"pod {pod.name}"
        if pod.node:
            yield f"{pod.uid} placed", f"{name}: scheduled on node {pod.node}"
        for event in seen.events:
            if event.uid != pod.uid:
                continue
            if event.reason == "Pulling":
                yield f"{pod.uid} pulling", f"{name}: {_lower(event.message)}"
            elif event.reason == "Pulled":
                yield f"{pod.uid} pulled", f"{name}: {_pulled(event.message)}"
            elif event.reason == "Unhealthy" and not pod.ready:
                said = " ".join(event.message.split())[:200]
                yield f"{pod.uid} {said}", f"{name}: {_lower(said.replace(' probe failed: ', ' probe says: '))}"
            elif event.reason == "Killing" and not pod.deleting:
                yield f"{pod.uid} killing {event.count}", f"{name}: {_lower(event.message)}"
        for container in pod.containers:
            key = f"{pod.uid} {container.name} {container.restarts}"
            ended = container.exit
            if ended and ended.finished:
                how = ended.reason or "exit"
                yield (
                    f"{pod.uid} {container.name} ended {ended.finished}",
                    f"{name}: container ended ({how}, exit status {ended.code})",
                )
            if container.state == "running":
                again = f" again (restart {container.restarts})" if container.restarts else ""
                yield f"{key} started", f"{name}: container started{again}"
        if pod.ready:
            yield f"{pod.uid} ready", f"{name}: ready"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _pulled(message: str) -> str:
    if "already present" in message:
        return "the image is on the node"
    took = re.search(r"\bin ([\d.hms]+)(?: \(|\.|$)", message)
    return f"image pulled in {took[1]}" if took else "image pulled"
