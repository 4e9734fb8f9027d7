# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""One view of a rollout: what is awaited, and all that is known about it at one moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from .._kubernetes import objects as observed
from .._kubernetes.objects import Claim, Deployment, Event, Job, Node, Object, Pod, ReplicaSet

Objects = Mapping[str, Mapping[str, Object]]

_LONGEST_BASE = 58
"""The API server cuts a name so far before it appends five characters (k8s.io/apiserver storage/names)."""


@dataclass(frozen=True)
class Target:
    """What is awaited: a Deployment or a Job.

    uid, generation: of the object as this run has declared it; empty and 0 when whoever declared it may change it.
    """

    kind: str
    namespace: str
    name: str
    uid: str = ""
    generation: int = 0

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
class Holder:
    """A pod that holds some of a node's extended resource (a GPU)."""

    namespace: str
    pod: str
    count: int
    resource: str
    node: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod}: {self.count} {self.resource} on {self.node}"


@dataclass(frozen=True)
class Seen:
    """Everything known about one rollout at one moment.

    kind, namespace, name: the Deployment or Job that is awaited.
    current: the ReplicaSet of the wanted template; None until the controller has made it.
    pods: of `current`, or of the Job; oldest first.
    old_pods: of other revisions, while they run or stop.
    events: about any of these objects, and the claims; oldest first.
    nodes: those that pods are on, and, once a pod could not be scheduled, all that its selector asks for.
    others: some of the cluster's nodes, when no node has what the selector asks for.
    logs: last lines of containers, by (pod uid, container).
    neighbours: pods of the whole cluster that hold GPUs, the greediest first; None when not asked yet.
    used: what the pods of a node ask for together, by node and resource, as far as it was asked.
    usage: memory by container, as the cluster's metrics had it last; empty where there are none.
    """

    kind: str
    namespace: str
    name: str
    deployment: Deployment | None = None
    job: Job | None = None
    revisions: tuple[ReplicaSet, ...] = ()
    current: ReplicaSet | None = None
    pods: tuple[Pod, ...] = ()
    old_pods: tuple[Pod, ...] = ()
    events: tuple[Event, ...] = ()
    claims: Mapping[str, Claim] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    logs: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    neighbours: tuple[Holder, ...] | None = None
    usage: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Node] = field(default_factory=dict)
    used: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def assemble(target: Target, objects: Objects) -> Seen:
    """One view of a rollout out of the objects at each watched path: those that belong to it, in order."""
    raw = awaited(target, objects)
    seen = Seen(target.kind, target.namespace, target.name)
    if raw is None:
        return seen
    pods = sorted(map(observed.pod, listed(objects, target.core("pods"))), key=lambda pod: (pod.created, pod.name))
    claims = map(observed.claim, listed(objects, target.core("persistentvolumeclaims")))
    named = set(claims_of(raw))
    seen = replace(seen, claims={one.name: one for one in claims if one.name in named})
    if target.kind == "Job":
        job = observed.job(raw)
        seen = replace(seen, job=job, pods=tuple(pod for pod in pods if pod.owner == job.uid))
        mine, maker = {job.uid}, job.name
    else:
        seen = _revisions(seen, raw, pods, objects, target)
        mine = {observed.uid(raw), *({seen.current.uid} if seen.current else ())}
        maker = seen.current.name if seen.current else ""
    mine |= {one.uid for one in seen.claims.values()} | {one.uid for one in seen.pods}
    events = map(observed.event, listed(objects, target.core("events")))
    about = [one for one in events if one.uid in mine or (one.kind == "Pod" and _made_by(maker, one.name))]
    return replace(seen, events=tuple(sorted(about, key=lambda one: one.last)))


def awaited(target: Target, objects: Objects) -> Object | None:
    """The awaited object itself, as the API server last had it."""
    return next((one for one in listed(objects, target.collection) if observed.name_of(one) == target.name), None)


def _made_by(maker: str, pod: str) -> bool:
    """Whether a pod, which may be gone, has a name that this ReplicaSet or Job gives; `seed` gives no seed-2-x2x7k."""
    return bool(maker) and re.fullmatch(re.escape(f"{maker}-"[:_LONGEST_BASE]) + "[a-z0-9]{5}", pod) is not None


def _revisions(seen: Seen, raw: Object, pods: list[Pod], objects: Objects, target: Target) -> Seen:
    wanted = observed.deployment(raw)
    owned = (one for one in listed(objects, target.replica_sets) if observed.owner(one) == wanted.uid)
    revisions = sorted(map(observed.replica_set, owned), key=lambda one: one.revision)
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


def listed(objects: Objects, path: str) -> list[Object]:
    return list(objects.get(path, {}).values())


def claims_of(raw: Object) -> tuple[str, ...]:
    """The claims that a Deployment's or Job's pods mount."""
    volumes = observed.entries(raw, "spec", "template", "spec", "volumes")
    named = (observed.text(observed.below(one, "persistentVolumeClaim").get("claimName")) for one in volumes)
    return tuple(filter(None, named))
