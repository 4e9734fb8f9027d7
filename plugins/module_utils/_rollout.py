# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether a rollout is complete, goes on, or has failed: decided from what is observed and the time, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from ._diagnosis import NEVER, Diagnosis, diagnose, unknown
from ._observed import Pod, ReplicaSet, Seen

FLICKER_SECONDS = 10.0
"""A cause that is out of sight for less than this is still the same one: states change between two tries."""

SETTLED_SECONDS = 2.0
"""A cause that may pass is worth a line when it has lasted so long."""

FRESH_SECONDS = 30.0
"""A pod younger than this was made for this run."""

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


def earlier(seen: Seen, at_first: Seen) -> ReplicaSet | None:
    """The revision that served before the current one: what a rollback goes back to; None when there is none.

    It is the one that had a ready pod when the watch began (`at_first`), whoever had brought it there. Where no such
    pod was left (with Recreate an old pod may be gone before the watch begins), it is the one with the latest mark.
    """
    new = seen.current.uid if seen.current else ""
    ready = {pod.owner for pod in at_first.old_pods if pod.ready}
    # Two of them: a rollout that was not complete. The one with a mark has been.
    serving = [one for one in seen.revisions if one.uid in ready and one.uid != new]
    if serving:
        return max(serving, key=lambda one: (served(one), one.revision))
    last = max(filter(served, seen.revisions), key=served, default=None)
    return None if last is None or last.uid == new else last


def served(revision: ReplicaSet) -> str:
    """When a revision was last found complete, as its mark says; empty when it has none of its own.

    `kubectl rollout undo` copies the marks of a ReplicaSet to the Deployment, whose controller copies them to each
    newer ReplicaSet. So a mark names the ReplicaSet that it is about, and one that names another or none is no mark.
    """
    when, _, uid = revision.served.partition(" ")
    return when if uid == revision.uid else ""


def mark(revision: ReplicaSet, now: datetime) -> str:
    """The mark of a revision that is complete now (time with a time zone); see `served`."""
    return f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} {revision.uid}"


def unmarked(seen: Seen) -> bool:
    """Whether the current revision, found complete, has to be marked as the one that served last.

    Not without a pod: a Deployment of no replicas is complete, and nothing has served.
    """
    if seen.current is None or not any(pod.ready and not pod.deleting for pod in seen.pods):
        return False
    return not served(seen.current) or served(seen.current) < max(map(served, seen.revisions), default="")


def leftovers(seen: Seen, now: datetime) -> tuple[Pod, ...]:
    """Pods of the current revision that had failed before the watch began; `now` with a time zone.

    Their back-off has grown up to minutes, and their status tells of a cause that may be gone. A Job's pod that has
    ended backs off no longer: its controller makes another one, or needs none.
    """
    found = diagnose(seen)
    if found is None or found[1].patience is NEVER:
        return ()
    return tuple(
        pod
        for pod in seen.pods
        if pod.node
        and not pod.ready
        and not (seen.job and pod.finished)
        and (now - datetime.fromisoformat(pod.created)).total_seconds() > FRESH_SECONDS
    )


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
