# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Pods of others that a Deployment's selector takes in.

A Service, a NetworkPolicy and a PodDisruptionBudget know pods by labels alone, whoever made them: a stranger with the
labels of our server would get its calls, and lose its own way out.
"""

from __future__ import annotations

from collections.abc import Iterable

from .apply import ApplyError, label
from .cluster import Cluster, ClusterError, label_selector
from .objects import below, name_of, strings
from .ownership import Manifest, Object, controller, is_over
from .paths import Paths

MOST_PODS = 100
"""So many are asked for: our own are among them."""

MOST_NAMED = 10

_PART_OF = "app.kubernetes.io/part-of"
_HASH = "pod-template-hash"
"""Label that the Deployment's controller gives its pods; its ReplicaSet is called so after it."""

_LOOKED_AT = (400, 403, 404)
"""Statuses that say nothing about pods: labels that are none are refused with the Deployment, the account may not look,
there is no such namespace."""


def strangers(cluster: Cluster, manifests: Iterable[Manifest]) -> list[ApplyError]:
    """An error for each Deployment among the manifests that takes in pods of others. Raises ClusterError.

    A request for each Deployment.
    """
    looked = (_looked(cluster, one) for one in manifests if one["kind"] == "Deployment")
    return [error for error in looked if error]


def _looked(cluster: Cluster, deployment: Manifest) -> ApplyError | None:
    wanted = _selector(deployment)
    if not wanted:
        return None
    metadata = {"namespace": deployment["metadata"].get("namespace")}
    path = Paths(cluster).collection({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    query = {
        "labelSelector": label_selector(wanted),
        "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed",  # those of a Job could be many
        "limit": str(MOST_PODS),
    }
    try:
        listed = cluster.get(path, query)
    except ClusterError as error:
        if error.status in _LOOKED_AT:
            return None
        raise
    return taken_in(deployment, listed["items"])


def _selector(deployment: Object) -> dict[str, str]:
    """The labels that it selects by; none where it has expressions, too, which take in fewer than the labels do."""
    selector = below(deployment, "spec", "selector")
    return {} if selector.get("matchExpressions") else strings(selector, "matchLabels")


def taken_in(deployment: Manifest, pods: Iterable[Object]) -> ApplyError | None:
    """What stands against a Deployment whose selector finds these pods of its namespace; None where all are its own."""
    found = sorted(map(_named, (one for one in pods if _lives(one) and not _ours(one, deployment))))
    if not found:
        return None
    rest = len(found) - MOST_NAMED
    return ApplyError(
        label(deployment),
        f"pods that are not its own have its label {label_selector(_selector(deployment))}, too: they would get its "
        "calls, and be under its network policy.",
        "Choose another [spec.selector.matchLabels], or another [metadata.name] where the label follows that; or give "
        "those pods another label.",
        evidence=(*found[:MOST_NAMED], *([f"and {rest} more"] if rest > 0 else [])),
    )


def _lives(pod: Object) -> bool:
    return not is_over(pod) and not below(pod, "metadata").get("deletionTimestamp")


def _ours(pod: Object, deployment: Object) -> bool:
    """Whether it is of the same installation, or the Deployment's: of that name there is one in a namespace."""
    labels, marks = strings(pod, "metadata", "labels"), strings(deployment, "metadata", "labels")
    if _PART_OF in marks and labels.get(_PART_OF) == marks[_PART_OF]:
        return True
    hashed = labels.get(_HASH, "")
    kind, name, _ = controller(pod)
    return (kind, name) == ("ReplicaSet", f"{name_of(deployment)}-{hashed}") and hashed.isalnum()


def _named(pod: Object) -> str:
    of = " ".join(controller(pod)[:2]).strip()
    return f"Pod {name_of(pod)}" + (f" of {of}" if of else "")
