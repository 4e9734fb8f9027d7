# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether a rollout is complete, goes on, or has failed: decided from what is observed and the time, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from .._kubernetes.objects import Container, Pod, ReplicaSet, Seen
from .diagnosis import NEVER, Diagnosis, diagnose, unknown

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

    Their back-off has grown up to minutes, and their status tells of a cause that may be gone.
    """
    if complete(seen):
        return ()
    return tuple(pod for pod in seen.pods if _old(pod, now) and _has_failed(seen, pod))


def _has_failed(seen: Seen, pod: Pod) -> bool:
    """Whether a pod, looked at alone, is what a diagnosis is about, and has nothing that runs and may become ready.

    A Job's pod that has ended backs off no longer: its controller makes another one, or needs none.
    """
    if not pod.node or pod.ready or (seen.job and pod.finished):
        return False
    runs = [one.state == "running" for one in pod.containers]
    loads = any(one.state == "running" and not one.started for one in pod.containers)
    if loads or (runs and all(runs)):
        return False
    found = diagnose(replace(seen, pods=(pod,)))
    if found is None or found[1].patience is NEVER:
        return False
    diagnosis, _, ripe = found
    return (ripe or pod.finished) and diagnosis.where in (f"pod {pod.name}", f"pod {pod.name} on node {pod.node}")


def _old(pod: Pod, now: datetime) -> bool:
    return (now - datetime.fromisoformat(pod.created)).total_seconds() > FRESH_SECONDS


@dataclass(frozen=True)
class Past:
    """What had happened before the watch began. It is not judged: its cause may be gone.

    pods: uids of those that are out of the question: removed, or a Job's failed tries while another one runs.
    containers: those that ran then, by (pod uid, name). told: counts of events, by (pod uid, reason, message).
    """

    pods: frozenset[str] = frozenset()
    containers: Mapping[tuple[str, str], Container] = field(default_factory=dict)
    told: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


def past(first: Seen, removed: Iterable[Pod], now: datetime) -> Past:
    """The past of the first view. removed: pods that were deleted since; now: with a time zone."""
    out = {pod.uid for pod in removed}
    if first.job and any(not pod.finished for pod in first.pods):
        out |= {pod.uid for pod in first.pods if pod.phase == "Failed" and _old(pod, now)}
    left = [pod for pod in first.pods if pod.uid not in out and _old(pod, now)]
    running = {(pod.uid, one.name): one for pod in left for one in pod.containers if one.state == "running"}
    uids = {uid for uid, _ in running}
    told = {
        (one.uid, one.reason, one.message): one.count
        for one in first.events
        if one.uid in uids and one.reason in ("Killing", "Unhealthy")
    }
    return Past(frozenset(out), running, told)


def without(seen: Seen, before: Past) -> Seen:
    """The view, with nothing in it that had happened before: a container that ran then counts its ends from there."""
    pods = tuple(
        replace(
            pod, containers=tuple(_since(one, before.containers.get((pod.uid, one.name))) for one in pod.containers)
        )
        for pod in seen.pods
        if pod.uid not in before.pods
    )
    events = (replace(e, count=e.count - before.told.get((e.uid, e.reason, e.message), 0)) for e in seen.events)
    return replace(seen, pods=pods, events=tuple(event for event in events if event.count > 0))


def _since(container: Container, before: Container | None) -> Container:
    if before is None:
        return container
    ended = None if container.exit == before.exit else container.exit
    return replace(container, restarts=max(0, container.restarts - before.restarts), exit=ended)


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
