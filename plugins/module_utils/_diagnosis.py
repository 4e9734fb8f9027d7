# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Why a rollout does not come to its end: one small rule a cause, the first that applies decides.

A rule reads what was observed and has no clock. It says what it sees, how often it must have been seen (`times`)
and how long it may last (`patience`) before waiting is pointless; `_rollout.py` keeps the time.
To add a cause: a rule here, a fixture in tests/unit/test_diagnosis.py, a fault in lab/faults.yml.
The texts that rules look for are those of Kubernetes 1.36, containerd 1.6, util-linux' mount and CUDA 12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ._observed import Container, Event, Node, Pod, Seen, Taint

LOG_LINES = 8
FAILED_PROBES = 3
"""So many failed startup probes say as much as one end of the process: a server may live on after a failed load."""

NEVER = None
"""A rule with this patience explains a time-out, and never ends the wait by itself."""


@dataclass(frozen=True)
class Diagnosis:
    """Why it does not go on.

    cause: identifier, as in docs/rollout.md.
    what: what happened, one sentence. where: the object it happened to.
    confidence: ``certain`` when the API said so itself, ``likely`` when it was inferred, ``unknown``.
    final: waiting is pointless.
    outside: nothing that the Deployment declares is at fault: going back to an earlier revision does not help.
    evidence: what the objects, events and logs said, word for word.
    remedy: what the operator does next.
    """

    cause: str
    what: str
    where: str
    confidence: str
    final: bool
    outside: bool
    evidence: tuple[str, ...]
    remedy: str


@dataclass(frozen=True)
class Hit:
    """Where a rule applies. words: fill in its sentences; times: how often it was seen."""

    where: str
    evidence: tuple[str, ...]
    words: Mapping[str, str] = field(default_factory=dict)
    times: int = 1


Look = Callable[[Seen], Hit | None]
Which = Callable[[Pod, list[Node]], bool]


@dataclass(frozen=True)
class Rule:
    """One cause. what, remedy: sentences with {words} of the hit. patience: seconds, or NEVER.

    times: how often it has to be seen before it is final.
    after_old: not final while a pod of the old revision that goes still holds what the new one waits for.
    """

    cause: str
    look: Look
    what: str
    remedy: str
    patience: float | None = 0
    times: int = 1
    outside: bool = False
    after_old: bool = False
    confidence: str = "certain"

    def apply(self, seen: Seen) -> tuple[Diagnosis, bool] | None:
        """The diagnosis and whether it would be final once patience is over; None when it does not apply."""
        hit = self.look(seen)
        if hit is None:
            return None
        ripe = hit.times >= self.times and not (self.after_old and _old_go(seen))
        diagnosis = Diagnosis(
            self.cause,
            self.what.format_map(_Words(hit.words)),
            hit.where,
            self.confidence,
            False,
            self.outside,
            hit.evidence,
            self.remedy.format_map(_Words(hit.words)),
        )
        return diagnosis, ripe


