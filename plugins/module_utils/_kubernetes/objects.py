# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What the API server says about a rollout, as plain data: only the fields that a decision needs.

What comes from a cluster is what its tenants wrote. Here it is checked once: a value of another type than it should
have counts as absent, text is cut and loses control characters, so that no message can move a terminal's cursor.
A template and annotations are kept as they are: they are data that may be applied again, and never shown.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]
SERVED = "portal-stt/served"
"""Annotation of a ReplicaSet: when its rollout was last found complete, and its uid (see `_rollout/back.py`)."""

REVISION = "deployment.kubernetes.io/revision"

NAME_LENGTH, WORDS_LENGTH = 317, 4096
"""Characters that a key with its prefix and a message (the kubelet's limit of a termination message) may have."""

_MOST_ENTRIES = 1000
_MOST_NUMBER = 2**31 - 1
_UNSHOWN = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # a control sequence as a whole (ECMA-48): colours, cursor
    "|\x1b\\][^\x07\x1b]{0,512}(?:\x07|\x1b\\\\)"  # a command to the terminal: its title, a link
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def text(value: object, most: int = NAME_LENGTH) -> str:
    """Text as it may be shown: line breaks and tabs are the only control characters; empty for anything else."""
    return _UNSHOWN.sub("", value[: 4 * most])[:most] if isinstance(value, str) else ""


def words(value: object) -> str:
    """A message: text of several lines."""
    return text(value, WORDS_LENGTH).strip()


def number(value: object) -> int:
    """A count; 0 for what is none."""
    return value if type(value) is int and 0 <= value <= _MOST_NUMBER else 0


def below(raw: object, *keys: str) -> Object:
    """The object at the end of a path of keys; an empty one where there is none."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw if isinstance(raw, Mapping) else {}


def entries(raw: object, *keys: str) -> list[Object]:
    """The objects of the list at the end of a path of keys; what is no object is left out."""
    found = below(raw, *keys[:-1]).get(keys[-1]) if keys else raw
    return (
        [one for one in found if isinstance(one, Mapping)][:_MOST_ENTRIES] if isinstance(found, (list, tuple)) else []
    )


def strings(raw: object, *keys: str) -> dict[str, str]:
    """The texts of a map such as labels."""
    found = list(below(raw, *keys).items())[:_MOST_ENTRIES]
    return {text(name): text(value) for name, value in found if isinstance(name, str) and isinstance(value, str)}


def quantities(raw: object, *keys: str) -> dict[str, str]:
    """The quantities of a map such as limits; YAML's numbers too."""
    found = list(below(raw, *keys).items())[:_MOST_ENTRIES]
    return {
        text(name): text(str(value))
        for name, value in found
        if isinstance(name, str) and isinstance(value, (str, int, float)) and not isinstance(value, bool)
    }


def moment(stamp: str) -> datetime | None:
    """A time stamp of the API (RFC 3339, UTC); None for anything else."""
    try:
        found = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else None


def uid(raw: object) -> str:
    """What tells an object from every other one; empty where the API server gave none."""
    return text(below(raw, "metadata").get("uid"))


def name_of(raw: object) -> str:
    return text(below(raw, "metadata").get("name"))


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
    limits, requests: of resources, as written in the pod.
    init: an init container (or a sidecar that is declared as one): it comes before the others.
    stays: such a sidecar, which runs on beside the others.
    since: when a running one was started.
    startup: seconds that its startup probe gives it; 0 without one.
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
    requests: Mapping[str, str] = field(default_factory=dict)
    stays: bool = False
    since: str = ""
    startup: int = 0


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
    terms: of the node affinity that is required: one of them has to fit a node.
    overhead: of its RuntimeClass, in resources.
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
    terms: tuple[Object, ...] = ()
    overhead: Mapping[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True)
class Event:
    """An event. `kind`, `name` and `uid` are those of the object it is about, `id` is its own uid."""

    kind: str
    name: str
    uid: str
    type: str
    reason: str
    message: str
    count: int
    last: str
    id: str = ""


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
    """A node, as far as a pod's fate depends on it.

    pressures: what it says it runs short of (DiskPressure, …). images: names of those it has, as far as it lists them.
    """

    name: str
    ready: Condition
    unschedulable: bool
    taints: tuple[Taint, ...]
    labels: Mapping[str, str]
    allocatable: Mapping[str, str]
    pressures: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()


