# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Follows a rollout on a cluster: feeds watches into the decisions, looks up what they need, passes lines on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from queue import Empty
from typing import Any

from .._findings import CollectionError
from .._kubernetes import objects as observed
from .._kubernetes.cluster import Cluster, ClusterError, label_selector
from .._kubernetes.objects import Container, Object, Pod, Seen
from .._kubernetes.watch import Interrupted, Listed, News, Watches
from .decide import Memory, Past, Verdict, advance, without
from .diagnosis import Diagnosis, diagnose

NODES = "/api/v1/nodes"
CARD_IS_FULL = "cuda-out-of-memory"
"""The cause whose answer names who else holds the GPUs of the pod's node."""

LOG_TAIL = 40
LOOKUP_SECONDS = 10.0
SETTLE_SECONDS = 0.05
"""After a piece of news, wait this long for more: they come in bursts (a status, then its event)."""

Say = Callable[[str], None]
Objects = Mapping[str, Mapping[str, Object]]


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
    def collection(self) -> str:
        group = "apps/v1" if self.kind == "Deployment" else "batch/v1"
        return f"/apis/{group}/namespaces/{self.namespace}/{self.kind.lower()}s"

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.name}"

    @property
    def replica_sets(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/replicasets"

    def core(self, kind: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{kind}"

    @property
    def subject(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Outcome:
    """How it ended. first, last: what was observed at the beginning and at the end; seconds: in between."""

    verdict: Verdict
    diagnosis: Diagnosis | None
    first: Seen
    last: Seen
    seconds: float


class Follower:
    """Watches one rollout.

    say: gets each line of progress as it happens.
    present: whether somebody still waits for the outcome.
    begin: is called with the first complete view, before it is judged; gives what in it is not to be judged.
    """

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        say: Say,
        *,
        present: Callable[[], bool] = lambda: True,
        begin: Callable[[Seen], Past] = lambda _: Past(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._target, self._say = cluster, target, say
        self._present, self._begin, self._clock = present, begin, clock
        self._objects: dict[str, dict[str, Object]] = {}
        self._silent: set[str] = set()
        self._past = Past()
        self._lookups = _Lookups(cluster, target)

    def run(self, raw: Object, timeout: float) -> Outcome:
        """Watches until the target (`raw`, as last read) is complete or has failed, or `timeout` seconds are over.

        Raises ClusterError when something may not be read, RolloutError when the API server stays silent, Gone.
        """
        watches = Watches(self._cluster)
        try:
            self._start(watches, raw)
            return self._loop(watches, timeout)
        finally:
            watches.stop()

    def _start(self, watches: Watches, raw: Object) -> None:
        target = self._target
        selector = {"labelSelector": label_selector(raw["spec"]["selector"].get("matchLabels") or {})}
        watches.add(target.collection, {"fieldSelector": f"metadata.name={target.name}"})
        watches.add(target.core("pods"), selector)
        watches.add(target.core("events"))
        self._needed = [target.collection, target.core("pods"), target.core("events")]
        if target.kind == "Deployment":
            watches.add(target.replica_sets, selector)
            self._needed.append(target.replica_sets)
        if _claims(raw):
            watches.add(target.core("persistentvolumeclaims"))

    def _loop(self, watches: Watches, timeout: float) -> Outcome:
        start = self._clock()
        memory, first, wake = Memory(spoke=start), None, 1.0
        while True:
            for news in _batch(watches, wake):
                self._take(news)
            if not self._present():
                raise Gone
            now = self._clock()
            if self._silent or not all(path in self._objects for path in self._needed):
                if now - start < timeout:
                    continue  # what is known may be out of date: no verdict on it
                raise RolloutError(
                    self._target.subject,
                    f"the API server does not answer, and {timeout:.0f} s are over.",
                    "Run again when it does: the rollout goes on meanwhile.",
                )
            seen = self._lookups.complete(assemble(self._target, self._objects), self._objects, watches)
            if first is None:
                first, self._past = seen, self._begin(seen)
            seen = without(seen, self._past)
            step = advance(memory, seen, now, start + timeout)
            memory, wake = step.memory, step.wake
            if self._target.kind == "Job":
                self._lookups.journal(seen, self._say, over=step.verdict is not Verdict.WAITING)
            for line in step.lines:
                self._say(line)
            if step.verdict is not Verdict.WAITING:
                return Outcome(step.verdict, step.diagnosis, first, seen, self._clock() - start)

    def _take(self, news: News) -> None:
        if isinstance(news, Interrupted):
            if news.final and news.path in self._needed:
                raise news.error
            if not news.final and news.path in self._needed:
                if not self._silent:
                    self._say(f"the watch goes on as soon as it can: {news.error}")
                self._silent.add(news.path)
            return
        self._silent.discard(news.path)
        if isinstance(news, Listed):
            self._objects[news.path] = {one["metadata"]["uid"]: one for one in news.objects}
            return
        known = self._objects.setdefault(news.path, {})
        known.pop(news.object["metadata"]["uid"], None)
        if not news.gone:
            known[news.object["metadata"]["uid"]] = news.object


def _batch(watches: Watches, wake: float) -> list[News]:
    try:
        batch: list[News] = [watches.inbox.get(timeout=min(wake, 1.0))]
    except Empty:
        return []
    time.sleep(SETTLE_SECONDS)
    while not watches.inbox.empty():
        batch.append(watches.inbox.get())
    return batch


def assemble(target: Target, objects: Objects) -> Seen:
    """One view of a rollout out of the objects at each watched path: those that belong to it, in order."""
    raw = next((one for one in _at(objects, target.collection) if one["metadata"]["name"] == target.name), None)
    seen = Seen(target.kind, target.namespace, target.name)
    if raw is None:
        return seen
    pods = sorted(
        (observed.pod(one) for one in _at(objects, target.core("pods"))), key=lambda pod: (pod.created, pod.name)
    )
    claims = (observed.claim(one) for one in _at(objects, target.core("persistentvolumeclaims")))
    named = set(_claims(raw))
    seen = replace(seen, claims={one.name: one for one in claims if one.name in named})
    if target.kind == "Job":
        job = observed.job(raw)
        seen = replace(seen, job=job, pods=tuple(pod for pod in pods if pod.owner == job.uid))
        mine, pod_prefix = {job.uid}, f"{job.name}-"
    else:
        seen = _revisions(seen, raw, pods, objects, target)
        mine = {str(raw["metadata"]["uid"]), *({seen.current.uid} if seen.current else ())}
        pod_prefix = f"{seen.current.name}-" if seen.current else "\0"
    mine |= {one.uid for one in seen.claims.values()}
    events = (observed.event(one) for one in _at(objects, target.core("events")))
    about = [one for one in events if one.uid in mine or (one.kind == "Pod" and one.name.startswith(pod_prefix))]
    return replace(seen, events=tuple(sorted(about, key=lambda one: one.last)))


def _revisions(seen: Seen, raw: Object, pods: list[Pod], objects: Objects, target: Target) -> Seen:
    wanted = observed.deployment(raw)
    owned = (one for one in _at(objects, target.replica_sets) if observed.owner(one) == wanted.uid)
    revisions = sorted((observed.replica_set(one) for one in owned), key=lambda one: one.revision)
    current = None
    if wanted.observed >= wanted.generation:
        same = [one for one in revisions if observed.same_template(wanted.template, one.template)]
        current = same[-1] if same else None
    new = current.uid if current else ""
    known = {one.uid for one in revisions}
    return replace(
        seen,
        deployment=wanted,
        revisions=tuple(revisions),
        current=current,
        pods=tuple(pod for pod in pods if pod.owner == new and not pod.deleting),
        old_pods=tuple(pod for pod in pods if pod.owner in known and pod.owner != new),
    )


def _at(objects: Objects, path: str) -> list[Object]:
    return list(objects.get(path, {}).values())


def _claims(raw: Object) -> tuple[str, ...]:
    volumes = raw["spec"]["template"]["spec"].get("volumes") or ()
    return tuple(one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one)


def _short_of_card(seen: Seen) -> list[str]:
    """The nodes of a failing pod for which the card has too little memory left: somebody else may sit on it."""
    found = diagnose(seen)
    if found is None or found[0].cause != CARD_IS_FULL:
        return []
    return [pod.node for pod in seen.pods if pod.node and not pod.ready]


class _Lookups:
    """What is not watched but asked for when it matters: nodes, logs of containers that fail, who holds the GPUs.

    None of it is needed for a verdict: what may not be read, or is not there, is left out.
    """

    def __init__(self, cluster: Cluster, target: Target) -> None:
        self._cluster, self._target = cluster, target
        self._logs: dict[tuple[str, str], tuple[str, ...]] = {}
        self._asked: set[str] = set()
        self._nodes: dict[str, observed.Node] = {}
        self._neighbours: tuple[str, ...] | None = None
        self._usage: dict[str, str] = {}
        self._read: dict[str, str] = {}

    def complete(self, seen: Seen, objects: Objects, watches: Watches) -> Seen:
        """The view with what had to be looked up."""
        for name in {pod.node for pod in seen.pods if pod.node and not pod.finished}:
            watches.add(NODES, {"fieldSelector": f"metadata.name={name}"}, key=f"{NODES}/{name}")
        for pod in seen.pods:
            place = pod.conditions.get("PodScheduled")
            mark = f"{pod.uid} {place.message}" if place else ""
            if place and place.status == "False" and not pod.node and self._first(mark):
                nodes = self._eligible(pod)
                self._nodes = nodes or {}
                self._neighbours = None if nodes is None else self._holders(nodes)
                if nodes is None:
                    self._asked.discard(mark)
        failing = {event.uid: event.count for event in seen.events if event.reason == "Unhealthy"}
        for pod in seen.pods:
            for container in pod.containers:
                fails = container.exit is not None or pod.uid in failing
                mark = f"{pod.uid} {container.name} {container.restarts} {container.state} {failing.get(pod.uid)}"
                if fails and not container.ready and container.state and self._first(mark):
                    lines = self._tail(pod, container)
                    key = (pod.uid, container.name)
                    self._logs[key] = lines or self._logs.get(key, ())
                    if container.exit is not None and container.exit.reason == "OOMKilled":
                        self._usage = self._measured(pod)
        watched = (one for path in objects if path.startswith(f"{NODES}/") for one in _at(objects, path))
        current = {one["metadata"]["name"]: observed.node(one) for one in watched}
        known = self._nodes | current
        seen = replace(seen, nodes=known, logs=dict(self._logs), usage=self._usage, neighbours=self._neighbours)
        if self._logs and self._neighbours is None and (short := _short_of_card(seen)):  # a log says it, nothing else
            self._neighbours = self._holders(short)
        return replace(seen, neighbours=self._neighbours)

    def journal(self, seen: Seen, say: Say, *, over: bool) -> None:
        """Says what the pods of a Job have written since the last call."""
        for pod in seen.pods:
            for container in pod.containers:
                ended = container.state == "terminated"
                if container.state == "running" or (
                    ended and (over or self._first(f"{pod.uid} {container.name} read"))
                ):
                    self._pass_on(pod, container, say)

    def _first(self, mark: str) -> bool:
        new = mark not in self._asked
        self._asked.add(mark)
        return new

    def _log(self, pod: Pod, query: dict[str, str]) -> list[str]:
        path = f"{self._target.core('pods')}/{pod.name}/log"
        try:
            answer = self._cluster.request("GET", path, query=query, timeout=LOOKUP_SECONDS)
        except ClusterError:
            return []
        return answer.decode(errors="replace").splitlines()

    def _tail(self, pod: Pod, container: Container) -> tuple[str, ...]:
        """The last lines of the run that ended, or of the one that fails its probe."""
        query = {"container": container.name, "tailLines": str(LOG_TAIL)}
        if container.exit is not None and container.state != "terminated":
            query["previous"] = "true"
        return tuple(self._log(pod, query))

    def _pass_on(self, pod: Pod, container: Container, say: Say) -> None:
        last = self._read.get(pod.uid, "")
        query = {"container": container.name, "timestamps": "true", **({"sinceTime": last} if last else {})}
        for line in self._log(pod, query):
            stamp, _, words = line.partition(" ")
            if stamp > last:
                self._read[pod.uid] = last = stamp
                if words.strip():
                    say(f"pod {pod.name}: {words.rstrip()}")

    def _measured(self, pod: Pod) -> dict[str, str]:
        """Memory by container (metrics.k8s.io, where the cluster has a metrics server)."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{self._target.namespace}/pods/{pod.name}"
        try:
            containers = self._cluster.get(path)["containers"]
        except (ClusterError, KeyError):
            return {}
        return {one["name"]: one["usage"]["memory"] for one in containers}

    def _eligible(self, pod: Pod) -> dict[str, observed.Node] | None:
        """The nodes that the pod's selector asks for; None when they may not be read, or not now."""
        query = {"labelSelector": label_selector(pod.selector), "limit": "50"}
        try:
            found = self._cluster.get(NODES, query)["items"]
        except ClusterError:
            return None
        return {raw["metadata"]["name"]: observed.node(raw) for raw in found}

    def _holders(self, nodes: Mapping[str, Any] | list[str]) -> tuple[str, ...]:
        """Pods of all namespaces that hold an extended resource on these nodes, the greediest first."""
        held: list[tuple[int, str]] = []
        for node in list(nodes)[:5]:
            alive = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
            for raw in self._items("/api/v1/pods", {"fieldSelector": alive}):
                for one in raw["spec"]["containers"]:
                    for name, much in ((one.get("resources") or {}).get("limits") or {}).items():
                        if "/" in name and str(much).isdigit():
                            who = f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"
                            held.append((int(much), f"{who}: {much} {name} on {node}"))
        return tuple(text for _, text in sorted(held, key=lambda one: -one[0])[:8])

    def _items(self, path: str, query: dict[str, str]) -> list[Object]:
        try:
            return list(self._cluster.get(path, query)["items"])
        except ClusterError:
            return []
