# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes that explain all others (`FIRST`), and those of a rollout that only does not come to its end (`LAST`)."""

from __future__ import annotations

from ..rule import NEVER, Hit, Look, Rule, at, containers_of, in_play, log_lines, probe_words, words_of
from ..seen import Seen
from ..words import one_line
from .containers import PROBE_REMEDY


def gone(seen: Seen) -> Hit | None:
    """The awaited object is not there any more."""
    return Hit(seen.subject, ()) if seen.deployment is None and seen.job is None else None


def lost_node(seen: Seen) -> Hit | None:
    for pod in seen.pods:
        node = None if pod.finished else seen.nodes.get(pod.node)
        if node and node.ready.status != "True" and not (pod.ready and node.ready.status == "False"):
            said = f"Ready={node.ready.status}: {node.ready.reason}: {node.ready.message}"
            return Hit(f"node {node.name}", (said,), {"node": node.name})
    return None


def paused(seen: Seen) -> Hit | None:
    if seen.deployment and seen.deployment.paused:
        return Hit(seen.subject, ("spec.paused: true",))
    return Hit(seen.subject, ("spec.suspend: true",)) if seen.job and seen.job.suspended else None


def unhealthy(probe: str, *, started: bool) -> Look:
    """A probe fails and the container still runs."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in containers_of(seen):
            if container.state == "running" and not container.ready and container.started == started:
                said = probe_words(seen.events, pod, probe)
                if said:
                    lines = log_lines(seen.logs.get((pod.uid, container.name), ()))
                    evidence = (f"{probe} probe: {said}", *lines)
                    return Hit(at(pod), evidence, {"said": said, **words_of(container)})
        return None

    return look


def overdue(seen: Seen) -> Hit | None:
    wanted = seen.deployment
    state = wanted.conditions.get("Progressing") if wanted else None
    if wanted is None or state is None or state.reason != "ProgressDeadlineExceeded":
        return None
    if wanted.observed < wanted.generation or seen.current is None:
        return None  # said of the revision before
    busy = any(c.state == "running" and not c.started for _, c in containers_of(seen))
    pulling = any(c.state == "waiting" and c.reason == "ContainerCreating" for _, c in containers_of(seen))
    return None if busy or pulling else Hit(seen.subject, (f"{state.reason}: {state.message}",))


def unobserved(seen: Seen) -> Hit | None:
    if seen.deployment is None or seen.deployment.observed >= seen.deployment.generation:
        return None
    return Hit(seen.subject, (f"generation {seen.deployment.generation}, observed {seen.deployment.observed}",))


def unplaced(seen: Seen) -> Hit | None:
    pods = [pod for pod in seen.pods if not pod.node and "PodScheduled" not in pod.conditions and not pod.deleting]
    return Hit(at(pods[0]), ("the pod has no PodScheduled condition",)) if pods else None


def creating(seen: Seen) -> Hit | None:
    for pod in in_play(seen):
        if pod.node and not pod.ready and all(c.state in ("", "waiting") for c in pod.containers if not c.init):
            told = [f"{e.reason}: {one_line(e.message)}" for e in seen.events if e.uid == pod.uid]
            return Hit(at(pod), tuple(told[-3:]), {"node": pod.node})
    return None


def leaving(seen: Seen) -> Hit | None:
    pods = [pod for pod in seen.old_pods if pod.deleting]
    return Hit(at(pods[0]), ("it has been told to stop",)) if pods else None


FIRST: tuple[Rule, ...] = (
    Rule(
        "gone",
        gone,
        "It was deleted while it was watched.",
        "Find out who deletes it, then run again.",
        patience=1.5,
        outside=True,
    ),
    Rule(
        "node-lost",
        lost_node,
        "Node {node} is not ready: its kubelet does not report, or its container runtime is down.",
        "Look at the machine (is it up, does kubelet run?), then run again.",
        patience=60,
        outside=True,
    ),
    Rule(
        "paused",
        paused,
        "It is paused: its controller does nothing.",
        "Resume it (kubectl rollout resume), or find out who paused it.",
        patience=1.5,
        outside=True,
    ),
)


LAST: tuple[Rule, ...] = (
    Rule(
        "startup-failing",
        unhealthy("startup", started=False),
        "The startup probe does not pass yet; its last words: {said}",
        PROBE_REMEDY,
        patience=NEVER,
    ),
    Rule(
        "not-ready",
        unhealthy("readiness", started=True),
        "The container runs and its readiness probe fails: {said}",
        "See what the probe asks for, and look at the log above.",
        patience=180,
    ),
    Rule(
        "deadline",
        overdue,
        "The Deployment made no progress within its progressDeadlineSeconds.",
        "Look at its pods and events.",
        patience=2.5,
        after_old=True,
        confidence="likely",
    ),
    Rule(
        "controller-silent",
        unobserved,
        "The Deployment's controller does not react to the change.",
        "See whether kube-controller-manager runs.",
        patience=60,
        outside=True,
    ),
    Rule(
        "scheduler-silent",
        unplaced,
        "The scheduler does not react to the pod.",
        "See whether kube-scheduler runs, and whether spec.schedulerName is right.",
        patience=60,
        outside=True,
    ),
    Rule(
        "old-pod-stays",
        leaving,
        "The pod of the old revision does not stop.",
        "Look at the node it is on, and at the pod's finalizers.",
        patience=NEVER,
        outside=True,
    ),
    Rule(
        "creating",
        creating,
        "The kubelet on {node} is still preparing the pod: image, volume or network.",
        "A mount that hangs says nothing for minutes: see whether the NFS server answers the node.",
        patience=NEVER,
        confidence="likely",
    ),
)
