# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The GPU nodes of a cluster, and those that are alike as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._findings import CollectionError
from .labels import read_node
from .node import GpuNode
from .operator import pages, read_operator

if TYPE_CHECKING:
    from .._kubernetes.cluster import Cluster


def selector_text(given: object) -> str:
    """A label selector in Kubernetes' text form, from a map of labels or from that form.

    Raises CollectionError for anything else.
    """
    from .._kubernetes.cluster import label_selector

    if isinstance(given, Mapping) and given:
        return label_selector(given)
    if isinstance(given, str) and given.strip():
        return given.strip()
    raise CollectionError(
        "label_selector",
        f"{given!r} is neither a map of labels nor a selector.",
        "Write for example: {nvidia.com/gpu.present: 'true'}",
    )


def gpu_nodes(
    cluster: Cluster,
    selector: str,
    tolerations: Sequence[Mapping[str, Any]] | None = None,
    resource: str = "",
    count: int = 1,
) -> list[GpuNode]:
    """The nodes that a label selector names, read page by page, with what is known of their GPUs.

    tolerations: of the pod that is to run there; None to leave taints alone.
    resource: the extended resource that the pod asks for; empty to take what a node offers most of.
    count: how many of it.

    Raises ClusterError, or CollectionError for a selector that the API server cannot read.
    """
    from .._kubernetes.cluster import ClusterError

    operator = read_operator(cluster)
    found = pages(cluster, "/api/v1/nodes", {"labelSelector": selector})
    try:
        return [read_node(node, operator, tolerations, resource, count) for node in found]
    except ClusterError as exc:
        if exc.status != 400:
            raise
        raise CollectionError(
            f"label_selector {selector!r}",
            f"the API server cannot read it: {exc.message}",
            "Try it with: kubectl get nodes -l SELECTOR",
        ) from exc


def pools(nodes: Iterable[GpuNode]) -> list[dict[str, Any]]:
    """The nodes grouped by pool, card, driver and sharing: one entry for all that are alike."""
    groups: dict[tuple[str, ...], list[GpuNode]] = {}
    for node in nodes:
        key = (node.pool, node.product, node.driver, node.cuda, node.sharing, node.architecture)
        groups.setdefault(key, []).append(node)
    return [
        {
            "pool": group[0].pool,
            "product": group[0].product,
            "driver": group[0].driver,
            "cuda": group[0].cuda,
            "compute_capability": group[0].compute_capability,
            "memory_mib": group[0].memory_mib,
            "sharing": group[0].sharing,
            "architecture": group[0].architecture,
            "nodes": len(group),
            "usable": sum(node.usable for node in group),
            "allocatable": sum(node.allocatable for node in group),
        }
        for _, group in sorted(groups.items())
    ]


def architectures(nodes: Iterable[GpuNode]) -> list[str]:
    """The processors of the nodes that the pod could be put on (``amd64``), each once."""
    return sorted({node.architecture for node in nodes if node.target and node.architecture})


def line(pool: Mapping[str, Any]) -> str:
    parts = [
        f"{pool['nodes']} x {pool['product'] or 'unknown GPU'}",
        f"{pool['memory_mib']} MiB" if pool["memory_mib"] else "",
        f"driver {pool['driver'] or 'unknown'}, CUDA {pool['cuda'] or 'unknown'}",
        pool["sharing"] if pool["sharing"] not in ("", "none") else "",
    ]
    return ", ".join(part for part in parts if part)
