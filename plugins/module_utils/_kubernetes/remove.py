# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Removes objects that are ours, and leaves all others, whatever their names.

Each is looked at before the first is deleted, and deleted as it was looked at (preconditions): what has been made or
changed under its name meanwhile is looked at again. Volumes go when all else is gone, and never while their claim is
there: a volume that is deleted while a claim holds it cannot be kept any more. For the same reason nothing goes where a
claim is to go that a pod of somebody else mounts.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._findings import Finding, Status
from . import apply as _apply
from .apply import ApplyError, label
from .cluster import Cluster, ClusterError, label_selector
from .judge import may
from .objects import below, entries, name_of, strings, text, uid
from .ownership import (
    MANAGER,
    MARKS,
    Manifest,
    Object,
    controller,
    evidence,
    foreign,
    is_over,
    keys_of_others,
    managers,
    typed,
)
from .paths import Paths

TRIES = 5
"""So often an object is looked at again that changes while it is to be deleted: controllers write into it."""

_, PART_OF = MARKS

PAUSE_SECONDS = 0.5
"""Between two looks at what is being deleted."""

EMPTIED = ("Secret", "ConfigMap")
"""Kinds that an account with few rights cannot make, and so does not delete, but empty."""

_BROUGHT = re.compile(r"^(?!.*\.k8s\.io/).*\..*/")
"""An API group that a CustomResourceDefinition brings: Kubernetes' own are called `apps` or `policy`, or end so."""


@dataclass(frozen=True)
class Found:
    """An object that is to go. wanted: as it was given; path: where it is; empties: its content goes, itself stays."""

    wanted: Manifest
    live: Object
    path: str
    empties: bool = False


@dataclass
class Removal:
    """What there is to remove, and what was removed. left: what is not ours, or did not go, a finding each."""

    found: list[Found] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def findings(self) -> list[Finding]:
        if self.left:
            return self.left
        count = len(self.found)
        said = "to remove." if count else "to remove: all is gone."
        subject = f"{count} object{'' if count == 1 else 's'}" if count else "nothing"
        return [Finding(ApplyError.check, Status.OK, subject, said)]


