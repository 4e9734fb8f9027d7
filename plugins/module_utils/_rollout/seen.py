# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""One view of a rollout: what is awaited, and all that is known about it at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .._kubernetes import objects as observed
from .._kubernetes.objects import Claim, Deployment, Event, Job, Node, Object, Pod, ReplicaSet

Objects = Mapping[str, Mapping[str, Object]]


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
class Seen:
    """Everything known about one rollout at one moment.

    kind, namespace, name: the Deployment or Job that is awaited.
    current: the ReplicaSet of the wanted template; None until the controller has made it.
    pods: of `current`, or of the Job; oldest first.
    old_pods: of other revisions, while they run or stop.
    events: about any of these objects, and the claims; oldest first.
    nodes: those that pods are on, and, once a pod could not be scheduled, all that its selector asks for.
    logs: last lines of containers, by (pod uid, container).
    neighbours: pods of the whole cluster that hold GPUs (``namespace/name: n on NODE``); None when not asked yet.
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
    neighbours: tuple[str, ...] | None = None
    usage: Mapping[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def assemble(target: Target, objects: Objects) -> Seen:
    """One view of a rollout out of the objects at each watched path: those that belong to it, in order."""
    raw = next((one for one in listed(objects, target.collection) if one["metadata"]["name"] == target.name), None)
    seen = Seen(target.kind, target.namespace, target.name)
    if raw is None:
        return seen
    pods = sorted(
        (observed.pod(one) for one in listed(objects, target.core("pods"))), key=lambda pod: (pod.created, pod.name)
    )
    claims = (observed.claim(one) for one in listed(objects, target.core("persistentvolumeclaims")))
    named = set(claims_of(raw))
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
    events = (observed.event(one) for one in listed(objects, target.core("events")))
    about = [one for one in events if one.uid in mine or (one.kind == "Pod" and one.name.startswith(pod_prefix))]
    return replace(seen, events=tuple(sorted(about, key=lambda one: one.last)))


def _revisions(seen: Seen, raw: Object, pods: list[Pod], objects: Objects, target: Target) -> Seen:
    wanted = observed.deployment(raw)
    owned = (one for one in listed(objects, target.replica_sets) if observed.owner(one) == wanted.uid)
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


def listed(objects: Objects, path: str) -> list[Object]:
    return list(objects.get(path, {}).values())


def claims_of(raw: Object) -> tuple[str, ...]:
    volumes = raw["spec"]["template"]["spec"].get("volumes") or ()
    return tuple(one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one)
