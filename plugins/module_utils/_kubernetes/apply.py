# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What surrounds a server-side apply: manifests in, a readable diff and explained refusals out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from .._findings import CollectionError
from .ownership import Manifest, Object, allowed, evidence, fields


class ApplyError(CollectionError):
    """Manifests that cannot be applied: malformed, somebody else's, or refused by the API server."""

    check = "cluster.objects"


def parse(definitions: Iterable[str | Manifest]) -> list[Manifest]:
    """The objects in YAML texts (of one or more documents) and dicts, in order. Raises ApplyError."""
    manifests: list[Manifest] = []
    for definition in definitions:
        try:
            documents = list(yaml.safe_load_all(definition)) if isinstance(definition, str) else [definition]
        except yaml.YAMLError as exc:
            raise ApplyError(
                "a manifest", f"is not YAML: {exc}.", "Look at the template or value it comes from."
            ) from exc
        manifests += [document for document in documents if document]
    for manifest in manifests:
        metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
        if not isinstance(metadata, dict) or not {"apiVersion", "kind"} <= manifest.keys():
            raise ApplyError(
                "a manifest",
                f"is not a Kubernetes object: {str(manifest)[:120]}.",
                "Give it apiVersion, kind and metadata.",
            )
    return manifests


def label(manifest: Object) -> str:
    """How an object is called in messages: ``Deployment portal-stt/portal-stt``."""
    metadata = manifest["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{manifest['kind']} {place}{metadata.get('name', '?')}"


# ---- what changes

_SERVERS = ("uid", "creationTimestamp", "managedFields", "resourceVersion", "generation", "selfLink")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Repeats the whole object, the data of a Secret among it."""


def changes(live: Object | None, after: Object) -> bool:
    """Whether an apply changes anything; `after`: the API server's answer to its dry run.

    To declare a field that has its value already is a change as well: from then on it is ours.
    """
    if live is None:
        return True
    return _plain(live) != _plain(after) or fields(live) != fields(after)


def _plain(value: Object) -> dict[str, Any]:
    """An object without what the API server itself keeps in it."""
    metadata = {name: part for name, part in value["metadata"].items() if name not in _SERVERS}
    if _LAST_APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {n: v for n, v in metadata["annotations"].items() if n != _LAST_APPLIED}
    return {**{name: part for name, part in value.items() if name != "status"}, "metadata": metadata}


def diff(before: Object | None, after: Object | None) -> dict[str, Any]:
    """A diff entry for the terminal. The values of Secrets are not in it."""
    name = label(after or before or {"kind": "object", "metadata": {}})
    was, becomes = _plain(before) if before else None, _plain(after) if after else None
    if (after or before or {}).get("kind") == "Secret":
        was, becomes = _hidden(was, {}), _hidden(becomes, _data(was))
    return {
        "before_header": name,
        "after_header": name,
        "before": _text(was),
        "after": _text(becomes),
    }


def _data(secret: Object | None) -> dict[str, Any]:
    return {**((secret or {}).get("data") or {}), **((secret or {}).get("stringData") or {})}


def _hidden(secret: dict[str, Any] | None, was: Mapping[str, Any]) -> dict[str, Any] | None:
    """A Secret with its keys, and of the values only whether one is another than it was."""
    if secret is None:
        return None
    shown = {
        key: "(hidden, another value)" if key in was and was[key] != value else "(hidden)"
        for key, value in _data(secret).items()
    }
    rest = {name: part for name, part in secret.items() if name not in ("data", "stringData")}
    return {**rest, "data": shown} if shown else rest


def _text(value: Any) -> str:
    if not value:
        return ""
    plain = json.loads(json.dumps(value, default=str))  # Ansible's own string types are unknown to the YAML writer
    return str(yaml.safe_dump(plain, sort_keys=True, width=200))


def lacks(live: Any, wanted: Any, path: str = "") -> list[str]:
    """Where an object is not as declared, a line each: for one that may be read, but not be applied.

    A map may have more keys than are wanted, a list may not.
    """
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return [
            line for name, part in wanted.items() for line in lacks(live.get(name), part, f"{path}.{name}".lstrip("."))
        ]
    if live == wanted or _quantity(live) == _quantity(wanted) is not None:
        return []
    return [f"{path} is {_value(live)}, and shall be {_value(wanted)}"]


def _value(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, default=str)


_SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_QUANTITY = re.compile(r"(?P<number>\d+)(?P<suffix>[kMGT]|[KMGT]i)?")


def _quantity(value: Any) -> int | None:
    """A quantity of bytes: the API server writes 1024Mi as 1Gi."""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return int(match["number"]) * _SCALE[match["suffix"] or ""] if match else None


# ---- refusals

_CONFLICT = re.compile(r'conflict with "(?P<manager>[^"]+)"(?: with subresource "(?P<subresource>[^"]+)")?')


@dataclass(frozen=True)
class Conflict:
    """A field that somebody else set last. field: ``.spec.replicas``; subresource: by which it was set, or empty."""

    field: str
    manager: str
    subresource: str = ""

    def __str__(self) -> str:
        return f"{self.field} is owned by {self.manager}"


def conflicts(status: Object) -> list[Conflict]:
    """The fields that kept the API server from an apply, sorted (it has no order); `status`: its Status object."""
    found = [
        Conflict(str(cause.get("field", "")), match["manager"], match["subresource"] or "")
        for cause in (status.get("details") or {}).get("causes") or ()
        if cause.get("reason") == "FieldManagerConflict" and (match := _CONFLICT.search(cause.get("message", "")))
    ]
    return sorted(found, key=lambda one: (one.field, one.manager))


def by_hand(conflict: Conflict) -> bool:
    """Whether it comes from one `kubectl scale`. It is a command, not a controller that will set the field again.

    So our declaration is the newer word, as Flux sees it too; with an autoscaler (another manager) it is not.
    """
    return (conflict.field, conflict.subresource) == (".spec.replicas", "scale") and conflict.manager == "kubectl"


def by_autoscaler(conflict: Conflict) -> bool:
    """Whether a controller scales the object: the number is that one's from then on."""
    return (conflict.field, conflict.subresource) == (".spec.replicas", "scale") and not by_hand(conflict)


def explain_conflicts(subject: str, found: Sequence[Conflict]) -> ApplyError:
    """Fields that others own, and how to go on."""
    who = ", ".join(sorted({one.manager for one in found}))
    return ApplyError(
        subject,
        "another field manager owns what is to be set.",
        f"Leave the field to its owner (unset what sets it here), or take it over once: name {who} in [take_over].",
        evidence=tuple(map(str, found)),
    )


def explain_foreign(live: Object, reason: str, take_over: Iterable[str], names: Sequence[str]) -> ApplyError | None:
    """An object of our name that is not ours; None where it may be taken from all who set its fields.

    names: those managers.
    """
    if names and allowed(names, take_over) and reason == "was not made by us":
        return None
    adopt = (
        f" To make it ours, name {', '.join(names)} in [take_over]."
        if names and reason == "was not made by us" and live["kind"] != "PersistentVolume"
        else ""
    )
    return ApplyError(
        label(live),
        f"there is one of this name already, which {reason}: it is left as it is.",
        f"C{another(live['kind'])[1:]}.{adopt}",
        evidence=evidence(live),
    )


_ANOTHER = {
    "Namespace": "choose another [namespace.metadata.name]",
    "PersistentVolume": "choose another [volume.metadata.name]",
    "PersistentVolumeClaim": "choose another [volume.metadata.name]",
}


def another(kind: str) -> str:
    """What to do where the name of an object cannot be had."""
    return _ANOTHER.get(kind, "choose another [metadata.name]")


def explain(manifest: Object, status: Object, said: str) -> ApplyError:
    """A refusal in words. status: the API server's Status object, or empty; said: what there is without one."""
    subject = label(manifest)
    if found := conflicts(status):
        return explain_conflicts(subject, found)
    message = str(status.get("message") or said).strip().split("\n")[0].rstrip(".")
    return ApplyError(subject, f"the API server refuses it: {message}.", _remedy(manifest, status, message))


def _remedy(manifest: Object, status: Object, message: str) -> str:
    if _BUSY.search(message):
        return _REMEDIES[429]
    if not status:
        return "Check address and credentials of the cluster (kubeconfig, context, K8S_AUTH_*)."
    if "is being terminated" in message:
        return (
            f"The namespace is being deleted: wait until it is gone, or {another('Namespace')}. "
            "What it waits for is in its status (kubectl get namespace -o yaml)."
        )
    if "immutable" in message or "updates to statefulset spec" in message:
        return (
            f"Kubernetes does not change this field of an existing object: {another(manifest['kind'])}, or "
            "remove the old one first (playbooks/teardown.yml keeps the models)."
        )
    if "not declared in schema" in message or "unknown field" in message:
        return "Correct the field's name: this API server does not know it."
    if _NO_RIGHT.search(message):
        return (
            "Have an administrator run playbooks/rbac.yml again with the same settings (it makes what the account may "
            "not make, and gives it the rights to the rest), or use another account."
        )
    if _NO_DRY_RUN in message:
        return (
            "All is tried before it is written: the webhook's owner has to declare sideEffects: None or NoneOnDryRun "
            "for it, or exempt this namespace from it."
        )
    return _REMEDIES.get(int(status.get("code") or 0), "Correct the value that the message names.")


_NO_RIGHT = re.compile(r"cannot \w+ resource")
"""How RBAC says no. A quota or a policy has the same status."""

_NO_DRY_RUN = "does not support dry run"
"""Of a webhook (k8s.io/apiserver pkg/admission/plugin/webhook/errors, NewDryRunUnsupportedErr)."""

_BUSY = re.compile(r"^Too many requests, please try again later")
"""Plain text, without a Status object (k8s.io/apiserver pkg/server/filters, tooManyRequests)."""

_REMEDIES = {
    401: "The credentials are not accepted or have expired: renew the kubeconfig or token.",
    403: "Give the account this right, or look at the quota or admission policy that the message names.",
    404: "Create what the message names first, or correct its name.",
    429: "The API server has too much to do: run again later.",
}


def explain_unknown(manifest: Object, error: CollectionError) -> ApplyError:
    """A write that nobody has answered: whether it came about is not known."""
    return ApplyError(
        label(manifest),
        f"the API server has not said whether it was written: {error.message.rstrip('.')}.",
        f"{error.remedy} Then run again: what was written stays as it is.".lstrip(),
    )


HELD = {
    "kubernetes.io/pvc-protection": "a pod still uses it",
    "kubernetes.io/pv-protection": "a claim still holds it",
    "foregroundDeletion": "what belongs to it is still being deleted",
    "kubernetes": "what is in it is still being deleted",
}
"""Finalizers, and what each waits for."""


def holding(live: Object) -> tuple[str, ...]:
    """What keeps an object that is being deleted, a line each."""
    names = [*(live["metadata"].get("finalizers") or ()), *((live.get("spec") or {}).get("finalizers") or ())]
    return tuple(f"{name}: {HELD.get(name, 'whoever set this finalizer has work to do')}" for name in names)


def explain_going(live: Object) -> ApplyError:
    """An object that is being deleted: nothing can be declared in it that would last."""
    return ApplyError(
        label(live),
        f"it is being deleted, since {live['metadata']['deletionTimestamp']}, and cannot be kept any more.",
        "It goes when what holds it is gone: look there, then run again.",
        evidence=holding(live),
    )


def namespace_missing(status: Object) -> str:
    """The namespace that an object was to be in and that is not there; empty when this was not what was wrong."""
    details = status.get("details") or {}
    missing = status.get("code") == 404 and details.get("kind") == "namespaces"
    return str(details.get("name", "")) if missing else ""
