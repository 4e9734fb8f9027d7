# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Judges manifests before anything is written: whose each object is, what an apply of it would change, who objects.

An object costs two requests: it is read, and the API server tries the apply (dryRun=All).
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._findings import CollectionError, Finding, Status
from . import apply as _apply
from .apply import ApplyError, label
from .cluster import Cluster, ClusterError
from .ownership import MANAGER, Manifest, Object, foreign, managers
from .paths import Paths

FRESH_SECONDS = 120.0
"""For so long an earlier judgement counts."""

ADMINISTRATORS = ("Namespace", "PersistentVolume")
"""Kinds that an account with few rights finds there, made by an administrator."""

SWEPT = ("Job",)
"""Kinds that a later step deletes and makes anew: one that is going is waited for there."""

TRIES = 5
"""So often an object is judged anew that somebody writes meanwhile: a controller does so when it was just made."""

STAND_IN = "default"
"""A namespace that every cluster has: the form of an object is tried in it while the object's own is not there."""


@dataclass(frozen=True)
class Judged:
    """One manifest and what an apply of it does.

    manifest: as it is to be applied. live, after: the object as it is and as it would be, None where unknown.
    verdict: ``unchanged``, ``changed``, ``created``, or ``planned`` where only its form could be tried.
    force: it takes fields from others, all of whom may lose them. scaled: the number of replicas is another's.
    """

    manifest: Manifest
    live: Object | None
    after: Object | None
    verdict: str
    force: bool = False
    scaled: bool = False
    warnings: tuple[Finding, ...] = ()

    @property
    def changes(self) -> bool:
        return self.verdict != "unchanged"

    @property
    def is_overtaken(self) -> bool:
        """Whether somebody has written the object between the look and the try: what differs may be his."""
        return bool(self.after) and _version(self.after) != _version(self.live)


@dataclass
class Judgement:
    """All manifests: those that are unobjectionable, and what stands against the others."""

    judged: list[Judged] = field(default_factory=list)
    errors: list[CollectionError] = field(default_factory=list)
    left_out: list[Finding] = field(default_factory=list)
    """Those that cannot be, and need not: the API server does not know the kind, or has no such namespace."""
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By label, what an earlier judgement knew of those that it found unchanged and that were not asked for again."""

    def findings(self, names: Collection[str] | None = None) -> list[Finding]:
        """What is to be reported: an error each, or one line that all is well; warnings in any case.

        names: labels of those that the line is about; None for all.
        """
        warnings = [*self.left_out, *(warning for one in self.judged for warning in one.warnings)]
        if self.errors:
            return [*warnings, *(error.finding for error in self.errors)]
        found = {label(one.manifest): one.changes for one in self.judged} | dict.fromkeys(self.known, False)
        meant = {name: changes for name, changes in found.items() if names is None or name in names}
        changing = [name for name, changes in meant.items() if changes]
        count = len(meant)
        said = f"would change: {', '.join(changing)}." if changing else "are as declared."
        subject = f"{count} object{'' if count == 1 else 's'}"
        return [*warnings, Finding(ApplyError.check, Status.OK, subject, said)]

    def plan(self, now: float) -> dict[str, Any]:
        """For a later call: what was found unchanged."""
        objects = dict(self.known)
        for one in self.judged:
            if not one.changes and one.live is not None:
                objects[label(one.manifest)] = {"digest": _digest(one.manifest), **identity(one.live)}
        return {"at": now, "objects": objects}


def identity(stored: Object) -> dict[str, Any]:
    """What a stored object is known by, and whether it has been changed since: uid and generation (0: it has none)."""
    metadata = stored["metadata"]
    return {
        "kind": stored["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "generation": metadata.get("generation") or 0,
    }


def _digest(manifest: Object) -> str:
    """Tells one manifest from another. That of a Secret is so short that nobody finds its value by trying."""
    whole = hashlib.sha256(json.dumps(manifest, sort_keys=True, default=str).encode()).hexdigest()
    return whole[:4] if manifest["kind"] == "Secret" else whole


def _version(stored: Object | None) -> str:
    """A dry run's answer has that of the object as it was tried on; a new object has none."""
    return str((stored or {}).get("metadata", {}).get("resourceVersion") or "")