def condition(raw: Object) -> Condition:
    return Condition(text(raw.get("status")), text(raw.get("reason")), words(raw.get("message")))


def _conditions(raw: Object) -> dict[str, Condition]:
    return {text(one.get("type")): condition(one) for one in entries(raw, "status", "conditions")}


def owner(raw: Object) -> str:
    """The uid of the controller that an object belongs to, or empty."""
    owners = entries(raw, "metadata", "ownerReferences")
    return next((text(one.get("uid")) for one in owners if one.get("controller") is True), "")


def pod(raw: Object) -> Pod:
    """A Pod object of the API."""
    meta, spec, status = below(raw, "metadata"), below(raw, "spec"), below(raw, "status")
    conditions = _conditions(raw)
    told = (*entries(status, "initContainerStatuses"), *entries(status, "containerStatuses"))
    reported = {text(one.get("name")): one for one in told}
    declared = [(one, True) for one in entries(spec, "initContainers")]
    declared += [(one, False) for one in entries(spec, "containers")]
    claims = [text(below(one, "persistentVolumeClaim").get("claimName")) for one in entries(spec, "volumes")]
    node_affinity = below(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    return Pod(
        name=name_of(raw),
        uid=uid(raw),
        owner=owner(raw),
        node=text(spec.get("nodeName")),
        phase=text(status.get("phase")),
        reason=text(status.get("reason")),
        message=words(status.get("message")),
        created=text(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
        ready=conditions.get("Ready", Condition("")).status == "True",
        conditions=conditions,
        containers=tuple(_container(one, reported.get(text(one.get("name")), {}), init) for one, init in declared),
        claims=tuple(filter(None, claims)),
        selector=strings(spec, "nodeSelector"),
        tolerations=tolerations(spec.get("tolerations")),
        terms=tuple(entries(node_affinity, "nodeSelectorTerms")),
        overhead=quantities(spec, "overhead"),
    )


def taints(raw: object) -> tuple[Taint, ...]:
    """The taints of a node's definition."""
    return tuple(Taint(text(one.get("key")), text(one.get("value")), text(one.get("effect"))) for one in entries(raw))


def tolerations(raw: object) -> tuple[Toleration, ...]:
    """The tolerations of a pod's definition."""
    return tuple(
        Toleration(
            text(one.get("key")), one.get("operator") == "Exists", text(one.get("value")), text(one.get("effect"))
        )
        for one in entries(raw)
    )


def untolerated(on_node: Iterable[Taint], of_pod: Sequence[Toleration]) -> list[Taint]:
    """The taints that keep a pod away."""
    hard = (taint for taint in on_node if taint.effect in ("NoSchedule", "NoExecute"))
    return [taint for taint in hard if not any(one.of(taint) for one in of_pod)]


def _container(spec: Object, status: Object, init: bool) -> Container:
    state = below(status, "state")
    name = next((one for one in ("waiting", "running", "terminated") if one in state), "")
    now = below(state, name)
    ended = below(state, "terminated") or below(status, "lastState", "terminated")
    return Container(
        name=text(spec.get("name")),
        image=text(spec.get("image"), 512),
        state=name,
        reason=text(now.get("reason")),
        message=words(now.get("message")),
        started=status.get("started") is True,
        ready=status.get("ready") is True,
        restarts=number(status.get("restartCount")),
        exit=_exit(ended) if ended else None,
        limits=quantities(spec, "resources", "limits"),
        init=init,
        requests=quantities(spec, "resources", "requests"),
        stays=init and spec.get("restartPolicy") == "Always",
        since=text(now.get("startedAt")) if name == "running" else "",
        startup=_probe_seconds(below(spec, "startupProbe")),
    )


def _probe_seconds(probe: Object) -> int:
    """What a probe gives before it counts as failed for good; its defaults are the API's."""
    if not probe:
        return 0
    period, failures = number(probe.get("periodSeconds")) or 10, number(probe.get("failureThreshold")) or 3
    return number(probe.get("initialDelaySeconds")) + period * failures


def _exit(raw: Object) -> Exit:
    code = raw.get("exitCode")
    return Exit(
        code=code if type(code) is int else -1,
        reason=text(raw.get("reason")),
        message=words(raw.get("message")),
        finished=text(raw.get("finishedAt")),
    )


def event(raw: Object) -> Event:
    """An Event of core/v1, in its old form (count) or its new one (series)."""
    about, series = below(raw, "involvedObject"), below(raw, "series")
    times = (
        series.get("lastObservedTime"),
        raw.get("lastTimestamp"),
        raw.get("eventTime"),
        below(raw, "metadata").get("creationTimestamp"),
    )
    return Event(
        kind=text(about.get("kind")),
        name=text(about.get("name")),
        uid=text(about.get("uid")),
        type=text(raw.get("type")),
        reason=text(raw.get("reason")),
        message=words(raw.get("message")),
        count=number(series.get("count")) or number(raw.get("count")) or 1,
        last=next(filter(None, map(text, times)), ""),
        id=uid(raw),
    )


def replica_set(raw: Object) -> ReplicaSet:
    """A ReplicaSet object of the API; its template without the controller's hash."""
    annotations = {
        name: value
        for name, value in below(raw, "metadata", "annotations").items()
        if isinstance(name, str) and isinstance(value, str)
    }
    template = copy.deepcopy(dict(below(raw, "spec", "template")))
    labels = below(template, "metadata", "labels")
    if isinstance(labels, dict):
        labels.pop("pod-template-hash", None)
    revision = text(annotations.get(REVISION))
    return ReplicaSet(
        name=name_of(raw),
        uid=uid(raw),
        revision=int(revision) if re.fullmatch("[0-9]{1,18}", revision) else 0,
        served=text(annotations.get(SERVED)),
        ready=number(below(raw, "status").get("readyReplicas")),
        conditions=_conditions(raw),
        template=template,
        annotations=annotations,
    )


def deployment(raw: Object) -> Deployment:
    """A Deployment object of the API."""
    meta, spec, status = below(raw, "metadata"), below(raw, "spec"), below(raw, "status")
    return Deployment(
        name=name_of(raw),
        uid=uid(raw),
        generation=number(meta.get("generation")),
        observed=number(status.get("observedGeneration")),
        paused=spec.get("paused") is True,
        wanted=number(spec.get("replicas", 1)),
        replicas=number(status.get("replicas")),
        updated=number(status.get("updatedReplicas")),
        available=number(status.get("availableReplicas")),
        conditions=_conditions(raw),
        template=below(spec, "template"),
        recreate=below(spec, "strategy").get("type") == "Recreate",
    )


def job(raw: Object) -> Job:
    """A Job object of the API."""
    status = below(raw, "status")
    return Job(
        name=name_of(raw),
        uid=uid(raw),
        suspended=below(raw, "spec").get("suspend") is True,
        succeeded=number(status.get("succeeded")),
        failed=number(status.get("failed")),
        conditions=_conditions(raw),
    )


def claim(raw: Object) -> Claim:
    """A PersistentVolumeClaim object of the API."""
    spec = below(raw, "spec")
    return Claim(
        name=name_of(raw),
        uid=uid(raw),
        phase=text(below(raw, "status").get("phase")),
        volume=text(spec.get("volumeName")),
        storage_class=text(spec.get("storageClassName")),
    )


def node(raw: Object) -> Node:
    """A Node object of the API."""
    spec, status, conditions = below(raw, "spec"), below(raw, "status"), _conditions(raw)
    listed = (one.get("names") for one in entries(status, "images"))
    images = [text(name, 512) for names in listed if isinstance(names, list) for name in names]
    return Node(
        name=name_of(raw),
        ready=conditions.get("Ready", Condition("Unknown")),
        unschedulable=spec.get("unschedulable") is True,
        taints=taints(spec.get("taints")),
        labels=strings(raw, "metadata", "labels"),
        allocatable=quantities(status, "allocatable"),
        pressures=tuple(sorted(k for k, c in conditions.items() if k.endswith("Pressure") and c.status == "True")),
        images=frozenset(filter(None, images)),
    )


def same_template(wanted: Object, made: Object) -> bool:
    """Whether a ReplicaSet's template (see `replica_set`) is the Deployment's: how its controller finds it too."""
    return bool(_bare(wanted) == _bare(made))


def _bare(template: Object) -> Any:
    meta = {name: value for name, value in below(template, "metadata").items() if value}
    return {**template, "metadata": {k: v for k, v in meta.items() if k != "creationTimestamp"}}
