# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What the API server says about a rollout, as plain data: only the fields that a decision needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]
SERVED = "portal-stt/served"
"""Annotation of a ReplicaSet: when its rollout was last found complete, and its uid (see `_rollout/back.py`)."""

REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Condition:
    """An entry of status.conditions."""

    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    reason: str
    message: str
    finished: str


@dataclass(frozen=True)
class Container:
    """A container of a pod: what was asked for, and what the kubelet reports.

    state: ``waiting``, ``running``, ``terminated`` or empty before the first report.
    reason, message: of a waiting container.
    exit: how it ended, the last time it did.
    limits: resource limits as written in the pod.
    init: an init container (or a sidecar that is declared as one): it comes before the others.
    """

    name: str
    image: str
    state: str = ""
    reason: str = ""
    message: str = ""
    started: bool = False
    ready: bool = False
    restarts: int = 0
    exit: Exit | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    init: bool = False


@dataclass(frozen=True)
class Taint:
    """A taint of a node."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}"


@dataclass(frozen=True)
class Toleration:
    """A toleration of a pod. An empty key stands for all keys, an empty effect for all effects."""

    key: str
    exists: bool
    value: str
    effect: str

    def of(self, taint: Taint) -> bool:
        """Whether it tolerates the taint (k8s.io/component-helpers, ToleratesTaint)."""
        if self.effect not in ("", taint.effect) or self.key not in ("", taint.key):
            return False
        return self.exists or (bool(self.key) and self.value == taint.value)


@dataclass(frozen=True)
class Pod:
    """A pod. `owner` is the uid of its ReplicaSet or Job, `created` the API server's time stamp.

    containers: init containers first, as they start.
    """

    name: str
    uid: str
    owner: str
    node: str
    phase: str
    reason: str
    message: str
    created: str
    deleting: bool
    ready: bool
    conditions: Mapping[str, Condition]
    containers: tuple[Container, ...]
    claims: tuple[str, ...]
    selector: Mapping[str, str]
    tolerations: tuple[Toleration, ...] = ()

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True)
class Event:
    """An event. `kind`, `name` and `uid` are those of the object it is about."""

    kind: str
    name: str
    uid: str
    type: str
    reason: str
    message: str
    count: int
    last: str


@dataclass(frozen=True)
class ReplicaSet:
    """One revision of a Deployment."""

    name: str
    uid: str
    revision: int
    served: str
    ready: int
    conditions: Mapping[str, Condition]
    template: Mapping[str, Any]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Deployment:
    """A Deployment: what is wanted, and how far its controller says it is.

    recreate: old pods are stopped first; else each stays until a new one is ready.
    """

    name: str
    uid: str
    generation: int
    observed: int
    paused: bool
    wanted: int
    replicas: int
    updated: int
    available: int
    conditions: Mapping[str, Condition]
    template: Mapping[str, Any]
    recreate: bool = True


@dataclass(frozen=True)
class Job:
    """A Job, by its conditions."""

    name: str
    uid: str
    suspended: bool
    succeeded: int
    failed: int
    conditions: Mapping[str, Condition]


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim."""

    name: str
    uid: str
    phase: str
    volume: str
    storage_class: str


@dataclass(frozen=True)
class Node:
    """A node, as far as a pod's fate depends on it."""

    name: str
    ready: Condition
    unschedulable: bool
    taints: tuple[Taint, ...]
    labels: Mapping[str, str]
    allocatable: Mapping[str, str]


def condition(raw: Object) -> Condition:
    return Condition(raw.get("status", ""), raw.get("reason") or "", (raw.get("message") or "").strip())


def _conditions(status: Object) -> dict[str, Condition]:
    return {raw["type"]: condition(raw) for raw in status.get("conditions") or ()}


def owner(raw: Object) -> str:
    """The uid of the controller that an object belongs to, or empty."""
    owners = raw["metadata"].get("ownerReferences") or ()
    return next((one["uid"] for one in owners if one.get("controller")), "")


def pod(raw: Object) -> Pod:
    """A Pod object of the API."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    conditions = _conditions(status)
    reported = {
        one["name"]: one
        for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    }
    declared = [(one, True) for one in spec.get("initContainers") or ()] + [(one, False) for one in spec["containers"]]
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        owner=owner(raw),
        node=spec.get("nodeName") or "",
        phase=status.get("phase") or "",
        reason=status.get("reason") or "",
        message=(status.get("message") or "").strip(),
        created=meta.get("creationTimestamp") or "",
        deleting="deletionTimestamp" in meta,
        ready=conditions.get("Ready", Condition("")).status == "True",
        conditions=conditions,
        containers=tuple(_container(one, reported.get(one["name"], {}), init) for one, init in declared),
        claims=tuple(
            volume["persistentVolumeClaim"]["claimName"]
            for volume in spec.get("volumes") or ()
            if "persistentVolumeClaim" in volume
        ),
        selector=spec.get("nodeSelector") or {},
        tolerations=tolerations(spec.get("tolerations")),
    )


def taints(raw: Iterable[Object] | None) -> tuple[Taint, ...]:
    """The taints of a node's definition."""
    return tuple(Taint(one["key"], one.get("value") or "", one["effect"]) for one in raw or ())