class _LeftOut(Exception):
    """An object that cannot be, and need not."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class Judge:
    """Asks one cluster about manifests.

    take_over: field managers that may lose fields, and objects of our name, to us.
    keep: leave an object of ours that is there as it is, whatever the manifest says.
    planning: nothing will be applied, so that a namespace may be missing that nobody declares here.
    optional: kinds that the API server may not know; with Namespace, namespaces may be missing, and what is in them.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        take_over: Collection[str] = (),
        keep: bool = False,
        planning: bool = False,
        optional: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster, self._take_over, self._keep = cluster, take_over, keep
        self._planning, self._optional, self._clock = planning, optional, clock
        self._paths = Paths(cluster)
        self._missing: set[str] = set()

    def judge(self, manifests: Iterable[Manifest], plan: Mapping[str, Any] | None = None) -> Judgement:
        """plan: of an earlier judgement; what that found unchanged moments ago is not asked for again.

        Raises ClusterError when the API server does not answer.
        """
        given = list(manifests)
        self._made = {one["metadata"].get("name") for one in given if one["kind"] == "Namespace"}
        fresh = (plan or {}).get("objects") or {} if self._is_fresh(plan) else {}
        result = Judgement()
        barred: set[Any] = set()  # the error of a namespace is that of all in it
        for manifest in given:
            if manifest["metadata"].get("namespace") in barred:
                continue
            if manifest["kind"] in self._optional and not self._paths.knows(manifest):
                result.left_out.append(_unknown(manifest))
                continue
            known = fresh.get(label(manifest))
            if known and known.get("digest") == _digest(manifest):
                result.known[label(manifest)] = dict(known)
                continue
            try:
                result.judged.append(self._one(manifest))
            except ClusterError as error:
                if not error.status:
                    raise  # nobody is there to judge the others
                result.errors.append(_apply.explain(manifest, error.body, error.message))
            except _LeftOut as left:
                result.left_out.append(left.finding)
            except ApplyError as error:
                result.errors.append(error)
                if manifest["kind"] == "Namespace":
                    barred.add(manifest["metadata"].get("name"))
        return result

    def write(self, judged: Iterable[Judged]) -> Iterator[Object]:
        """Applies them one by one; each as it is stored. Raises ApplyError at the first that does not come about."""
        for one in judged:
            manifest = one.manifest
            if one.scaled:
                manifest = {
                    **manifest,
                    "spec": {name: part for name, part in manifest["spec"].items() if name != "replicas"},
                }
            try:
                yield self._cluster.apply(
                    self._paths.object(manifest), manifest, field_manager=MANAGER, force=one.force
                )
            except ClusterError as error:
                if not error.status:
                    raise _apply.explain_unknown(manifest, error) from error
                raise _apply.explain(manifest, error.body, error.message) from error

    def _is_fresh(self, plan: Mapping[str, Any] | None) -> bool:
        return 0 <= self._clock() - float((plan or {}).get("at") or 0) <= FRESH_SECONDS

    def _one(self, manifest: Manifest) -> Judged:
        judged = self._once(manifest)
        for _ in range(TRIES):
            if not judged.is_overtaken:
                break
            judged = self._once(manifest)
        return judged

    def _once(self, manifest: Manifest) -> Judged:
        if not manifest["metadata"].get("name"):
            raise ApplyError(f"a {manifest['kind']}", "has no name.", "Give it metadata.name.")
        if manifest["metadata"].get("namespace") in self._missing:
            return self._form(manifest)
        path = self._paths.object(manifest)
        live = self._cluster.find(path)
        if live is not None and live["metadata"].get("deletionTimestamp") and live["kind"] not in SWEPT:
            raise _apply.explain_going(live)
        if manifest["kind"] in ADMINISTRATORS and not self._may("patch", manifest):
            return _as_made(manifest, live)
        if live is not None and (reason := foreign(live, manifest)):
            return self._foreign(manifest, live, reason, path)
        if live is not None and self._keep:
            return Judged(manifest, live, live, "unchanged")
        try:
            return self._try(manifest, live, path)
        except ClusterError as error:
            missing = _apply.namespace_missing(error.body)
            if not missing:
                raise
            if missing not in self._made and "Namespace" in self._optional:
                raise _LeftOut(_nowhere(manifest, missing)) from error
            if missing not in self._made and not self._planning:
                raise
            self._missing.add(missing)
            return self._form(manifest)

    def _may(self, verb: str, manifest: Manifest) -> bool:
        return may(self._cluster, self._paths, verb, manifest)

    def _foreign(self, manifest: Manifest, live: Object, reason: str, path: str) -> Judged:
        if live["kind"] == "Namespace" and not _apply.lacks(live, manifest):
            return Judged(manifest, live, live, "unchanged")  # whoever made it, it is as declared
        error = _apply.explain_foreign(live, reason, self._take_over, managers(live))
        if error:
            raise error
        return self._try(manifest, live, path)

    def _try(self, given: Manifest, live: Object | None, path: str) -> Judged:
        """The API server's own judgement."""
        warnings: list[Finding] = []
        manifest, force = copy.deepcopy(given), False
        while True:
            try:
                after = self._cluster.apply(path, manifest, field_manager=MANAGER, force=force, dry_run=True)
                break
            except ClusterError as error:
                found = _apply.conflicts(error.body)
                if not found or force:
                    raise
                manifest, force = self._settle(manifest, live, found, warnings)
        verdict = "unchanged" if not _apply.changes(live, after) else "changed" if live else "created"
        scaled = "replicas" in (given.get("spec") or {}) and "replicas" not in manifest["spec"]
        return Judged(given, live, after, verdict, force, scaled, tuple(warnings))

    def _settle(
        self, manifest: Manifest, live: Object | None, found: list[_apply.Conflict], warnings: list[Finding]
    ) -> tuple[Manifest, bool]:
        """The manifest without what is another's for good, and whether the rest may be taken. Raises ApplyError."""
        scaled = [one for one in found if _apply.by_autoscaler(one) and one.manager not in self._take_over]
        rest = [one for one in found if one not in scaled]
        barred = [one for one in rest if one.manager not in self._take_over and not _apply.by_hand(one)]
        if barred:
            raise _apply.explain_conflicts(label(manifest), barred)
        replicas = ((live or {}).get("spec") or {}).get("replicas")
        if scaled:
            wanted = manifest["spec"].pop("replicas")
            said = f"{scaled[0].manager} scales it, to {replicas} now: the {wanted} declared here is not set."
            warnings.append(Finding("cluster.scale", Status.WARNING, label(manifest), said))
        if any(map(_apply.by_hand, rest)):
            said = f"was scaled by hand to {replicas}, and is {manifest['spec']['replicas']} again as declared."
            warnings.append(Finding("cluster.scale", Status.WARNING, label(manifest), said))
        return manifest, bool(rest)

    def _form(self, manifest: Manifest) -> Judged:
        """The judgement on an object whose namespace is not there: of its form only.

        It is tried in a namespace that is. What is refused there for another reason (a right, a quota, the name is
        taken) says nothing about this object.
        """
        metadata = {**manifest["metadata"], "namespace": STAND_IN}
        body = json.dumps({**manifest, "metadata": metadata}, default=str).encode()
        query = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": MANAGER}
        headers = {"Content-Type": "application/json"}
        path = self._paths.collection(manifest, STAND_IN)
        try:
            self._cluster.request("POST", path, query=query, body=body, headers=headers)
        except ClusterError as error:
            if error.status in (400, 422) or not error.status:
                raise
        return Judged(manifest, None, manifest, "planned")