class _Words(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "?"


# How rules look. Each returns a Look.

PREPARED = ("Pulling", "Pulled", "Created", "Started")
"""Events of a pod whose volumes and sandbox are there."""

START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
"""A container waits because the node cannot make it. Which of them it is depends on the runtime."""

PULL = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed")


def waiting(reasons: tuple[str, ...], pattern: str = "") -> Look:
    """A container waits for one of these reasons, with such a message."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in _containers(seen):
            if container.state == "waiting" and container.reason in reasons:
                said = _essence(_pull_words(seen, pod, container) or container.message)
                words = _nameless(said, container.image) if reasons is PULL else said
                found = re.search(pattern, words, re.IGNORECASE)
                if found:
                    return Hit(_at(pod), (f"{container.reason}: {said}",), _words(container, found))
        return None

    return look


def either(*looks: Look) -> Look:
    """The first of several looks that finds something."""
    return lambda seen: next((hit for hit in (look(seen) for look in looks) if hit), None)


def refused(pattern: str) -> Look:
    """A pod does not appear: the API server refuses to create it. A ReplicaSet's controller says so until it can."""

    def look(seen: Seen) -> Hit | None:
        if seen.job and seen.pods:
            return None
        events = [e for e in seen.events if e.reason == "FailedCreate" and e.kind != "Pod"]
        failure = seen.current.conditions.get("ReplicaFailure") if seen.current else None
        if seen.job:
            said = events[-1].message if events else ""
        else:
            said = failure.message if failure and failure.status == "True" else ""
        found = re.search(pattern, said, re.IGNORECASE | re.DOTALL) if said else None
        if not found:
            return None
        times = max([e.count for e in events], default=1)
        return Hit(seen.subject, (f"FailedCreate: {_one_line(said)}",), found.groupdict(""), times)

    return look


def unscheduled(pattern: str, which: Which = lambda pod, nodes: True, *, blind: bool = True) -> Look:
    """The scheduler finds no place, in its own words.

    Those count every node of the cluster. `which` gets the pod and the nodes that its selector asks for, and says
    whether the words are about them; `blind` is the answer where nodes could not be looked up.
    """

    def look(seen: Seen) -> Hit | None:
        for pod in seen.pods:
            place = pod.conditions.get("PodScheduled")
            if place is None or place.status != "False" or pod.node:
                continue
            if not (blind if seen.neighbours is None else which(pod, list(seen.nodes.values()))):
                continue
            said = re.split(r"\s*(?:no new claims to deallocate, )?preemption:", place.message)[0].strip(" .,")
            found = re.search(pattern, said, re.IGNORECASE)
            if found:
                words = {"selector": _selector(pod), **found.groupdict("")}
                return Hit(_at(pod), (f"scheduler: {said}", *_node_lines(seen)), words)
        return None

    return look


def happened(reason: str, pattern: str, kinds: tuple[str, ...] = ("Pod",)) -> Look:
    """An event about a pod that is not ready yet (or about one of `kinds`)."""

    def look(seen: Seen) -> Hit | None:
        open_pods = {pod.uid: pod for pod in _in_play(seen) if not pod.ready}
        for event in reversed(seen.events):
            if event.reason != reason or event.kind not in kinds:
                continue
            if event.kind == "Pod" and event.uid not in open_pods:
                continue
            said = _essence(event.message)
            found = re.search(pattern, said, re.IGNORECASE | re.DOTALL)
            if found:
                where = _at(open_pods[event.uid]) if event.kind == "Pod" else f"{event.kind} {event.name}"
                words = {"volume": _volume(event.message), **_mount(event.message), **found.groupdict("")}
                return Hit(where, (f"{event.reason}: {said}",), words, event.count)
        return None

    return look


def preparing(pattern: str, reason: str = "FailedMount") -> Look:
    """The node cannot prepare a pod (its volumes, its sandbox), and has not gone on with it since."""
    told = happened(reason, pattern)

    def look(seen: Seen) -> Hit | None:
        last = {event.uid: event.last for event in seen.events if event.reason == reason}
        over = {e.uid for e in seen.events if e.reason in PREPARED and e.last >= last.get(e.uid, "")}
        over |= {pod.uid for pod, c in _containers(seen) if c.state not in ("", "waiting") or c.restarts}
        return told(replace(seen, pods=tuple(pod for pod in seen.pods if pod.uid not in over)))

    return look


def stuck(seen: Seen) -> Hit | None:
    """A container waits for something that no other rule names."""
    for pod, container in _containers(seen):
        if container.state == "waiting" and container.reason not in ("", "ContainerCreating", "PodInitializing"):
            said = f"{container.reason}: {_one_line(container.message)}".rstrip(": ")
            return Hit(_at(pod), (said,), {"why": said, **_words(container)})
    return None


def ended(test: Callable[[Container], bool], log: str = "", message: str = "") -> Look:
    """A container ended in such a way and is not ready; `log`, `message`: what its last lines or status say."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in _containers(seen):
            times = _times_ended(seen, pod, container)
            if container.exit is None or container.ready or not times or not test(container):
                continue
            lines = seen.logs.get((pod.uid, container.name), ())
            in_log = re.search(log, "\n".join(lines), re.IGNORECASE)
            in_status = re.search(message, container.exit.message, re.IGNORECASE | re.DOTALL)
            if in_log and in_status:
                words = _words(container, in_log) | in_status.groupdict("")
                return Hit(_at(pod), _exit_lines(container, lines), words, times)
        return None

    return look


def stopped(seen: Seen) -> Hit | None:
    """A server's container ended without an error; a Job's is meant to."""
    look = ended(lambda c: c.exit is not None and c.exit.code == 0 and c.exit.reason == "Completed" and not c.init)
    return None if seen.job else look(seen)


def out_of_memory(*, limited: bool) -> Look:
    """The kernel killed a container, at its limit or without one; the use before is known where there are metrics."""

    def test(container: Container) -> bool:
        killed = container.exit is not None and container.exit.reason == "OOMKilled"
        return killed and ("memory" in container.limits) == limited

    def look(seen: Seen) -> Hit | None:
        hit = ended(test)(seen)
        if hit is None:
            return None
        used = tuple(f"metrics.k8s.io: {name} used {much} when last measured" for name, much in seen.usage.items())
        return Hit(hit.where, (hit.evidence[0], *used, *hit.evidence[1:]), hit.words, hit.times)

    return look


def logged(pattern: str) -> Look:
    """The log of a container that has failed, or fails its startup probe, says so."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in _containers(seen):
            lines = seen.logs.get((pod.uid, container.name), ())
            ends, probes = _times_ended(seen, pod, container), _failed_probes(seen, pod)
            if container.ready or not (ends or probes):
                continue
            times = ends + probes // FAILED_PROBES
            for line in reversed(lines):
                found = re.search(pattern, line, re.IGNORECASE)
                if found:
                    neighbours = tuple(f"holds a GPU: {who}" for who in seen.neighbours or () if pod.node in who)
                    evidence = (f"log: {line.strip()}", *neighbours)
                    return Hit(_at(pod), evidence, _words(container, found), times)
        return None

    return look


def killed_by(probe: str) -> Look:
    """The kubelet kills a container because a probe fails."""

    def look(seen: Seen) -> Hit | None:
        for event in reversed(seen.events):
            if event.reason == "Killing" and f"failed {probe} probe" in event.message:
                pod = next((p for p in seen.pods if p.uid == event.uid), None)
                if pod is None or pod.ready:
                    continue
                said = _probe_words(seen.events, pod, probe)
                named = [c for c in pod.containers if f"Container {c.name} " in event.message]
                killed = (named or [c for c in pod.containers if not c.init])[0]
                lines = seen.logs.get((pod.uid, killed.name), ())
                evidence = (f"{probe} probe: {said}", event.message, *_log_lines(lines))
                return Hit(_at(pod), evidence, {"said": said, **_words(killed)}, event.count)
        return None

    return look


def unhealthy(probe: str, *, started: bool) -> Look:
    """A probe fails and the container still runs."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in _containers(seen):
            if container.state == "running" and not container.ready and container.started == started:
                said = _probe_words(seen.events, pod, probe)
                if said:
                    return Hit(_at(pod), (f"{probe} probe: {said}",), {"said": said, **_words(container)})
        return None

    return look


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


def _turned_away(seen: Seen) -> list[Pod]:
    """Pods that a node evicted or rejected, since the last one that a node took in: those before are history."""
    pods: list[Pod] = []
    for pod in seen.pods:
        if pod.phase == "Failed" and pod.reason:
            pods.append(pod)
        elif any(c.state for c in pod.containers):
            pods.clear()
    return pods


def evicted(seen: Seen) -> Hit | None:
    pods = [pod for pod in _turned_away(seen) if pod.reason == "Evicted"]
    return Hit(_at(pods[-1]), tuple(f"Evicted: {pod.message}" for pod in pods), {}, len(pods)) if pods else None


def rejected(seen: Seen) -> Hit | None:
    pods = [pod for pod in _turned_away(seen) if not any(c.state for c in pod.containers)]
    if not pods:
        return None
    return Hit(_at(pods[-1]), (f"{pods[-1].reason}: {pods[-1].message}",), {"reason": pods[-1].reason}, len(pods))


def node_on_its_way(seen: Seen) -> Hit | None:
    """An autoscaler makes a node for the pod. It says so in an event, and in another one when it gives up."""
    hit = unscheduled(r".")(seen)
    told = [e for e in seen.events if e.reason in AUTOSCALER and any(e.uid == pod.uid for pod in seen.pods)]
    if hit is None or not told or told[-1].reason not in COMING:
        return None
    return replace(hit, evidence=(f"{told[-1].reason}: {_one_line(told[-1].message)}", *hit.evidence))


COMING = ("TriggeredScaleUp", "Nominated")
"""What cluster-autoscaler and Karpenter say of a pod for which they make a node."""

AUTOSCALER = (*COMING, "NotTriggerScaleUp", "FailedScaleUp")


def preempted(seen: Seen) -> Hit | None:
    events = [e for e in seen.events if e.reason == "Preempted"]
    waits = any(p.conditions.get("PodScheduled") and not p.node for p in seen.pods) or not seen.pods
    if not events or not waits:
        return None
    holders = tuple(f"holds a GPU: {who}" for who in seen.neighbours or ())
    return Hit(f"pod {events[-1].name}", (f"Preempted: {events[-1].message}", *holders))


def gpu_missing(test: Callable[[int, int], bool]) -> Look:
    """Too few GPUs for the pod; `test` gets the largest number a node has, and the number asked for."""
    told = unscheduled(r"Insufficient (?P<resource>\S*/(?:gpu|mig)\S*|\S+\.\S+/\S+)")

    def look(seen: Seen) -> Hit | None:
        hit = told(seen)
        if hit is None or not seen.nodes:
            return None
        name = hit.words["resource"].rstrip(".,")
        wanted = max((_number(c.limits.get(name, "0")) for _, c in _containers(seen)), default=0)
        most = max((_number(node.allocatable.get(name, "0")) for node in seen.nodes.values()), default=0)
        if not test(most, wanted):
            return None
        words = {**hit.words, "resource": name, "most": str(most), "wanted": str(wanted)}
        holders = tuple(f"holds {name}: {who}" for who in seen.neighbours or ())
        return Hit(hit.where, (*hit.evidence, *holders), words)

    return look


def claim_event(pattern: str) -> Look:
    """A claim stays unbound, and the volume controller says why."""

    def look(seen: Seen) -> Hit | None:
        for event in reversed(seen.events):
            claim = seen.claims.get(event.name)
            if event.kind == "PersistentVolumeClaim" and claim and claim.phase != "Bound":
                found = re.search(pattern, event.message, re.IGNORECASE)
                if found:
                    words = {"claim": claim.name, "volume": claim.volume or "?", **found.groupdict("")}
                    return Hit(f"PersistentVolumeClaim {claim.name}", (f"{event.reason}: {event.message}",), words)
        return None

    return look


def seed_said(seen: Seen) -> Hit | None:
    """A pod left an explanation of its own (JSON with error, cause and remedy) as termination message."""
    for pod, container in reversed(list(_containers(seen))):
        if container.exit and container.exit.code and container.exit.message.startswith("{"):
            try:
                told = json.loads(container.exit.message)
            except ValueError:
                continue
            if isinstance(told, dict) and told.get("error"):
                cause = str(told.get("cause", ""))
                words = {"said": str(told["error"]).rstrip("."), "do": str(told.get("remedy", ""))}
                failures = seen.job.failed if seen.job else 1
                passing = container.exit.code in PASSING
                return Hit(_at(pod), (f"cause: {cause}",) if cause else (), words, failures if passing else 99)
    return None


PASSING = (10, 14, 23, 30, 70, 143)
"""Exit statuses of the seed script after which another try may succeed (hub, volume I/O, stopped)."""


def job_failed(reason: str) -> Look:
    """The Job's controller gave up."""

    def look(seen: Seen) -> Hit | None:
        failed = seen.job.conditions.get("Failed") if seen.job else None
        if failed is None or failed.status != "True" or (reason and failed.reason != reason):
            return None
        lines = [line for p in seen.pods for c in p.containers for line in seen.logs.get((p.uid, c.name), ())]
        return Hit(seen.subject, (f"{failed.reason}: {failed.message}", *_log_lines(lines)))

    return look


def overdue(seen: Seen) -> Hit | None:
    wanted = seen.deployment
    state = wanted.conditions.get("Progressing") if wanted else None
    if wanted is None or state is None or state.reason != "ProgressDeadlineExceeded":
        return None
    if wanted.observed < wanted.generation or seen.current is None:
        return None  # said of the revision before
    busy = any(c.state == "running" and not c.started for _, c in _containers(seen))
    pulling = any(c.state == "waiting" and c.reason == "ContainerCreating" for _, c in _containers(seen))
    return None if busy or pulling else Hit(seen.subject, (f"{state.reason}: {state.message}",))


def paused(seen: Seen) -> Hit | None:
    if seen.deployment and seen.deployment.paused:
        return Hit(seen.subject, ("spec.paused: true",))
    return Hit(seen.subject, ("spec.suspend: true",)) if seen.job and seen.job.suspended else None


def unobserved(seen: Seen) -> Hit | None:
    if seen.deployment is None or seen.deployment.observed >= seen.deployment.generation:
        return None
    return Hit(seen.subject, (f"generation {seen.deployment.generation}, observed {seen.deployment.observed}",))


def unplaced(seen: Seen) -> Hit | None:
    pods = [pod for pod in seen.pods if not pod.node and "PodScheduled" not in pod.conditions and not pod.deleting]
    return Hit(_at(pods[0]), ("the pod has no PodScheduled condition",)) if pods else None


def creating(seen: Seen) -> Hit | None:
    for pod in _in_play(seen):
        if pod.node and not pod.ready and all(c.state in ("", "waiting") for c in pod.containers if not c.init):
            told = [f"{e.reason}: {_one_line(e.message)}" for e in seen.events if e.uid == pod.uid]
            return Hit(_at(pod), tuple(told[-3:]), {"node": pod.node})
    return None


def leaving(seen: Seen) -> Hit | None:
    pods = [pod for pod in seen.old_pods if pod.deleting]
    return Hit(_at(pods[0]), ("it has been told to stop",)) if pods else None


# What the words of a hit are made of.


def _containers(seen: Seen) -> Iterator[tuple[Pod, Container]]:
    return ((pod, container) for pod in _in_play(seen) if not pod.deleting for container in pod.containers)


def _in_play(seen: Seen) -> tuple[Pod, ...]:
    """Pods that matter: a Deployment's that is finished has been replaced, a Job's tells how its try went."""
    return tuple(pod for pod in seen.pods if seen.job or not pod.finished)


def _at(pod: Pod) -> str:
    return f"pod {pod.name} on node {pod.node}" if pod.node else f"pod {pod.name}"


def _words(container: Container, found: re.Match[str] | None = None) -> dict[str, str]:
    ended = container.exit
    return {
        "container": container.name,
        "image": container.image,
        "limit": container.limits.get("memory", "none"),
        "code": str(ended.code) if ended else "?",
        **(found.groupdict("") if found else {}),
    }


def _essence(message: str) -> str:
    """A kubelet's message in one line: without the mount command and the back-off's preamble."""
    message = re.sub(r'^Back-off pulling image "[^"]*": ', "", message)
    if "Output: " in message:
        message = message.split("Output: ", 1)[1]
    return _one_line(message)


def _pull_words(seen: Seen, pod: Pod, container: Container) -> str:
    """Why an image is not pulled, where only the event says so: kubelets before 1.31, while they back off."""
    if not re.fullmatch(r'Back-off pulling image "[^"]*"', container.message):
        return ""
    start = f'Failed to pull image "{container.image}": '
    said = [e.message for e in seen.events if e.uid == pod.uid and e.message.startswith(start)]
    return said[-1][len(start) :] if said else ""


def _nameless(said: str, image: str) -> str:
    """Words of a runtime without names of images and addresses: what is in those is no cause."""
    return re.sub(r"https?://[^\s\"]+", "", said).replace(image, "")


def _one_line(message: str) -> str:
    return " ".join(message.split())[:600]


def _volume(message: str) -> str:
    found = re.search(r'for volume "([^"]+)"|unmounted volumes=\[([^\]]+)\]', message)
    return found[1] or found[2] if found else "?"


def _mount(message: str) -> dict[str, str]:
    found = re.search(r"Mounting arguments:.* (?P<server>[^\s:]+):(?P<path>/\S*) /", message)
    return found.groupdict() if found else {}


def _selector(pod: Pod) -> str:
    return ",".join(f"{name}={value}" for name, value in pod.selector.items()) or "none"


def _node_lines(seen: Seen) -> tuple[str, ...]:
    return tuple(
        f"node {node.name}: "
        + ("cordoned; " if node.unschedulable else "")
        + f"taints {', '.join(map(str, node.taints)) or 'none'}"
        for node in list(seen.nodes.values())[:5]
    )


def _old_go(seen: Seen) -> bool:
    """Whether pods of the old revision are about to go. With RollingUpdate they stay until a new one is ready."""
    recreate = seen.deployment is not None and seen.deployment.recreate
    return any(not pod.finished and (pod.deleting or recreate) for pod in seen.old_pods)


def _kept_away(pod: Pod, node: Node) -> list[Taint]:
    """The node's taints that keep the pod away."""
    hard = (taint for taint in node.taints if taint.effect in ("NoSchedule", "NoExecute"))
    return [taint for taint in hard if not any(one.of(taint) for one in pod.tolerations)]


def _passing(taint: Taint) -> bool:
    """Whether the cluster sets it and takes it away by itself; a cordoned node's has a rule of its own."""
    return taint.key.startswith(PASSING_TAINTS) and taint.key != "node.kubernetes.io/unschedulable"


PASSING_TAINTS = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "node.cilium.io/agent-not-ready",
    "startup-taint.cluster-autoscaler.kubernetes.io/",
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "karpenter.sh/",
)


