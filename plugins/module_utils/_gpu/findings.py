# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What the operator should know of the GPU nodes."""

from __future__ import annotations

from collections.abc import Iterable

from .._findings import Finding, Status
from .listing import line, pools
from .node import PROBLEMS, GpuNode, named

_ALWAYS_WARNING = frozenset(("driver_upgrade", "stale_labels", "no_labels", "partial_labels", "mixed"))


def findings(nodes: list[GpuNode], selector: str) -> list[Finding]:
    """What the operator should know of the nodes: one finding a problem, however many nodes have it."""
    if not nodes:
        return [
            Finding(
                "gpu.nodes",
                Status.REFUSED,
                f"nodes with {selector}",
                "there are none: no pod that asks for a GPU could run.",
                "Label the GPU nodes (the GPU Operator does: nvidia.com/gpu.present=true), or name another label.",
            )
        ]
    usable = [node for node in nodes if node.usable]
    # While one node can take the pod, what is wrong with the others is to know, not a reason to stop.
    severity = Status.WARNING if usable else Status.REFUSED
    found = []
    if usable:
        seats = sum(node.allocatable for node in usable)
        found.append(
            Finding(
                "gpu.nodes",
                Status.OK,
                named(usable),
                f"Ready, with {seats} allocatable {usable[0].resource}.",
                evidence=tuple(line(pool) for pool in pools(usable)),
            )
        )
    for problem, (check, message, remedy) in PROBLEMS.items():
        having = [node for node in nodes if problem in node.problems]
        if having:
            status = Status.WARNING if problem in _ALWAYS_WARNING else severity
            subject = named(having)
            remedy = remedy.replace("NODE", having[0].name)
            evidence = sorted({node.driver_pod for node in having}) if problem == "driver_pod" else ()
            found.append(Finding(check, status, subject, f"{message}.", remedy, tuple(evidence)))
    return found


def mixed(node: GpuNode) -> list[Finding]:
    """The finding for a node whose GPUs are not alike, with the kinds; none for any other."""
    if not node.cards:
        return []
    check, message, remedy = PROBLEMS["mixed"]
    kinds = tuple(f"{card.product}, compute capability {card.compute_capability or 'unknown'}" for card in node.cards)
    return [Finding(check, Status.WARNING, f"node {node.name}", f"{message}.", remedy, kinds)]


def placement(nodes: Iterable[GpuNode], replicas: int, *, rolling: bool) -> list[Finding]:
    """Whether servers would be in one card's memory with each other, since a seat on a shared card is not a card.

    replicas: servers. rolling: old and new ones run at once during an update.
    """
    usable = [node for node in nodes if node.usable]
    shared = [node for node in usable if node.replicas > 1]
    # A MIG instance has memory of its own.
    cards = sum(node.allocatable // max(node.replicas, 1) if node.sharing == "mig" else node.gpus for node in usable)
    found = []
    if rolling and shared:
        found.append(
            Finding(
                "gpu.placement",
                Status.WARNING,
                named(shared),
                "pods share cards there: old and new server can be in one card's memory during a RollingUpdate.",
                "Set [spec.strategy.type] to Recreate, or select nodes with whole GPUs by [label_selector].",
            )
        )
    if replicas > cards > 0:
        found.append(
            Finding(
                "gpu.placement",
                Status.WARNING,
                named(usable),
                f"{replicas} servers for {cards} GPU{'s' if cards > 1 else ''}: some are in the same card's memory.",
                "Set [replicas] to the number of cards at most, or see that a card has room for several.",
            )
        )
    return found
