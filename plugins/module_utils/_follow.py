# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Follows a rollout on a cluster: feeds watches into the decisions, looks up what they need, passes lines on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from queue import Empty
from typing import Any

from . import _observed as observed
from ._cluster import Cluster, ClusterError
from ._diagnosis import Diagnosis
from ._findings import CollectionError
from ._observed import Object, Pod, Seen
from ._rollout import Memory, Verdict, advance
from ._watch import Changed, Interrupted, Listed, News, Watches

NODES = "/api/v1/nodes"
LOG_TAIL = 40
LOOKUP_SECONDS = 10.0
SETTLE_SECONDS = 0.05
"""After a piece of news, wait this long for more: they come in bursts (status, then its event)."""

Say = Callable[[str], None]


class RolloutError(CollectionError):
    """A rollout that cannot be watched, or has failed."""

    check = "rollout"


class Gone(Exception):
    """Whoever asked for the rollout is no longer there."""


@dataclass(frozen=True)
class Target:
    """What is awaited: a Deployment or a Job."""

    kind: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        group = "apps/v1" if self.kind == "Deployment" else "batch/v1"
        return f"/apis/{group}/namespaces/{self.namespace}/{self.kind.lower()}s"

    @property
    def subject(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Outcome:
    """How it ended. first, last: what was observed at the beginning and the end; seconds: in between."""

    verdict: Verdict
    diagnosis: Diagnosis | None
    first: Seen
    last: Seen
    seconds: float


@dataclass
class _World:
    """The objects that the watches have told of, by path and uid, and what was looked up."""

    objects: dict[str, dict[str, Object]] = field(default_factory=dict)
    logs: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    nodes: dict[str, observed.Node] = field(default_factory=dict)
    neighbours: tuple[str, ...] | None = None

    def take(self, news: News) -> None:
        if isinstance(news, Listed):
            self.objects[news.path] = {one["metadata"]["uid"]: one for one in news.objects}
        elif isinstance(news, Changed):
            known = self.objects.setdefault(news.path, {})
            known.pop(news.object["metadata"]["uid"], None)
            if not news.gone:
                known[news.object["metadata"]["uid"]] = news.object

    def at(self, path: str) -> list[Object]:
        return list(self.objects.get(path, {}).values())


def find(cluster: Cluster, target: Target) -> dict[str, Any] | None:
    """The awaited object, None when it is not there. Raises ClusterError."""
    return cluster.find(f"{target.path}/{target.name}")


def follow_rollout(
    cluster: Cluster,
    target: Target,
    *,
    timeout: float,
    say: Say,
    present: Callable[[], bool] = lambda: True,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Watches until the target is complete or has failed, `timeout` seconds at the longest.

    say: gets each line of progress as it happens.
    present: whether somebody still waits for the outcome; Gone is raised when not.
    Raises RolloutError when the target is not there, ClusterError when it may not be read.
    """
    raw = find(cluster, target)
    if raw is None:
        raise RolloutError(target.subject, "it is not there.", "Apply it first: the deploy play does.")
    start = clock()
    watches = Watches(cluster)
    try:
        return _follow(cluster, target, raw, watches, start, timeout, say, present, clock)
    finally:
        watches.stop()


def _follow(
    cluster: Cluster,
    target: Target,
    raw: Object,
    watches: Watches,
    start: float,
    timeout: float,
    say: Say,
    present: Callable[[], bool],
    clock: Callable[[], float],
) -> Outcome:
    world, memory, first = _World(), Memory(spoke=start), None
    core = f"/api/v1/namespaces/{target.namespace}"
    only = {"fieldSelector": f"metadata.name={target.name}"}
    selector = {"labelSelector": _selector(raw)}
    needed = [target.path, f"{core}/pods", f"{core}/events"]
    watches.add(target.path, only)
    watches.add(f"{core}/pods", selector)
    watches.add(f"{core}/events")
    if target.kind == "Deployment":
        needed.append(f"/apis/apps/v1/namespaces/{target.namespace}/replicasets")
        watches.add(needed[-1], selector)
    claims = _claims(raw)
    if claims:
        watches.add(f"{core}/persistentvolumeclaims")
    journal = Journal(cluster, target)
    silent_since: float | None = None
    wake = 1.0
    while True:
        try:
            batch = [watches.inbox.get(timeout=min(wake, 1.0))]
            time.sleep(SETTLE_SECONDS)
            while not watches.inbox.empty():
                batch.append(watches.inbox.get())
        except Empty:
            batch = []
        if not present():
            raise Gone
        now = clock()
        for news in batch:
            world.take(news)
            if isinstance(news, Interrupted):
                if news.final and news.path in needed:
                    raise news.error
                if news.final:
                    continue
                if silent_since is None:
                    say("the API server does not answer; the watch goes on when it does")
                silent_since = silent_since if silent_since is not None else now
            else:
                silent_since = None
        if not all(path in world.objects for path in needed):
            if now - start >= timeout:
                raise RolloutError(
                    target.subject, "the API server has not answered in time.", "Run again when it does."
                )
            continue
        seen = _look_up(cluster, target, world, assemble(target, world.objects), watches)
        first = first or seen
        if target.kind == "Job":
            journal.read(seen, say)
        step = advance(memory, seen, now, start + timeout)
        memory, wake = step.memory, step.wake
        for line in step.lines:
            say(line)
        if step.verdict is not Verdict.WAITING:
            if target.kind == "Job":
                journal.read(seen, say, last=True)
            return Outcome(step.verdict, step.diagnosis, first, seen, clock() - start)


def _selector(raw: Object) -> str:
    return _query((raw["spec"].get("selector") or {}).get("matchLabels") or {})


def _query(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _claims(raw: Object) -> tuple[str, ...]:
    volumes = raw["spec"]["template"]["spec"].get("volumes") or ()
    return tuple(one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one)


def assemble(target: Target, objects: Mapping[str, Mapping[str, Object]]) -> Seen:
    """One view of a rollout out of the objects at each watched path: those that belong to it, in order."""
    core, apps = f"/api/v1/namespaces/{target.namespace}", f"/apis/apps/v1/namespaces/{target.namespace}"

    def at(path: str) -> list[Object]:
        return list(objects.get(path, {}).values())

    raw = next((one for one in at(target.path) if one["metadata"]["name"] == target.name), None)
    seen = Seen(target.kind, target.namespace, target.name)
    if raw is None:
        return seen
    pods = sorted((observed.pod(one) for one in at(f"{core}/pods")), key=lambda pod: (pod.created, pod.name))
    claims = [observed.claim(one) for one in at(f"{core}/persistentvolumeclaims")]
    named = set(_claims(raw))
    seen = replace(seen, claims={one.name: one for one in claims if one.name in named})
    if target.kind == "Job":
        job = observed.job(raw)
        seen = replace(seen, job=job, pods=tuple(pod for pod in pods if pod.owner == job.uid))
        mine, prefix = {job.uid}, f"{job.name}-"
    else:
        wanted = observed.deployment(raw)
        sets = tuple(observed.replica_set(one) for one in at(f"{apps}/replicasets") if _owned(one, wanted.uid))
        current = None
        if wanted.observed >= wanted.generation:
            same = [one for one in sets if observed.same_template(wanted.template, one.template)]
            current = max(same, key=lambda one: one.revision, default=None)
        seen = replace(
            seen,
            deployment=wanted,
            revisions=tuple(sorted(sets, key=lambda one: one.revision)),
            current=current,
            pods=tuple(pod for pod in pods if current and pod.owner == current.uid and not _leaving(pod)),
            old_pods=tuple(
                pod
                for pod in pods
                if pod.owner in {one.uid for one in sets} and not (current and pod.owner == current.uid)
            ),
        )
        mine, prefix = {wanted.uid, *({current.uid} if current else ())}, f"{current.name}-" if current else "\0"
    mine |= {one.uid for one in seen.claims.values()}
    events = [observed.event(one) for one in at(f"{core}/events")]
    about = [one for one in events if one.uid in mine or (one.kind == "Pod" and one.name.startswith(prefix))]
    return replace(seen, events=tuple(sorted(about, key=lambda one: one.last)))


def _leaving(pod: Pod) -> bool:
    """A pod of the wanted revision that has been told to stop: its successor counts."""
    return pod.deleting


def _owned(raw: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in raw["metadata"].get("ownerReferences") or ())


def _look_up(cluster: Cluster, target: Target, world: _World, seen: Seen, watches: Watches) -> Seen:
    """The view with what is not watched: nodes, logs of containers that fail, and who holds the GPUs."""
    placed = next((pod for pod in seen.pods if pod.node), None)
    if placed:
        watches.add(NODES, {"labelSelector": _query(placed.selector)})
    nodes = {one["metadata"]["name"]: observed.node(one) for one in world.at(NODES)}
    waits = [
        pod
        for pod in seen.pods
        if not pod.node and pod.conditions.get("PodScheduled", observed.Condition("")).status == "False"
    ]
    if waits and not world.nodes:
        world.nodes = _nodes(cluster, waits[0])
        world.neighbours = _neighbours(cluster, set(world.nodes))
    failing = {e.uid: e.count for e in seen.events if e.reason == "Unhealthy"}
    for pod in seen.pods:
        for container in pod.containers:
            if container.ready or container.state == "" or (container.exit is None and pod.uid not in failing):
                continue
            key = (pod.uid, container.name)
            mark = (pod.uid, f"{container.name} {container.restarts} {container.state} {failing.get(pod.uid)}")
            if mark not in world.logs:
                world.logs[mark] = ()
                world.logs[key] = _tail(cluster, target, pod, container) or world.logs.get(key, ())
                if world.neighbours is None and any("CU" in line for line in world.logs[key]):
                    world.neighbours = _neighbours(cluster, {pod.node})
    logs = {key: lines for key, lines in world.logs.items() if " " not in key[1]}
    return replace(seen, nodes=world.nodes | nodes, logs=logs, neighbours=world.neighbours)


def _tail(cluster: Cluster, target: Target, pod: Pod, container: observed.Container) -> tuple[str, ...]:
    """The last lines of a container: of the run that ended, or of the one that fails its probe."""
    path = f"/api/v1/namespaces/{target.namespace}/pods/{pod.name}/log"
    query = {"container": container.name, "tailLines": str(LOG_TAIL)}
    ended = container.exit is not None and container.state != "terminated"
    try:
        answer = cluster.request(
            "GET", path, query={**query, "previous": "true"} if ended else query, timeout=LOOKUP_SECONDS
        )
    except ClusterError:
        return ()  # the node does not answer, or the log is gone: the rest must do
    return tuple(answer.decode(errors="replace").splitlines())


def _nodes(cluster: Cluster, pod: Pod) -> dict[str, observed.Node]:
    query = {"labelSelector": _query(pod.selector), "limit": "50"}
    try:
        return {raw["metadata"]["name"]: observed.node(raw) for raw in cluster.get(NODES, query)["items"]}
    except ClusterError:
        return {}


def _neighbours(cluster: Cluster, nodes: set[str]) -> tuple[str, ...]:
    """Pods that hold an extended resource on these nodes, the greediest first."""
    try:
        items = cluster.get("/api/v1/pods", {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"})["items"]
    except ClusterError:
        return ()
    held: list[tuple[int, str]] = []
    for raw in items:
        if raw["spec"].get("nodeName") not in nodes:
            continue
        for one in raw["spec"]["containers"]:
            for name, much in ((one.get("resources") or {}).get("limits") or {}).items():
                if "/" in name and str(much).isdigit():
                    meta = raw["metadata"]
                    who = f"{meta['namespace']}/{meta['name']}: {much} {name} on {raw['spec']['nodeName']}"
                    held.append((int(much), who))
    return tuple(who for _, who in sorted(held, key=lambda one: -one[0])[:8])


class Journal:
    """The log of a Job's pods, each line once, as progress."""

    def __init__(self, cluster: Cluster, target: Target) -> None:
        self._cluster, self._target = cluster, target
        self._read: dict[str, str] = {}

    def read(self, seen: Seen, say: Say, *, last: bool = False) -> None:
        """Says what the pods have written since the last call."""
        for pod in seen.pods:
            for container in pod.containers:
                if container.state not in ("running", "terminated"):
                    continue
                if self._read.get(f"{pod.uid} over") and not last:
                    continue
                if container.state == "terminated":
                    self._read[f"{pod.uid} over"] = "yes"
                self._since(pod, container.name, say)

    def _since(self, pod: Pod, container: str, say: Say) -> None:
        path = f"/api/v1/namespaces/{self._target.namespace}/pods/{pod.name}/log"
        query = {"container": container, "timestamps": "true"}
        if pod.uid in self._read:
            query["sinceTime"] = self._read[pod.uid]
        try:
            text = self._cluster.request("GET", path, query=query, timeout=LOOKUP_SECONDS).decode(errors="replace")
        except ClusterError:
            return
        for line in text.splitlines():
            stamp, _, words = line.partition(" ")
            if stamp > self._read.get(pod.uid, ""):
                self._read[pod.uid] = stamp
                if words.strip():
                    say(f"pod {pod.name}: {words.rstrip()}")