def _without_replicas(manifest: Manifest) -> Manifest:
    return {**manifest, "spec": {name: part for name, part in manifest["spec"].items() if name != "replicas"}}


def may(cluster: Cluster, paths: Paths, verb: str, manifest: Object) -> bool:
    """Whether the account has a right to an object. Raises ClusterError."""
    version = str(manifest["apiVersion"])
    group = version.partition("/")[0] if "/" in version else ""
    attributes = {"verb": verb, "group": group, "resource": paths.resource(manifest)[0]}
    attributes["name"] = manifest["metadata"]["name"]
    if manifest["metadata"].get("namespace"):
        attributes["namespace"] = manifest["metadata"]["namespace"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    headers = {"Content-Type": "application/json"}
    answer = json.loads(cluster.request("POST", path, body=json.dumps(review).encode(), headers=headers))
    return bool(answer["status"]["allowed"])


def _unknown(manifest: Manifest) -> Finding:
    return Finding(
        "cluster.kind",
        Status.WARNING,
        label(manifest),
        f"the API server knows no {manifest['kind']} in {manifest['apiVersion']}: it is left out.",
        "Install what brings the kind (for a PrometheusRule the Prometheus operator), or do without it ([optional]).",
    )


def _nowhere(manifest: Manifest, namespace: str) -> Finding:
    said = f"there is no namespace {namespace}: it is left out."
    remedy = "Run again when the namespace is there, or correct its name."
    return Finding(ApplyError.check, Status.WARNING, label(manifest), said, remedy)


_ADMINISTRATOR = "Have an administrator of the cluster run playbooks/rbac.yml, with the same settings."


def _as_made(manifest: Manifest, live: Object | None) -> Judged:
    """An administrator's object, which this account may read only. Raises ApplyError unless it is as declared."""
    if live is None:
        raise ApplyError(label(manifest), "is not there, and this account may not make it.", _ADMINISTRATOR)
    if manifest["kind"] == "PersistentVolume" and (reason := _other_claim(live, manifest)):
        raise reason
    if differs := _apply.lacks(live, manifest):
        raise ApplyError(
            label(manifest),
            "is not as declared, and this account may not change it.",
            _ADMINISTRATOR,
            evidence=tuple(differs),
        )
    return Judged(manifest, live, live, "unchanged")


def _other_claim(live: Object, manifest: Object) -> ApplyError | None:
    reason = foreign(live, manifest)
    return _apply.explain_foreign(live, reason, (), managers(live)) if "claim" in reason else None
