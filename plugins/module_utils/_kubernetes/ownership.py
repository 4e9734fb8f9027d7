# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whose an object is.

Ours is what our field manager has applied, and what carries no other mark than ours: the labels that Kubernetes
recommends for it. An object of ours without the labels is one of an earlier version, and ours as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .objects import below, entries, text

Manifest = dict[str, Any]
Object = Mapping[str, Any]

MANAGER = "portal-stt"
"""Our field manager."""

MARKS = ("app.kubernetes.io/managed-by", "app.kubernetes.io/part-of")
"""Labels that say who made an object, and for which installation."""

CONTROLLERS = frozenset({"kube-controller-manager", "kube-scheduler", "kubelet"})
"""Managers that write into everybody's objects: none of them says whose one is."""


def fields(live: Object) -> Mapping[str, Any] | None:
    """The fields that we have applied (fieldsV1); None when we have not."""
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource"):
            owned: Mapping[str, Any] = entry.get("fieldsV1") or {}
            return owned
    return None


def typed(item: Object, version: str, kind: str) -> dict[str, Any]:
    """An item of a list, which does not say itself what it is."""
    return {"apiVersion": version, "kind": kind, **item}


def is_over(pod: Object) -> bool:
    """Whether none of its containers will run any more."""
    return text(below(pod, "status").get("phase")) in ("Succeeded", "Failed")


def controller(live: Object) -> tuple[str, str, str]:
    """Kind, name and uid of what controls it, each empty where nothing does."""
    for one in entries(live, "metadata", "ownerReferences"):
        if one.get("controller"):
            return text(one.get("kind")), text(one.get("name")), text(one.get("uid"))
    return "", "", ""


def managers(live: Object) -> list[str]:
    """Who else than we and Kubernetes itself has set fields of it, status aside; each once."""
    found = (
        entry["manager"]
        for entry in live["metadata"].get("managedFields") or ()
        if entry.get("manager") and entry.get("subresource") != "status"
    )
    return [name for name in dict.fromkeys(found) if name != MANAGER and name not in CONTROLLERS]


def foreign(live: Object, wanted: Object) -> str:
    """Why an object is not ours, as the end of a sentence that begins with "it"; empty when it is.

    wanted: the object as we would have it: its labels are the marks, a PersistentVolume's claimRef is our claim.
    """
    if live["kind"] == "PersistentVolume" and (said := _other_claim(live, wanted)):
        return said
    owners = [one for one in live["metadata"].get("ownerReferences") or () if one.get("controller")]
    if owners:
        return f"belongs to {owners[0]['kind']} {owners[0]['name']}"
    labels, marks = live["metadata"].get("labels") or {}, wanted["metadata"].get("labels") or {}
    for mark in MARKS:
        if mark in marks and labels.get(mark, marks[mark]) != marks[mark]:
            return f"carries the label {mark}={labels[mark]}"
    return "" if fields(live) is not None else "was not made by us"


def _other_claim(live: Object, wanted: Object) -> str:
    """A volume is its claim's. Bound to another one it would not come back once it is deleted."""
    held, ours = (one.get("spec", {}).get("claimRef") or {} for one in (live, wanted))
    there, here = (f"{ref.get('namespace')}/{ref.get('name')}" if ref else "" for ref in (held, ours))
    if ours and there != here:
        return f"is for the claim {there}" if there else "is for any claim"
    return ""


def evidence(live: Object) -> tuple[str, ...]:
    """What tells whose an object is, a line each: who set its fields, its labels."""
    who, labels = managers(live), live["metadata"].get("labels") or {}
    told = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    lines = (f"fields are set by {', '.join(who)}" if who else "", f"labels: {told}" if told else "")
    return tuple(filter(None, lines))


def keys_of_others(live: Object) -> list[str]:
    """Keys in a Secret or ConfigMap that somebody else has put there."""
    ours = fields(live) or {}
    return sorted(
        key
        for part in ("data", "binaryData")
        for key in live.get(part) or {}
        if f"f:{key}" not in ours.get(f"f:{part}", {})
    )


def allowed(names: Iterable[str], take_over: Iterable[str]) -> bool:
    """Whether fields may be taken from all of these managers."""
    return set(names) <= set(take_over)
