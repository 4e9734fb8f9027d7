# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What is not watched but asked for when it matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .._kubernetes import objects as observed
from .._kubernetes.cluster import Cluster, ClusterError, label_selector
from .._kubernetes.objects import Container, Object, Pod
from .._kubernetes.watch import Watches
from .diagnosis import diagnose
from .seen import Objects, Seen, Target, listed

NODES = "/api/v1/nodes"
CARD_IS_FULL = "cuda-out-of-memory"
"""The cause whose answer names who else holds the GPUs of the pod's node."""

LOG_TAIL = 40
LOOKUP_SECONDS = 10.0

Say = Callable[[str], None]


class Lookups:
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
        watched = (one for path in objects if path.startswith(f"{NODES}/") for one in listed(objects, path))
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


def _short_of_card(seen: Seen) -> list[str]:
    """The nodes of a failing pod for which the card has too little memory left: somebody else may sit on it."""
    found = diagnose(seen)
    if found is None or found[0].cause != CARD_IS_FULL:
        return []
    return [pod.node for pod in seen.pods if pod.node and not pod.ready]