def _number(quantity: str) -> int:
    found = re.fullmatch(r"(\d+)(k?)", quantity)
    return int(found[1]) * (1000 if found[2] else 1) if found else 0


def _probe_words(events: tuple[Event, ...], pod: Pod, probe: str) -> str:
    said = [e.message for e in events if e.uid == pod.uid and e.reason == "Unhealthy"]
    start = f"{probe.capitalize()} probe failed: "
    words = [_one_line(message[len(start) :]) for message in said if message.startswith(start)]
    return words[-1] if words else ""


def _log_lines(lines: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"log: {line.rstrip()}" for line in list(lines)[-LOG_LINES:] if line.strip())


def _exit_lines(container: Container, lines: tuple[str, ...]) -> tuple[str, ...]:
    ended = container.exit
    assert ended is not None
    said = f": {_one_line(ended.message)}" if ended.message else ""
    again = f", restarted {container.restarts} times" if container.restarts else ""
    return (
        f"container {container.name} ended with {ended.reason or 'exit'} {ended.code}{said}{again}",
        *_log_lines(lines),
    )


def _times_ended(seen: Seen, pod: Pod, container: Container) -> int:
    """How often the container has ended: restarts, and the end that has not been followed by one yet.

    What a container went through before the watch began is history, if it ran then. A Job has a pod for each try.
    """
    if seen.job:
        return sum(_failed(c) for _, c in _containers(seen))
    last = 1 if container.exit and container.state != "running" else 0
    return container.restarts + last - seen.restarts.get((pod.uid, container.name), 0)


