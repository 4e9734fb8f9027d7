# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What surrounds a server-side apply: manifests in, a readable diff and explained refusals out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from .._findings import CollectionError

Manifest = dict[str, Any]


class ApplyError(CollectionError):
    """Manifests that cannot be applied: malformed, or refused by the API server."""

    check = "cluster.apply"


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
        if not isinstance(manifest, dict) or not {"apiVersion", "kind", "metadata"} <= manifest.keys():
            raise ApplyError(
                "a manifest",
                f"is not a Kubernetes object: {str(manifest)[:120]}.",
                "Give it apiVersion, kind and metadata.",
            )
    return manifests


def namespaces(manifests: Iterable[Manifest]) -> list[str]:
    """The namespaces that objects are to be in, each once."""
    named = (manifest["metadata"].get("namespace") for manifest in manifests)
    return list(dict.fromkeys(name for name in named if name))


def split(manifests: Iterable[Manifest], missing: Iterable[str]) -> tuple[list[Manifest], list[Manifest]]:
    """What a dry run of the API server can judge, and what it cannot because its namespace is not there yet."""
    absent = set(missing)
    judged: list[Manifest] = []
    planned: list[Manifest] = []
    for manifest in manifests:
        (planned if manifest["metadata"].get("namespace") in absent else judged).append(manifest)
    return judged, planned


def label(manifest: Mapping[str, Any]) -> str:
    """How an object is called in messages: ``Deployment portal-stt/portal-stt``."""
    metadata = manifest["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{manifest['kind']} {place}{metadata.get('name', '?')}"


def diff(manifest: Manifest, change: Mapping[str, Any]) -> dict[str, Any]:
    """A diff entry for the terminal; `change` has ``before`` and ``after``. The values of Secrets are not in it."""
    name = label(manifest)
    return {
        "before_header": name,
        "after_header": name,
        "before": _text(manifest, change.get("before")),
        "after": _text(manifest, change.get("after")),
    }


def _text(manifest: Manifest, value: Any) -> str:
    if not value:
        return ""
    plain = json.loads(json.dumps(value, default=str))  # Ansible's own string types are unknown to the YAML writer
    if manifest["kind"] == "Secret":
        plain = {key: "(hidden)" if key in ("data", "stringData") else part for key, part in plain.items()}
    return str(yaml.safe_dump(plain, sort_keys=True, width=200))


_CONFLICT = re.compile(r'conflict with "(?P<manager>[^"]+)"')


def explain(subject: str, entry: Mapping[str, Any]) -> ApplyError:
    """A refusal in words. `entry`: kubernetes.core's result, whose error ends in the API server's Status object."""
    error = entry["error"]
    message = str(error.get("msg", error)).strip()
    status = _status(message) or {}
    causes = status.get("details", {}).get("causes", [])
    owned = [
        f"{cause['field']} is owned by {match['manager']}"
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict" and (match := _CONFLICT.search(cause.get("message", "")))
    ]
    if owned:
        return ApplyError(
            subject,
            "another field manager owns what is to be set.",
            "Leave the field to its owner (unset our variable), or take it over once with: kubectl apply "
            "--server-side --field-manager=portal-stt --force-conflicts.",
            evidence=tuple(owned),
        )
    said = str(status.get("message", message)).strip().split("\n")[0].rstrip(".")
    remedy = _REMEDIES.get(int(status.get("code", 0)), "Correct the variable that this value comes from.")
    if "immutable" in said or "updates to statefulset spec" in said:
        remedy = (
            "Kubernetes does not change this field of an existing object: give the object a new name, "
            "or remove the old one first (playbooks/teardown.yml keeps the models)."
        )
    elif not status:
        remedy = "Check address and credentials of the cluster (kubeconfig, context, K8S_AUTH_*)."
    return ApplyError(subject, f"the API server refuses it: {said}.", remedy)


_REMEDIES = {
    401: "The credentials are not accepted or have expired: renew the kubeconfig or token.",
    403: "Give the account this right, or look at the quota or admission policy that the message names.",
    404: "Create what the message names first, or correct its name.",
}


def _status(message: str) -> dict[str, Any] | None:
    start = message.find("{")
    if start < 0:
        return None
    try:
        parsed, _ = json.JSONDecoder().raw_decode(message[start:])
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) and parsed.get("kind") == "Status" else None
