# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What is not watched but asked for when it matters: nodes, logs of containers that fail, who holds the GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from .._kubernetes import objects as observed
from .._kubernetes.cluster import Cluster, ClusterError, label_selector
from .._kubernetes.objects import Container, Node, Object, Pod, below, entries, text
from .._kubernetes.watch import Watches
from .diagnosis import diagnose
from .journal import Journal
from .nearest import needs, obstacles, total
from .reporter import Say
from .seen import Holder, Objects, Seen, Target, listed

NODES = "/api/v1/nodes"
CARD_IS_FULL = "cuda-out-of-memory"
"""The cause whose answer names who else holds the GPUs of the pod's node."""

LOG_TAIL = 40
LOG_BYTES = 1 << 20
LOG_LINE = 1000
LOOKUP_SECONDS = 10.0
MOST_NODES, MOST_TENANTS, MOST_HOLDERS = 50, 5, 8
"""So many nodes are looked at, of so many the pods, and so many of those are named."""


@dataclass(frozen=True)
class _Unplaced:
    """What the scheduler said of a pod."""

    uid: str
    said: str


@dataclass(frozen=True)
class _Failure:
    """How far a container had failed when its log was read."""

    uid: str
    container: str
    restarts: int
    state: str
    probes: int


@dataclass(frozen=True)
class _Read:
    """A container that has ended, whose log was read to its end."""

    uid: str
    container: str


