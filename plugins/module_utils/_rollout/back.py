# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The way back: which revision served before, and the manifests that bring it, or a Job that had failed, back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .._kubernetes.objects import Object, ReplicaSet, below, entries, moment, same_template, text
from .past import FRESH_SECONDS
from .seen import Seen

MANAGER = "portal-stt"
_JOB_LABELS = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")


def earlier(seen: Seen, at_first: Seen) -> ReplicaSet | None:
    """The revision that served before the current one: what a rollback goes back to; None when there is none.

    It is the one that had a ready pod when the watch began (`at_first`), whoever had brought it there. Where no such
    pod was left (with Recreate an old pod may be gone before the watch begins), it is the one with the latest mark.
    """
    new = seen.current.uid if seen.current else ""
    ready = {pod.owner for pod in at_first.old_pods if pod.ready}
    # Two of them: a rollout that was not complete. The one with a mark has been.
    serving = [one for one in seen.revisions if one.uid in ready and one.uid != new]
    if serving:
        return max(serving, key=lambda one: (served(one), one.revision))
    last = max(filter(served, seen.revisions), key=served, default=None)
    return None if last is None or last.uid == new else last


def served(revision: ReplicaSet) -> str:
    """When a revision was last found complete, as its mark says; empty when it has none of its own.

    `kubectl rollout undo` copies the marks of a ReplicaSet to the Deployment, whose controller copies them to each
    newer ReplicaSet. So a mark names the ReplicaSet that it is about, and one that names another or none is no mark.
    """
    when, _, uid = revision.served.partition(" ")
    return when if uid == revision.uid else ""


def mark(revision: ReplicaSet, now: datetime) -> str:
    """The mark of a revision that is complete now (time with a time zone); see `served`."""
    return f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} {revision.uid}"


def unmarked(seen: Seen) -> bool:
    """Whether the current revision, found complete, has to be marked as the one that served last.

    Not without a pod: a Deployment of no replicas is complete, and nothing has served.
    """
    if seen.current is None or not any(pod.ready and not pod.deleting for pod in seen.pods):
        return False
    return not served(seen.current) or served(seen.current) < max(map(served, seen.revisions), default="")


def earlier_manifest(deployment: Object, revision: ReplicaSet) -> dict[str, Any]:
    """What to apply so that a Deployment has the template of an earlier revision again.

    A server-side apply gives up each field that it leaves out. So everything else that our field manager owns comes
    from the Deployment as it is; annotations, which the controller copies to each ReplicaSet, as they were then.
    """
    meta, ours = deployment["metadata"], _owned(deployment)
    labels = _pick(meta.get("labels") or {}, ours.get("f:metadata", {}).get("f:labels"))
    then = {name: revision.annotations.get(name, value) for name, value in (meta.get("annotations") or {}).items()}
    annotations = _pick(then, ours.get("f:metadata", {}).get("f:annotations"))
    spec = _pick(deployment["spec"], ours.get("f:spec"))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            **({"labels": labels} if labels else {}),
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {**spec, "selector": deployment["spec"]["selector"], "template": revision.template},
    }


def exact_template(applied: Object, revision: ReplicaSet) -> list[dict[str, Any]]:
    """The JSON patch after which the template is that of the revision; empty when it is already.

    A server-side apply leaves the items of lists and maps that another manager owns (`kubectl set env`, Keel), and so
    would make a third template, which has never served. The rest of the Deployment stays theirs. The patch is refused
    (422) when somebody has changed the Deployment since it was applied.
    """
    if same_template(applied["spec"]["template"], revision.template):
        return []
    return [
        {"op": "test", "path": "/metadata/generation", "value": applied["metadata"]["generation"]},
        {"op": "replace", "path": "/spec/template", "value": revision.template},
    ]


def _owned(raw: Object) -> Mapping[str, Any]:
    """The fields of an object that our field manager has applied (fieldsV1 of its managedFields)."""
    for entry in raw["metadata"].get("managedFields") or ():
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields: Mapping[str, Any] = entry["fieldsV1"]
            return fields
    return {}


def _pick(value: Mapping[str, Any], fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of a mapping that fieldsV1 names. Enough for all of a Deployment but its template, which has lists."""
    picked: dict[str, Any] = {}
    for key, inside in (fields or {}).items():
        name = key.removeprefix("f:")
        if key.startswith("f:") and name in value and name != "template":
            inner = value[name]
            picked[name] = _pick(inner, inside) if inside and isinstance(inner, Mapping) else inner
    return picked


def stuck(job: Object, now: datetime) -> bool:
    """Whether a Job has failed for ever or does nothing but wait for its next try; `now` with a time zone.

    Its waits grow to minutes. One that runs a try is left alone: it may be downloading. One that has no pod after half
    a minute has been refused, or its controller does not work.
    """
    status = below(job, "status")
    conditions = {text(one.get("type")): one.get("status") for one in entries(status, "conditions")}
    if "True" in (conditions.get("Complete"), conditions.get("SuccessCriteriaMet")):
        return False
    if conditions.get("Failed") == "True":
        return True
    if status.get("active") or status.get("succeeded") or below(job, "spec").get("suspend"):
        return False
    created = moment(text(below(job, "metadata").get("creationTimestamp")))
    waits = created is not None and (now - created).total_seconds() > FRESH_SECONDS
    return bool(status.get("failed")) or waits


def job_manifest(job: Object) -> dict[str, Any]:
    """What to apply, once a Job is deleted, to have it anew: its own definition without the controller's parts."""
    meta, spec = job["metadata"], dict(below(job, "spec"))
    spec.pop("selector", None)
    template = dict(spec["template"])
    labels = (template.get("metadata") or {}).get("labels") or {}
    template["metadata"] = {
        **{name: value for name, value in (template.get("metadata") or {}).items() if value},
        "labels": {name: value for name, value in labels.items() if name not in _JOB_LABELS},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": {name: value for name, value in (meta.get("labels") or {}).items() if name not in _JOB_LABELS},
        },
        "spec": {**spec, "template": template},
    }