def tolerations(raw: Iterable[Object] | None) -> tuple[Toleration, ...]:
    """The tolerations of a pod's definition."""
    return tuple(
        Toleration(
            one.get("key") or "", one.get("operator") == "Exists", one.get("value") or "", one.get("effect") or ""
        )
        for one in raw or ()
    )


def untolerated(on_node: Iterable[Taint], of_pod: Sequence[Toleration]) -> list[Taint]:
    """The taints that keep a pod away."""
    hard = (taint for taint in on_node if taint.effect in ("NoSchedule", "NoExecute"))
    return [taint for taint in hard if not any(one.of(taint) for one in of_pod)]


def _container(spec: Object, status: Object, init: bool) -> Container:
    state = status.get("state") or {}
    name = next(iter(state), "")
    now = state.get(name) or {}
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    return Container(
        name=spec["name"],
        image=spec.get("image") or "",
        state=name,
        reason=now.get("reason") or "",
        message=(now.get("message") or "").strip(),
        started=bool(status.get("started")),
        ready=bool(status.get("ready")),
        restarts=int(status.get("restartCount") or 0),
        exit=_exit(ended) if ended else None,
        limits=(spec.get("resources") or {}).get("limits") or {},
        init=init,
    )


def _exit(raw: Object) -> Exit:
    return Exit(
        code=int(raw.get("exitCode") or 0),
        reason=raw.get("reason") or "",
        message=(raw.get("message") or "").strip(),
        finished=raw.get("finishedAt") or "",
    )


def event(raw: Object) -> Event:
    """An Event of core/v1, in its old form (count) or its new one (series)."""
    about = raw.get("involvedObject") or {}
    series = raw.get("series") or {}
    return Event(
        kind=about.get("kind") or "",
        name=about.get("name") or "",
        uid=about.get("uid") or "",
        type=raw.get("type") or "",
        reason=raw.get("reason") or "",
        message=(raw.get("message") or "").strip(),
        count=int(series.get("count") or raw.get("count") or 1),
        last=series.get("lastObservedTime")
        or raw.get("lastTimestamp")
        or raw.get("eventTime")
        or raw["metadata"].get("creationTimestamp")
        or "",
    )


def replica_set(raw: Object) -> ReplicaSet:
    """A ReplicaSet object of the API; its template without the controller's hash."""
    meta, status = raw["metadata"], raw.get("status") or {}
    annotations = meta.get("annotations") or {}
    template = json.loads(json.dumps(raw["spec"]["template"]))
    template["metadata"].get("labels", {}).pop("pod-template-hash", None)
    return ReplicaSet(
        name=meta["name"],
        uid=meta["uid"],
        revision=int(annotations.get(REVISION) or 0),
        served=annotations.get(SERVED) or "",
        ready=int(status.get("readyReplicas") or 0),
        conditions=_conditions(status),
        template=template,
        annotations=annotations,
    )


def deployment(raw: Object) -> Deployment:
    """A Deployment object of the API."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    return Deployment(
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation") or 0),
        observed=int(status.get("observedGeneration") or 0),
        paused=bool(spec.get("paused")),
        wanted=int(spec.get("replicas", 1)),
        replicas=int(status.get("replicas") or 0),
        updated=int(status.get("updatedReplicas") or 0),
        available=int(status.get("availableReplicas") or 0),
        conditions=_conditions(status),
        template=spec["template"],
        recreate=(spec.get("strategy") or {}).get("type") == "Recreate",
    )


def job(raw: Object) -> Job:
    """A Job object of the API."""
    status = raw.get("status") or {}
    return Job(
        name=raw["metadata"]["name"],
        uid=raw["metadata"]["uid"],
        suspended=bool(raw["spec"].get("suspend")),
        succeeded=int(status.get("succeeded") or 0),
        failed=int(status.get("failed") or 0),
        conditions=_conditions(status),
    )


def claim(raw: Object) -> Claim:
    """A PersistentVolumeClaim object of the API."""
    spec = raw.get("spec") or {}
    return Claim(
        name=raw["metadata"]["name"],
        uid=raw["metadata"]["uid"],
        phase=(raw.get("status") or {}).get("phase") or "",
        volume=spec.get("volumeName") or "",
        storage_class=spec.get("storageClassName") or "",
    )


def node(raw: Object) -> Node:
    """A Node object of the API."""
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    return Node(
        name=raw["metadata"]["name"],
        ready=_conditions(status).get("Ready", Condition("Unknown")),
        unschedulable=bool(spec.get("unschedulable")),
        taints=taints(spec.get("taints")),
        labels=raw["metadata"].get("labels") or {},
        allocatable=status.get("allocatable") or {},
    )


def same_template(wanted: Object, made: Object) -> bool:
    """Whether a ReplicaSet's template (see `replica_set`) is the Deployment's: how its controller finds it too."""
    return bool(_bare(wanted) == _bare(made))


def _bare(template: Object) -> Any:
    meta = {name: value for name, value in (template.get("metadata") or {}).items() if value}
    return {**template, "metadata": {k: v for k, v in meta.items() if k != "creationTimestamp"}}