class Lookups:
    """What a view of a rollout lacks, looked up once each time it may have changed.

    None of it is needed for a verdict: what may not be read, or is not there, is left out.
    """

    def __init__(self, cluster: Cluster, target: Target) -> None:
        self._cluster, self._target = cluster, target
        self._asked: set[_Unplaced | _Failure | _Read] = set()
        self._logs: dict[tuple[str, str], tuple[str, ...]] = {}
        self._nodes: dict[str, Node] = {}
        self._others: dict[str, Node] = {}
        self._neighbours: tuple[Holder, ...] | None = None
        self._used: dict[str, Mapping[str, Decimal]] = {}
        self._usage: dict[str, str] = {}
        self._read: dict[str, str] = {}
        self._journal = Journal()

    def complete(self, seen: Seen, objects: Objects, watches: Watches) -> Seen:
        """The view with what had to be looked up."""
        for name in {pod.node for pod in seen.pods if pod.node and not pod.finished}:
            watches.add(NODES, {"fieldSelector": f"metadata.name={name}"}, key=f"{NODES}/{name}")
        for pod in seen.pods:
            self._find_place(pod)
        probes = {event.uid: event.count for event in seen.events if event.reason == "Unhealthy"}
        for pod in seen.pods:
            for container in pod.containers:
                self._read_log(pod, container, probes.get(pod.uid, 0))
        watched = (one for path in objects if path.startswith(f"{NODES}/") for one in listed(objects, path))
        current = {one.name: one for one in map(observed.node, watched)}
        known = replace(seen, nodes=self._nodes | current, others=dict(self._others), logs=dict(self._logs))
        known = replace(known, usage=self._usage, neighbours=self._neighbours, used=dict(self._used))
        if self._logs and self._neighbours is None and (short := _short_of_card(known)):  # a log says it, nothing else
            self._ask_tenants(short)
        return replace(known, neighbours=self._neighbours, used=dict(self._used))

    def journal(self, seen: Seen, say: Say, now: float, *, over: bool) -> None:
        """Says what the pods of a Job have written since the last call. now: seconds."""
        for pod in seen.pods:
            for container in pod.containers:
                ended = container.state == "terminated"
                if container.state == "running" or (ended and (over or self._first(_Read(pod.uid, container.name)))):
                    self._pass_on(pod, container, say, now)

    def _first(self, mark: _Unplaced | _Failure | _Read) -> bool:
        new = mark not in self._asked
        self._asked.add(mark)
        return new

    def _find_place(self, pod: Pod) -> None:
        """The nodes that an unscheduled pod may go to, and who is there; anew when the scheduler says anything new."""
        place = pod.conditions.get("PodScheduled")
        if place is None or place.status != "False" or pod.node:
            return
        mark = _Unplaced(pod.uid, place.message)
        if not self._first(mark):
            return
        nodes = self._list_nodes({"labelSelector": label_selector(pod.selector)} if pod.selector else {})
        self._nodes, self._neighbours, self._used = nodes or {}, None, {}
        if nodes is None:
            self._asked.discard(mark)
            return
        self._others = (self._list_nodes({}) or {}) if pod.selector and not nodes else {}
        near = sorted(nodes.values(), key=lambda node: (len(obstacles(pod, node)), node.name))
        self._ask_tenants([node.name for node in near])

    def _list_nodes(self, query: dict[str, str]) -> dict[str, Node] | None:
        """Some of the nodes that have these labels; None when they may not be read, or not now."""
        try:
            found = entries(self._cluster.get(NODES, {**query, "limit": str(MOST_NODES)}), "items")
        except ClusterError:
            return None
        return {node.name: node for node in map(observed.node, found)}

    def _read_log(self, pod: Pod, container: Container, probes: int) -> None:
        """The last lines of a container that fails: once for each end and each failed probe."""
        fails = container.exit is not None or probes
        mark = _Failure(pod.uid, container.name, container.restarts, container.state, probes)
        if not fails or container.ready or not container.state or not self._first(mark):
            return
        key = (pod.uid, container.name)
        self._logs[key] = self._tail(pod, container) or self._logs.get(key, ())
        if container.exit is not None and container.exit.reason == "OOMKilled":
            self._usage = self._measured(pod)

    def _log(self, pod: Pod, query: dict[str, str]) -> list[str]:
        path = f"{self._target.core('pods')}/{pod.name}/log"
        query = {**query, "limitBytes": str(LOG_BYTES)}
        try:
            answer = self._cluster.request("GET", path, query=query, timeout=LOOKUP_SECONDS)
        except ClusterError:
            return []
        return [text(line, LOG_LINE) for line in answer.decode(errors="replace").split("\n")]

    def _tail(self, pod: Pod, container: Container) -> tuple[str, ...]:
        """The last lines of the run that ended, or of the one that fails its probe."""
        query = {"container": container.name, "tailLines": str(LOG_TAIL)}
        if container.exit is not None and container.state != "terminated":
            query["previous"] = "true"
        lines = self._log(pod, query)
        return tuple(lines[:-1] if lines and not lines[-1] else lines)

    def _pass_on(self, pod: Pod, container: Container, say: Say, now: float) -> None:
        last = self._read.get(pod.uid, "")
        query = {"container": container.name, "timestamps": "true", **({"sinceTime": last} if last else {})}
        for line in self._log(pod, query):
            stamp, _, said = line.partition(" ")
            if stamp > last:
                self._read[pod.uid] = last = stamp
                self._journal, told = self._journal.read(said, now)
                if told:
                    say(told, pod.name)

    def _measured(self, pod: Pod) -> dict[str, str]:
        """Memory by container (metrics.k8s.io, where the cluster has a metrics server)."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{self._target.namespace}/pods/{pod.name}"
        try:
            found = entries(self._cluster.get(path), "containers")
        except ClusterError:
            return {}
        used = {text(one.get("name")): text(below(one, "usage").get("memory")) for one in found}
        return {name: much for name, much in used.items() if name and much}

    def _ask_tenants(self, nodes: Iterable[str]) -> None:
        """Who holds extended resources on these nodes, and what all pods there ask for."""
        held: list[Holder] = []
        for node in list(dict.fromkeys(nodes))[:MOST_TENANTS]:
            alive = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
            found = self._items("/api/v1/pods", {"fieldSelector": alive})
            if found is None:
                continue
            pods = [(raw, observed.pod(raw)) for raw in found]
            self._used[node] = total(pod for _, pod in pods)
            held += [one for raw, pod in pods for one in holders(raw, pod, node)]
        greedy = sorted(held, key=lambda one: (-one.count, one.namespace, one.pod))
        self._neighbours = tuple(greedy[:MOST_HOLDERS])

    def _items(self, path: str, query: dict[str, str]) -> list[Object] | None:
        try:
            return entries(self._cluster.get(path, query), "items")
        except ClusterError:
            return None


def holders(raw: Object, pod: Pod, node: str) -> list[Holder]:
    """What a pod holds of a node's extended resources."""
    namespace = text(below(raw, "metadata").get("namespace"))
    return [Holder(namespace, pod.name, int(much), name, node) for name, much in needs(pod).items() if "/" in name]


def _short_of_card(seen: Seen) -> list[str]:
    """The nodes of a failing pod for which the card has too little memory left: somebody else may sit on it."""
    found = diagnose(seen)
    if found is None or found[0].cause != CARD_IS_FULL:
        return []
    return [pod.node for pod in seen.pods if pod.node and not pod.ready]
