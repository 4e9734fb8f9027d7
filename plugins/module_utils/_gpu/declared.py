# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""A memory budget that the scheduler can see: an extended resource of nodes, in MiB, that each tenant declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._findings import Finding, Status
from .._kubernetes.cluster import Cluster
from .._kubernetes.quantities import QuantityError, parse_quantity

_SET = "Set [memory.resource] to what they offer, or advertise it: it stands in status.capacity of a node."


def declared(
    cluster: Cluster, resource: str, quantity: str, selector: str, own: tuple[str, str], replicas: int = 1
) -> list[Finding]:
    """Whether nodes advertise as much as the pod declares, and have it left.

    selector: of the nodes. own: namespace and label ``app`` of our pods, whose share becomes free. Raises ClusterError.
    """
    wanted = int(parse_quantity(quantity))
    nodes = cluster.get("/api/v1/nodes", {"labelSelector": selector})["items"]
    pods = cluster.get("/api/v1/pods", {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"})["items"]
    offered = {
        str(node["metadata"]["name"]): _count((node.get("status") or {}).get("allocatable"), resource) for node in nodes
    }
    return [judged(resource, wanted, offered, taken(pods, resource, own), replicas)]


def taken(pods: Iterable[Mapping[str, Any]], resource: str, own: tuple[str, str]) -> dict[str, int]:
    """What pods of others hold of the resource, by node."""
    found: dict[str, int] = {}
    for pod in pods:
        meta, spec = pod["metadata"], pod.get("spec") or {}
        labels = meta.get("labels") or {}
        if not spec.get("nodeName") or (meta.get("namespace"), labels.get("app")) == own:
            continue
        amount = sum(
            _count((one.get("resources") or {}).get("limits"), resource) for one in spec.get("containers") or ()
        )
        before = [
            _count((one.get("resources") or {}).get("limits"), resource) for one in spec.get("initContainers") or ()
        ]
        found[spec["nodeName"]] = found.get(spec["nodeName"], 0) + max([amount, *before])
    return found


def judged(
    resource: str, wanted: int, offered: Mapping[str, int], held: Mapping[str, int], replicas: int = 1
) -> Finding:
    """offered: node → what it advertises. held: node → what others have of it."""
    subject = f"resource {resource}"
    most = max(offered.values(), default=0)
    if not most:
        return Finding(
            "gpu.memory_resource",
            Status.REFUSED,
            subject,
            "no GPU node advertises it: the pod would stay Pending.",
            _SET,
        )
    facts = tuple(
        f"{node}: {held.get(node, 0)} of {count} are taken by others" for node, count in offered.items() if count
    )
    if wanted > most:
        said = f"the pod declares {wanted}, and no node advertises more than {most}: it would stay Pending."
        return Finding(
            "gpu.memory_resource", Status.REFUSED, subject, said, "Lower [memory.resource], or advertise more.", facts
        )
    room = sum(max(0, count - held.get(node, 0)) // wanted if wanted else replicas for node, count in offered.items())
    if room < replicas:
        left = max(count - held.get(node, 0) for node, count in offered.items())
        said = f"the pod declares {wanted}, and no node has more than {max(left, 0)} left: it would stay Pending."
        if room:
            said = (
                f"{replicas} pods declare {wanted} each, and the nodes have room for {room}: the others stay Pending."
            )
        return Finding("gpu.memory_resource", Status.REFUSED, subject, said,
                       "Lower [memory.resource], or what the neighbours declare.", facts)  # fmt: skip
    return Finding(
        "gpu.memory_resource",
        Status.OK,
        subject,
        f"the nodes have room for what the pod declares, {wanted}.",
        "",
        facts,
    )


def _count(amounts: Any, resource: str) -> int:
    try:
        return int(parse_quantity(str((amounts or {}).get(resource, "0"))))
    except (QuantityError, AttributeError):
        return 0