class Remover:
    """Removes objects from one cluster. wait, clock: pauses for seconds, the time in seconds; injected for tests."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._wait, self._clock = cluster, wait, clock
        self._paths = Paths(cluster)

    def look(self, given: Iterable[Manifest]) -> Removal:
        """What of it is there, and is ours. Changes nothing. Raises ClusterError.

        given: of each object what names it, and our marks among its labels; one without a name stands for all of its
        kind with its labels. A PersistentVolume comes with its claimRef.
        """
        removal = Removal()
        for wanted in given:
            for path, live in self._there(wanted):
                if reason := _not_ours(live, wanted):
                    removal.left.append(left(live, reason))
                    continue
                one = self._goal(wanted, live, path)
                if one:
                    removal.found.append(one)
        return removal

    def spare(self, removal: Removal) -> None:
        """Takes out of what was found what is not to go: a volume whose claim stays, and all of it where a pod of
        somebody else mounts a claim of it. Changes nothing on the cluster. Raises ClusterError."""
        if used := list(filter(None, (self._used(one, removal) for one in removal.found if _is_claim(one.live)))):
            removal.found, removal.left = [], [*removal.left, *used]
            return
        going = {one.path for one in removal.found}
        for one in [one for one in removal.found if one.live["kind"] == "PersistentVolume"]:
            if self._claim(one.live) not in going and self._is_claimed(one.live):
                removal.found.remove(one)
                removal.left.append(_claimed(one.live))

    def remove(self, removal: Removal, seconds: float) -> None:
        """Removes what was found, but for what is to be spared, and waits for it, `seconds` at most for all.

        Raises ClusterError.
        """
        self.spare(removal)
        end = self._clock() + seconds
        volumes = [one for one in removal.found if one.live["kind"] == "PersistentVolume"]
        others = [one for one in removal.found if one not in volumes]
        for some in (others, volumes):
            sent = [one for one in some if self._sent(one, removal)]
            self._await([one for one in sent if not one.empties], end, removal)

    def _there(self, wanted: Manifest) -> list[tuple[str, Object]]:
        if _BROUGHT.search(wanted["apiVersion"]) and not self._paths.knows(wanted):
            return []  # its objects went with the definition
        if wanted["metadata"].get("name"):
            path = self._paths.object(wanted)
            live = self._cluster.find(path)
            return [(path, live)] if live is not None else []
        labels = wanted["metadata"].get("labels") or {}
        if not labels:
            raise ApplyError(f"a {wanted['kind']}", "has neither a name nor labels.", "Give it one of them.")
        path = self._paths.collection(wanted)
        items = (self._cluster.find(path, {"labelSelector": label_selector(labels)}) or {}).get("items") or []
        some = (typed(one, wanted["apiVersion"], wanted["kind"]) for one in items)
        return [(f"{path}/{one['metadata']['name']}", one) for one in some]

    def _goal(self, wanted: Manifest, live: Object, path: str) -> Found | None:
        """How it goes; None when nothing of ours is left in it."""
        if live["kind"] not in EMPTIED or may(self._cluster, self._paths, "delete", live):
            return Found(wanted, live, path)
        has_content = any(live.get(part) for part in ("data", "binaryData"))
        return Found(wanted, live, path, empties=True) if has_content else None

    def _claim(self, volume: Object) -> str:
        """Where the claim of a volume is, or would be."""
        return self._paths.object(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": volume["spec"]["claimRef"]}
        )

    def _is_claimed(self, volume: Object) -> bool:
        return self._cluster.find(self._claim(volume)) is not None

    def _used(self, claim: Found, removal: Removal) -> Finding | None:
        """Which pods of others mount a claim; None where none does."""
        place, name = (claim.live["metadata"][part] for part in ("namespace", "name"))
        try:
            pods = self._cluster.get(f"/api/v1/namespaces/{place}/pods")
        except ClusterError as error:
            if error.status != 403:
                raise
            said = "is to go, but who mounts it may not be asked: nothing was removed."
            remedy = f"Allow list on pods in namespace {place}: for the account of the plays, rbac.yml does."
            return Finding(ApplyError.check, Status.REFUSED, label(claim.live), said, remedy, (error.message,))
        owned = _Ours.of(claim, removal)
        others = [pod for pod in entries(pods, "items") if _mounts(pod, name) and not owned.has(pod)]
        if not others:
            return None
        return Finding(
            ApplyError.check,
            Status.REFUSED,
            label(claim.live),
            "is to go, but is mounted by pods that are not ours: nothing was removed.",
            "Have their owners delete them or give them another claim, then run again.",
            tuple(f"Pod {place}/{name_of(pod)}, {_owner(pod)}" for pod in others),
        )

    def _sent(self, one: Found, removal: Removal) -> bool:
        """Whether the object is about to be gone."""
        live: Object | None = one.live
        for _ in range(TRIES):
            if live is None:
                return False
            if reason := _not_ours(live, one.wanted):
                removal.left.append(left(live, reason))
                return False
            if live["kind"] == "PersistentVolume" and self._is_claimed(live):
                removal.left.append(_claimed(live))
                return False
            try:
                self._empty(one, live) if one.empties else self._delete(one.path, live)
            except ClusterError as error:
                if error.status == 409:
                    live = self._cluster.find(one.path)
                    continue
                if error.status == 404:
                    return False
                if not error.status:
                    raise
                removal.left.append(_apply.explain(live, error.body, error.message).finding)
                return False
            removal.removed.append(label(live))
            return True
        removal.left.append(_stays(one.live, "changes all the time", "Run again."))
        return False

    def _delete(self, path: str, live: Object) -> None:
        preconditions = {name: live["metadata"][name] for name in ("uid", "resourceVersion")}
        options = {"propagationPolicy": "Background", "preconditions": preconditions}
        body = json.dumps({"kind": "DeleteOptions", "apiVersion": "v1", **options}).encode()
        self._cluster.request("DELETE", path, body=body, headers={"Content-Type": "application/json"})

    def _empty(self, one: Found, live: Object) -> None:
        """An apply without content: what our manager has put there goes."""
        metadata = {name: live["metadata"][name] for name in ("name", "namespace", "resourceVersion")}
        marks = {name: value for name, value in (live["metadata"].get("labels") or {}).items() if name in MARKS}
        bare = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": {**metadata, "labels": marks}}
        self._cluster.apply(one.path, bare, field_manager=MANAGER)

    def _await(self, sent: list[Found], end: float, removal: Removal) -> None:
        for one in sent:
            live = self._still(one)
            while live is not None and self._clock() < end:
                self._wait(PAUSE_SECONDS)
                live = self._still(one)
            if live is not None:
                removal.left.append(_held(live))

    def _still(self, one: Found) -> Object | None:
        live = self._cluster.find(one.path)
        return live if live and live["metadata"].get("uid") == one.live["metadata"]["uid"] else None


def _not_ours(live: Object, wanted: Manifest) -> str:
    """Why an object is left; empty when it is ours alone."""
    if reason := foreign(live, wanted):
        return reason
    if live["kind"] in EMPTIED and (keys := keys_of_others(live)):
        return f"holds what others have put there: {', '.join(keys)}"
    return ""


@dataclass(frozen=True)
class _Ours:
    """Which pods go together with a claim.

    mark: the value of the claim's label part-of, empty for none.
    jobs, deployments: what goes: uids, and of each name the labels that select its pods.
    stays: there is a Deployment of our name, and it is somebody else's.
    """

    mark: str
    jobs: frozenset[str]
    deployments: Mapping[str, Mapping[str, str]]
    stays: bool

    @classmethod
    def of(cls, claim: Found, removal: Removal) -> _Ours:
        place, mark = claim.live["metadata"]["namespace"], strings(claim.wanted, "metadata", "labels").get(PART_OF, "")
        going = [one.live for one in removal.found if one.live["metadata"].get("namespace") == place]
        return cls(
            mark,
            frozenset(uid(one) for one in going if one["kind"] == "Job"),
            {
                name_of(one): strings(one, "spec", "selector", "matchLabels")
                for one in going
                if one["kind"] == "Deployment"
            },
            f"Deployment {place}/{mark}" in {one.subject for one in removal.left},
        )

    def has(self, pod: Object) -> bool:
        labels, (kind, name, owner) = strings(pod, "metadata", "labels"), controller(pod)
        deployment = name.rpartition("-")[0] if kind == "ReplicaSet" else ""
        if self.stays and deployment == self.mark:
            return False
        selector = self.deployments.get(deployment)
        if selector and selector.items() <= labels.items():
            return True
        if kind == "Job" and owner in self.jobs:
            return True
        told = labels.get(PART_OF, "")
        if told or not self.mark:
            return bool(told) and told == self.mark
        # The server's pods carry no such label, and what controls them may be gone already.
        return deployment == self.mark or (kind == "Job" and name.startswith(f"{self.mark}-"))


def _owner(pod: Object) -> str:
    """Whose a pod is, as the end of a line."""
    kind, name, _ = controller(pod)
    who = ", ".join(managers(pod))
    return f"of {kind} {name}" if kind else f"made by {who or 'somebody unknown'}"


def _mounts(pod: Object, claim: str) -> bool:
    """Whether a pod that has not ended mounts a claim of its namespace."""
    if is_over(pod):
        return False
    volumes = (below(one, "persistentVolumeClaim") for one in entries(pod, "spec", "volumes"))
    return any(text(one.get("claimName")) == claim for one in volumes)


def _is_claim(live: Object) -> bool:
    return bool(live["kind"] == "PersistentVolumeClaim")


def _claimed(volume: Object) -> Finding:
    claim = volume["spec"]["claimRef"]
    said = f"its claim {claim['namespace']}/{claim['name']} is still there, and nothing was done to the volume."
    return Finding(
        ApplyError.check,
        Status.REFUSED,
        label(volume),
        said,
        "Run again when the claim is gone: it goes when no pod mounts it any more, one of somebody else by its owner.",
    )


def left(live: Object, reason: str) -> Finding:
    """An object that is not ours. reason: why, as `foreign` says it."""
    said = f"it {reason}, and is left as it is."
    return Finding(ApplyError.check, Status.WARNING, label(live), said, evidence=evidence(live))


def _stays(live: Object, why: str, remedy: str, facts: tuple[str, ...] = ()) -> Finding:
    return Finding(ApplyError.check, Status.REFUSED, label(live), f"it {why}, and is still there.", remedy, facts)


def _held(live: Object) -> Finding:
    """What is being deleted and does not go."""
    return _stays(
        live,
        "is being deleted",
        "It goes when what holds it is gone: look there, then run again.",
        _apply.holding(live),
    )


def stubs(given: Iterable[Mapping[str, Any]]) -> list[Manifest]:
    """The objects to remove, checked for what they need. Raises ApplyError."""
    manifests = [dict(one) for one in given]
    for one in manifests:
        claim = (one.get("spec") or {}).get("claimRef") or {}
        if one.get("kind") == "PersistentVolume" and not (claim.get("namespace") and claim.get("name")):
            raise ApplyError("a PersistentVolume", "is given without its claim.", "Give it spec.claimRef.")
    return manifests