def _failed_probes(seen: Seen, pod: Pod) -> int:
    """How often the pod's startup probe got an answer that was none; while the server loads, it gets no answer."""
    failed = (e for e in seen.events if e.uid == pod.uid and e.reason == "Unhealthy" and _STARTUP in e.message)
    return sum(e.count for e in failed if not re.search(_NO_ANSWER, e.message, re.IGNORECASE))


def _failed(container: Container) -> bool:
    return container.exit is not None and container.exit.code != 0


def _not_started(container: Container) -> bool:
    return container.exit is not None and container.exit.reason in ("StartError", "ContainerCannotRun")


# The rules, from causes that explain others to those that are explained by others.

_STARTUP = "Startup probe failed"
_NO_ANSWER = r"connection refused|does not listen|no answer within|timed out"
_REGISTRY = (
    r"connection refused|no such host|i/o timeout|no route to host|unreachable|handshake timeout|\bEOF\b|misbehaving|"
    r"connection reset|deadline exceeded|status(?: code)?:? ?(?:\[[^]]*\]: )?5\d\d|"
    r"\b5\d\d (?:internal|bad gateway|service (?:temporarily )?unavailable|gateway time-?out)"
)
_HUB = (
    r"huggingface|hf\.co|OfflineModeIsEnabled|LocalEntryNotFound|Max retries exceeded|Name or service not known|"
    r"Temporary failure in name resolution"
)
_QUOTA = r"(?P<quota>[^,]+), requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<most>\S+)"
_MISFIT = r"requested PV is too small|access ?modes?|storage ?class(?:Name)?s? .*(?:match|mismatch)|volumeMode"
_LIMITS = r"(?:maximum|minimum) .+ per (?:Container|Pod) is [^,]+, but (?:limit|request) is [^.\]]+"
_NVIDIA = (
    r"nvidia-container-(?:cli|runtime)[^\n]+|(?:failed to [^\n:]*|unresolvable )?\bCDI\b[^\n]*|[^\n:]*\bNVML\b[^\n]*|"
    r"could not select device driver[^\n]*|libnvidia-ml[^\n]*"
)
_REQUIREMENT = r"requirement error: (?P<why>[^\n\"\\]+?)(?::? unknown)?(?=[\n\"\\]|$)"
_NO_SUCH_COMMAND = r"exec: |executable file|no such file or directory|permission denied"
_SLOW = (
    r"(?P<why>.*(?:timed out waiting for the condition|context deadline exceeded|"
    r"failed to sync (?:secret|configmap) cache|failed to reserve (?:container )?name|name is reserved).*)"
)
_SHARED = r"(?P<library>lib(?:cublas|cudnn|cuda|cudart|nv)\S*\.so\S*?)[:\s].*(?:not found|cannot be loaded|cannot open)"
_PROBE_REMEDY = "Look at the log above; give a slow start more time with speaches_startup_seconds."

