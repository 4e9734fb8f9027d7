# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What had happened before the watch began. It is not judged: its cause may be gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from .._kubernetes.objects import Container, Pod, moment
from .decide import complete
from .diagnosis import NEVER, diagnose
from .rule import at
from .seen import Seen

FRESH_SECONDS = 30.0
"""A pod younger than this was made for this run."""


@dataclass(frozen=True)
class Past:
    """What had happened before the watch began. It is not judged: its cause may be gone.

    pods: uids of those that are out of the question: removed, or a Job's failed tries while another one runs.
    containers: those that ran then, by (pod uid, name). told: counts of events, by their own uid.
    """

    pods: frozenset[str] = frozenset()
    containers: Mapping[tuple[str, str], Container] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)


def past(first: Seen, removed: Iterable[Pod], now: datetime) -> Past:
    """The past of the first view. removed: pods that were deleted since; now: with a time zone."""
    out = {pod.uid for pod in removed}
    if first.job and any(not pod.finished for pod in first.pods):
        out |= {pod.uid for pod in first.pods if pod.phase == "Failed" and _old(pod, now)}
    left = [pod for pod in first.pods if pod.uid not in out and _old(pod, now)]
    running = {(pod.uid, one.name): one for pod in left for one in pod.containers if one.state == "running"}
    uids = {uid for uid, _ in running}
    told = {one.id: one.count for one in first.events if one.uid in uids and one.reason in ("Killing", "Unhealthy")}
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
    events = (replace(e, count=e.count - before.told.get(e.id, 0)) for e in seen.events)
    return replace(seen, pods=pods, events=tuple(event for event in events if event.count > 0))


def _since(container: Container, before: Container | None) -> Container:
    if before is None:
        return container
    ended = None if container.exit == before.exit else container.exit
    return replace(container, restarts=max(0, container.restarts - before.restarts), exit=ended)


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
    return (ripe or pod.finished) and diagnosis.where == at(pod)


def _old(pod: Pod, now: datetime) -> bool:
    created = moment(pod.created)
    return created is not None and (now - created).total_seconds() > FRESH_SECONDS