RULES: tuple[Rule, ...] = (
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
    # No pod appears.
    Rule(
        "quota-exceeded",
        refused(
            r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<most>\S+)"
        ),
        "Quota {quota} allows {most}, {used} is used, and the pod asks for {asked}.",
        "Raise the ResourceQuota or lower speaches_resources.",
        patience=1.5,
        after_old=True,
    ),
    Rule(
        "quota-needs-limits",
        refused(r"failed quota: (?P<quota>[^:]+): must specify (?P<fields>.+)"),
        "Quota {quota} wants every container to set {fields}.",
        "Set them in speaches_resources, or give the namespace a LimitRange with defaults.",
        patience=1.5,
    ),
    Rule(
        "priority-class-missing",
        refused(r"no PriorityClass with name (?P<name>\S+) was found"),
        "The cluster has no PriorityClass {name}.",
        "Create it, or set speaches_gpu.priority_class to one that is there.",
        patience=1.5,
    ),
    Rule(
        "runtime-class-missing",
        refused(r"RuntimeClass(?:\.node\.k8s\.io)? \"(?P<name>[^\"]+)\" not found"),
        "The cluster has no RuntimeClass {name}.",
        "Create it (the GPU Operator does), or unset speaches_gpu.runtime_class.",
        patience=1.5,
    ),
    Rule(
        "pod-security-denied",
        refused(r"violates PodSecurity \"(?P<level>[^\"]+)\": (?P<why>.+)"),
        "Pod Security ({level}) refuses the pod: {why}.",
        "Make the pod fit the level, or label the namespace with a lower pod-security.kubernetes.io/enforce.",
        patience=1.5,
    ),
    Rule(
        "limit-range",
        refused(rf"(?P<why>{_LIMITS})"),
        "The namespace's LimitRange refuses the pod: {why}.",
        "Change speaches_resources or the LimitRange.",
        patience=1.5,
    ),
    Rule(
        "webhook-unreachable",
        refused(r"failed calling webhook \"(?P<name>[^\"]+)\": (?P<why>.+)"),
        "Admission webhook {name} does not answer: {why}.",
        "Bring the webhook's own pods back (its failurePolicy is Fail), then run again.",
        patience=60,
        outside=True,
    ),
    Rule(
        "policy-denied",
        refused(
            r"(?:admission webhook|ValidatingAdmissionPolicy) ['\"](?P<name>[^'\"]+)['\"].* "
            r"denied (?:the )?request:? (?P<why>.+)"
        ),
        "The cluster's policy {name} refuses the pod: {why}",
        "Change what it names, or ask whoever owns the policy for an exception.",
        patience=1.5,
    ),
    Rule(
        "service-account-missing",
        refused(r"error looking up service account (?P<name>\S+):"),
        "The service account {name} is not there.",
        "Create it; the controller manager makes the default one, so look whether that runs.",
        patience=2,
    ),
    Rule(
        "api-server-busy",
        refused(
            r"(?P<why>etcdserver: .+|resource quota evaluation timed out.*|Timeout: request did not complete.*|"
            r"status unknown for quota.*|.*context deadline exceeded.*|.*connection refused.*|Too many requests.*)"
        ),
        "The API server does not get to creating the pod: {why}.",
        "See how the API server and its etcd are, then run again.",
        patience=60,
        outside=True,
    ),
    Rule(
        "pod-refused",
        refused(r"(?P<why>.+)"),
        "The API server refuses to create the pod: {why}",
        "Correct what the message names.",
        patience=2,
    ),
    # No node takes it.
    Rule(
        "claim-missing",
        unscheduled(r"persistentvolumeclaim \"(?P<claim>[^\"]+)\" not found"),
        "The PersistentVolumeClaim {claim} is not there.",
        "Run the deploy play: it makes the claim. If somebody removes it, find out who.",
        patience=1.5,
    ),
    Rule(
        "volume-bound-elsewhere",
        claim_event(r"already bound to a different claim|bound to (?:a )?different|VolumeMismatch|different claim"),
        "PersistentVolume {volume} belongs to another claim than {claim}.",
        "Remove spec.claimRef from the volume if the old claim is gone, or give speaches_volume another name.",
        patience=1.5,
    ),
    Rule(
        "claim-mismatch",
        claim_event(rf"(?P<why>(?:{_MISFIT}).*)"),
        "Claim {claim} and volume {volume} do not fit together: {why}",
        "Make size, access modes and storage class of both the same (speaches_volume).",
        patience=1.5,
    ),
    Rule(
        "claim-unbound",
        unscheduled(r"unbound immediate PersistentVolumeClaims"),
        "The PersistentVolumeClaim is not bound to a volume.",
        "Look at the claim: is its volume there, of the same size, class and access mode?",
        patience=20,
    ),
    Rule(
        "node-on-its-way",
        node_on_its_way,
        "An autoscaler makes a node for the pod.",
        "See what the autoscaler says, and whether its node joins and gets its GPU driver.",
        patience=900,
        outside=True,
    ),
    Rule(
        "gpu-not-advertised",
        gpu_missing(lambda most, wanted: most == 0),
        "No node offers {resource} any more: the device plugin or the driver is down.",
        "Look at the GPU Operator's pods (driver, device plugin) on the GPU node.",
        patience=30,
        outside=True,
    ),
    Rule(
        "gpu-insufficient",
        gpu_missing(lambda most, wanted: 0 < most < wanted),
        "The pod asks for {wanted} {resource}, and no node has more than {most}.",
        "Lower speaches_gpu.count, or raise the time-slicing replicas.",
        patience=0,
    ),
    Rule(
        "preempted",
        preempted,
        "A pod of higher priority took its place.",
        "Give portal-stt a higher priority class, or make room.",
        patience=30,
        outside=True,
    ),
    Rule(
        "gpu-taken",
        gpu_missing(lambda most, wanted: most >= wanted),
        "All {resource} are taken by other pods.",
        "Scale one of them down, give portal-stt a higher priority class, or add time-slicing replicas.",
        patience=30,
        outside=True,
        after_old=True,
    ),
    Rule(
        "resources-insufficient",
        unscheduled(r"Insufficient (?P<resource>memory|cpu|ephemeral-storage|pods)|Too many (?P<many>pods)"),
        "No GPU node has enough {resource}{many} left.",
        "Lower speaches_resources, or free some on the node.",
        patience=30,
        after_old=True,
    ),
    Rule(
        "volume-on-another-node",
        unscheduled(
            r"volume node affinity conflict|didn't match PersistentVolume's node affinity|no available volume zone"
        ),
        "The volume can only be used on other nodes than the GPU's.",
        "Use a volume that every node can mount (NFS), or correct the volume's spec.nodeAffinity.",
        patience=1.5,
    ),
    Rule(
        "volume-missing",
        unscheduled(r"bound to non-existent pv"),
        "The claim is bound to a volume that is not there any more.",
        "Delete the claim and run the deploy play: it makes both again. The data on the server stay.",
        patience=20,
    ),
    Rule(
        "volumes-at-limit",
        unscheduled(r"exceed max volume count"),
        "The node cannot attach one more volume.",
        "Free one on the node (kubectl describe csinode), or use another node.",
        patience=60,
        outside=True,
    ),
    Rule(
        "ports-taken",
        unscheduled(r"didn't have free ports"),
        "Another pod has the port on the node that this one asks for.",
        "Remove hostPort or hostNetwork, or see which pod has the port.",
        patience=30,
        after_old=True,
    ),
    Rule(
        "kept-apart",
        unscheduled(r"(?P<why>(?:pod|pods) (?:anti-)?affinity rules|pod topology spread constraints)"),
        "The pod has to keep away from, or near to, other pods, and no GPU node is left: {why}.",
        "Change the affinity or spread that the pod is given, add a node, or wait for the other pod to go.",
        patience=30,
        after_old=True,
    ),
    Rule(
        "no-gpu-node",
        unscheduled(
            r"didn't match Pod's node affinity/selector|no nodes available", lambda pod, nodes: not nodes, blind=False
        ),
        "No node has the labels {selector}.",
        "Correct speaches_gpu.node_selector, or see why GPU feature discovery does not label the node.",
        patience=1.5,
    ),
    Rule(
        "node-not-ready",
        unscheduled(
            r"untolerated taint",
            lambda pod, nodes: bool(nodes) and all(node.ready.status != "True" for node in nodes),
            blind=False,
        ),
        "No node that the pod may go to is ready.",
        "Look at the machine (is it up, does kubelet run?), then run again.",
        patience=60,
        outside=True,
    ),
    Rule(
        "node-cordoned",
        unscheduled(r"node\(s\) were unschedulable", lambda pod, nodes: any(node.unschedulable for node in nodes)),
        "The node is cordoned.",
        "kubectl uncordon it when its maintenance is over, then run again.",
        patience=30,
        outside=True,
    ),
    Rule(
        "node-under-pressure",
        unscheduled(
            r"untolerated taint",
            lambda pod, nodes: any(_passing(taint) for node in nodes for taint in _kept_away(pod, node)),
            blind=False,
        ),
        "The node keeps pods away for the time being.",
        "See what it runs short of (kubectl describe node): disk, memory, network.",
        patience=60,
        outside=True,
    ),
    Rule(
        "taint-not-tolerated",
        unscheduled(
            r"untolerated taint",
            lambda pod, nodes: any(_kept_away(pod, node) for node in nodes),
            blind=False,
        ),
        "The node has a taint that the pod does not tolerate.",
        "Add the taint to speaches_gpu.tolerations, or remove it from the node.",
        patience=1.5,
    ),
    Rule(
        "unschedulable",
        unscheduled(r"(?P<why>.+)"),
        "The scheduler finds no node: {why}.",
        "Read its sentence: each node is counted with its reason.",
        patience=60,
    ),
    Rule(
        "evicted",
        evicted,
        "The node evicts the pod: it runs short of something.",
        "Free what the message names on the node (disk, memory), then run again.",
        patience=60,
        times=2,
        outside=True,
    ),
    Rule(
        "rejected-by-node",
        rejected,
        "The kubelet rejects the pod: {reason}.",
        "Look at the node's device plugin and at what it says of its resources.",
        patience=90,  # after a restart of the kubelet, until the device plugin has registered
        times=3,
        outside=True,
    ),
    # The image does not come.
    Rule(
        "image-name-invalid",
        waiting(("InvalidImageName", "ErrInvalidImageName")),
        "{image} is not an image name.",
        "Correct speaches_image: registry/repository:tag, in lower case.",
    ),
    Rule(
        "image-never-pulled",
        waiting(("ErrImageNeverPull",)),
        "{image} is not on the node, and imagePullPolicy is Never.",
        "Load the image onto the node, or let it be pulled.",
    ),
    Rule(
        "disk-full",
        waiting(PULL, r"no space left on device"),
        "{image} does not fit on the node's disk.",
        "Free space for the container runtime on the node.",
        patience=1.5,
    ),
    Rule(
        "registry-unauthorised",
        waiting(
            PULL,
            r"(?<![:.\d])40[13]\b|unauthorized|authorization failed|access denied|denied:|insufficient_scope|"
            r"no basic auth credentials",
        ),
        "The registry does not let the node pull {image}.",
        "Set speaches_registry.pull_secret to a Secret that may, and check the spelling of the repository.",
    ),
    Rule(
        "registry-rate-limited",
        waiting(PULL, r"\b429\b|toomanyrequests|rate limit"),
        "The registry's limit of pulls is reached.",
        "Wait, pull with an account (speaches_registry.pull_secret), or use a mirror.",
        patience=180,
        outside=True,
    ),
    Rule(
        "registry-tls",
        waiting(PULL, r"x509|certificate|server gave HTTP response to HTTPS client"),
        "The node does not trust the registry of {image}.",
        "Give the container runtime the registry's CA, or configure it as plain HTTP.",
    ),
    Rule(
        "registry-unreachable",
        waiting(PULL, _REGISTRY),
        "The node cannot reach the registry of {image}.",
        "Check name resolution and the route from the node to the registry, or use a mirror.",
        patience=90,
    ),
    Rule(
        "image-platform",
        waiting(PULL, r"no match for platform|exec format"),
        "{image} is not made for this node's processor.",
        "Choose an image for it.",
    ),
    Rule(
        "node-store-broken",
        waiting(PULL, r"parent snapshot|snapshot \S+ does not exist|content (?:digest )?sha256:\S+ not found"),
        "The store of the node's container runtime lacks parts of {image} that it should have.",
        "Remove the image from the node (crictl rmi), so that all of it is pulled; or restart the runtime.",
        patience=60,
        outside=True,
    ),
    Rule(
        "image-missing",
        waiting(PULL, r"not found|manifest unknown|name unknown|not known to registry|does not exist"),
        "The registry has no {image}.",
        "Correct the tag or digest in speaches_image; preflight lists what a registry has.",
    ),
    Rule(
        "image-not-pulled",
        waiting(PULL, r"."),
        "{image} cannot be pulled.",
        "Read the runtime's words.",
        patience=90,
    ),
    # The volume does not come.
    Rule(
        "nfs-directory-missing",
        preparing(r"mount\.nfs\S*: .*No such file or directory"),
        "The NFS server {server} has no directory {path}, or does not export it.",
        "Run the storage play: it makes the directory and exports it.",
    ),
    Rule(
        "nfs-access-denied",
        preparing(r"access denied by server|mount\.nfs\S*: .*(?:permission denied|operation not permitted)"),
        "The NFS server {server} refuses to let the node mount {path}: it is not exported to it, or is not there.",
        "Run the storage play, and compare `exportfs -s` on the server with speaches_volume.",
        times=2,
    ),
    Rule(
        "nfs-version",
        preparing(r"protocol not supported|requested NFS version|incorrect mount option"),
        "The NFS server {server} and the mount options of the volume do not go together.",
        "Compare nfsvers in speaches_volume.mount_options with /proc/fs/nfsd/versions on the server.",
    ),
    Rule(
        "nfs-client-missing",
        preparing(r"bad option|need a /sbin/mount|unknown filesystem type"),
        "The node cannot mount NFS: its mount helper is missing.",
        "Install nfs-common on the node.",
        outside=True,
    ),
    Rule(
        "nfs-stale",
        preparing(r"mount\.nfs\S*: .*stale (?:nfs )?file handle"),
        "The NFS server {server} does not know {path} any more as it was: the directory or its disk was made anew.",
        "Run `exportfs -ra` on the server; restart the node if it still holds the old mount.",
        patience=60,
        outside=True,
    ),
    Rule(
        "nfs-unreachable",
        preparing(
            r"mount(?:\.nfs\S*)?: .*(?:connection refused|no route to host|timed out|network is unreachable|"
            r"host is down|failed to resolve)"
        ),
        "The NFS server {server} does not answer the node.",
        "See whether the server runs and the address in speaches_volume.server is right.",
        patience=60,
    ),
    Rule(
        "csi-driver-missing",
        preparing(r"driver name (?P<driver>\S+) not found in the list of registered CSI drivers"),
        "The node has no CSI driver {driver}.",
        "Install the driver, or unset speaches_volume.driver: the volume is then mounted by the kubelet.",
        patience=20,
    ),
    Rule(
        "csi-driver-missing",  # without the driver's CSIDriver object, the controller waits for an attacher first
        preparing(r"external-attacher of (?P<driver>\S+)", "FailedAttachVolume"),
        "The cluster has no CSI driver {driver}, or its attacher does not run.",
        "Install the driver, or unset speaches_volume.driver: the volume is then mounted by the kubelet.",
        patience=20,
    ),
    Rule(
        "configuration-missing",
        preparing(r"(?P<what>(?:configmap|secret) \"[^\"]+\") not found|(?P<key>references non-existent \S+ key: \S+)"),
        "The pod mounts something that is not there: {what}{key}.",
        "Run the deploy play: it makes it. If somebody removes it, find out who.",
        patience=1.5,
    ),
    Rule(
        "node-slow",
        preparing(r"failed to sync (?P<what>secret|configmap) cache"),
        "The node does not keep up with fetching the pod's {what}s.",
        "See how busy the node and the API server are.",
        patience=120,
        outside=True,
    ),
    Rule(
        "nfs-unreachable",  # a CSI driver waits for the mount, and then says that the last try still goes on
        preparing(r"code = DeadlineExceeded|code = Aborted .*operation with the given volume"),
        "The volume's driver does not get volume {volume} mounted in time: most likely its NFS server does not answer.",
        "See whether the server runs and the address in speaches_volume.server is right.",
        patience=60,
        confidence="likely",
    ),
    Rule(
        "volume-not-mounted",
        preparing(r"."),
        "The kubelet cannot mount volume {volume}.",
        "Read the node's words.",
        patience=90,
    ),
    Rule(
        "sandbox-failed",
        preparing(r".", "FailedCreatePodSandBox"),
        "The node cannot set up the pod's network or sandbox.",
        "Look at the network plugin and the container runtime on the node.",
        patience=60,
        outside=True,
    ),
    # The container does not start.
    Rule(
        "node-slow",
        waiting(("CreateContainerConfigError", "CreateContainerError"), _SLOW),
        "The node does not keep up with making the container: {why}.",
        "See how busy the node, its disk and its container runtime are.",
        patience=120,
        outside=True,
    ),
    Rule(
        "configuration-missing",
        waiting(("CreateContainerConfigError",), r"(?P<what>.*(?:not found|couldn't find key).*)"),
        "The container's environment names something that is not there: {what}.",
        "Run the deploy play: it makes it. If somebody removes it, find out who.",
        patience=1.5,
    ),
    Rule(
        "cuda-requirement",
        either(ended(_failed, message=_REQUIREMENT), waiting(START, _REQUIREMENT)),
        "The node's driver does not meet what the image asks for: {why}.",
        "Run preflight: it names the image variant that fits this driver.",
    ),
    Rule(
        "gpu-runtime",
        either(ended(_failed, message=rf"(?P<why>{_NVIDIA})"), waiting(START, rf"(?P<why>{_NVIDIA})")),
        "NVIDIA's container runtime cannot give the container its GPU: {why}.",
        "Look at the driver on the node (nvidia-smi) and at the GPU Operator's pods.",
        patience=90,  # the driver's pod may be on its way to a new version
        outside=True,
    ),
    Rule(
        "bad-command",
        ended(_not_started, message=rf"^(?!.*(?:error mounting|cgroup)).*(?:{_NO_SUCH_COMMAND})"),
        "Container {container} cannot be started.",
        "Correct its command: the runtime's words name the file.",
    ),
    Rule(
        "start-failed",
        ended(_not_started, message=r"(?P<why>.+)"),
        "The node cannot start container {container}: {why}.",
        "Look at the container runtime, the disk and the volumes of the node.",
        patience=90,
    ),
    Rule(
        "container-refused",
        waiting(("CreateContainerConfigError", "CreateContainerError"), r"(?P<why>.+)"),
        "The node cannot make the container: {why}.",
        "Correct what the message names.",
        patience=1.5,
    ),
    Rule(
        "node-out-of-memory",
        out_of_memory(limited=False),
        "The node ran out of memory, and container {container}, which has no limit, was killed.",
        "Free memory on the node, or set speaches_resources.memory_limit, so that the scheduler makes room.",
        times=2,
        outside=True,
    ),
    Rule(
        "oom-killed",
        out_of_memory(limited=True),
        "Container {container} used more memory than its limit of {limit} and was killed.",
        "Raise speaches_resources.memory_limit: the model is in main memory once while it loads.",
    ),
    Rule(
        "cuda-driver-insufficient",
        logged(
            r"driver version is insufficient|cudaErrorInsufficientDriver|driver on your system is too old|"
            r"forward compatibility was attempted|unsupported toolchain|unsupported display driver / cuda driver"
        ),
        "The node's driver is too old for the image's CUDA.",
        "Run preflight: it names the image variant that fits this driver.",
    ),
    Rule(
        "cuda-no-kernel",
        logged(r"no kernel image is available|device kernel image is invalid|cudaErrorNoKernelImageForDevice"),
        "The image has no code for this GPU's architecture.",
        "Run preflight, and choose a variant of the image for this card.",
    ),
    Rule(
        "cuda-out-of-memory",
        logged(
            r"CUDA (?:failed with error |error: )?out of memory|cudaMalloc failed: out of memory|"
            r"cudaErrorMemoryAllocation|CUBLAS_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)|CUDNN_STATUS_ALLOC_FAILED|"
            r"failed to allocate memory for requested buffer"
        ),
        "The card has too little memory left for the model.",
        "Make room on the card, or use a smaller model or WHISPER__COMPUTE_TYPE=int8.",
        times=2,
    ),
    Rule(
        "cuda-library-missing",
        logged(rf"{_SHARED}|Library (?P<name>\S+) is not found|Unable to load any of \{{(?P<any>[^,}}]+)"),
        "The container lacks a CUDA library: {library}{name}{any}.",
        "Choose an image with CUDA (tag ends in -cuda), and see that the node's runtime is NVIDIA's.",
    ),
    Rule(
        "cuda-not-in-image",
        logged(r"not compiled with CUDA support"),
        "The image's server is made for processors without a GPU.",
        "Choose an image with CUDA (tag ends in -cuda).",
    ),
    Rule(
        "cuda-no-device",
        logged(
            r"no CUDA-capable device|cudaErrorNoDevice|CUDA driver initialization failed|No CUDA GPUs are available"
        ),
        "The container sees no GPU.",
        "See that speaches_gpu.count is at least 1 and the node's runtime is NVIDIA's (speaches_gpu.runtime_class).",
    ),
    Rule(
        "hub-unreachable",
        ended(
            lambda c: c.exit is not None and c.exit.code == 3,
            log=_HUB,
        ),
        "The server asks the model hub when it starts, does not reach it, and ends (exit status 3).",
        "Use speaches_model_source: seeded, which starts without the hub; or let the pod reach it.",
        times=2,
        confidence="likely",
    ),
    Rule(
        "seed-failed",
        seed_said,
        "{said}.",
        "{do}",
        times=4,
    ),
    Rule(
        "liveness-kills",
        killed_by("liveness"),
        "The liveness probe fails and the kubelet restarts container {container}: {said}",
        "See why the server does not answer (log above); a busy server needs a longer timeout.",
        times=2,
    ),
    Rule(
        "startup-never-passed",
        killed_by("startup"),
        "The startup probe never passed in its time; its last words: {said}",
        _PROBE_REMEDY,
    ),
    Rule(
        "container-exits",
        stopped,
        "Container {container} ends by itself with exit status 0.",
        "A server must stay: correct its command.",
        times=2,
    ),
    Rule(
        "crash-loop",
        ended(_failed),
        "Container {container} ends with exit status {code} each time it starts.",
        "Look at its last words above.",
        times=3,
    ),
    Rule(
        "job-deadline",
        job_failed("DeadlineExceeded"),
        "The Job's activeDeadlineSeconds are over.",
        "Give it more time, or see what keeps it.",
    ),
    Rule(
        "job-failed",
        job_failed(""),
        "The Job has failed.",
        "Look at its last words above.",
    ),
    Rule(
        "container-waits",
        stuck,
        "Container {container} does not start: {why}.",
        "Read the node's words.",
        patience=90,
    ),
    # Nothing is wrong yet, but it does not come to an end.
    Rule(
        "startup-failing",
        unhealthy("startup", started=False),
        "The startup probe does not pass yet; its last words: {said}",
        _PROBE_REMEDY,
        patience=NEVER,
    ),
    Rule(
        "not-ready",
        unhealthy("readiness", started=True),
        "The container runs and its readiness probe fails: {said}",
        "See what the probe asks for, and the server's log.",
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


def diagnose(seen: Seen) -> tuple[Diagnosis, Rule, bool] | None:
    """The first cause that applies, its rule, and whether it is final once the rule's patience is over."""
    for rule in RULES:
        applied = rule.apply(seen)
        if applied:
            return applied[0], rule, applied[1]
    return None


def unknown(seen: Seen) -> Diagnosis:
    """No rule applies: the raw facts, in the order in which one would look at them."""
    facts: list[str] = []
    if seen.deployment:
        d = seen.deployment
        facts.append(f"Deployment: {d.updated} of {d.wanted} updated, {d.available} available, {d.replicas} in all")
        facts += [f"Deployment {name}={c.status}: {c.message}" for name, c in d.conditions.items()]
    for pod in (*seen.pods, *seen.old_pods):
        facts.append(
            f"{_at(pod)}: {pod.phase}{' (stopping)' if pod.deleting else ''} {pod.reason} {pod.message}".rstrip()
        )
        facts += [
            f"container {c.name}: {c.state or 'not reported'} {c.reason} {c.message}".rstrip() for c in pod.containers
        ]
    facts += [
        f"{e.kind} {e.name}: {e.reason} x{e.count}: {_one_line(e.message)}" for e in seen.events if e.type != "Normal"
    ]
    logs = [line for lines in seen.logs.values() for line in lines]
    return Diagnosis(
        "unknown",
        "It is not complete, and nothing observed says why.",
        seen.subject,
        "unknown",
        False,
        False,
        (*facts[:25], *_log_lines(logs)),
        "Look at the objects that the lines above name.",
    )
