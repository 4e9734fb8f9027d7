# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Which node comes nearest to taking a pod that no node takes, and what is in the way there.

The scheduler counts reasons over all nodes of the cluster, and stops at the first reason that a node has (except that
it names all resources that are short): so its counts do not say which node lacks least. The filters are those of
k8s.io/kubernetes pkg/scheduler/framework/plugins: nodeunschedulable, tainttoleration, nodeaffinity, noderesources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from .._kubernetes.objects import Container, Node, Object, Pod, entries, text, untolerated

Amounts = Mapping[str, Decimal]

_NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_CORDONED = "node.kubernetes.io/unschedulable"
_BYTES = ("memory", "ephemeral-storage", "hugepages-")
_ANSWERED = re.compile(
    r"Insufficient \S+|Too many pods|.*\btaint\b.*|.*node affinity/selector|.*node selector|"
    r"node\(s\) were unschedulable|node\(s\) (?:were not|weren't) ready",
    re.IGNORECASE,
)
"""Reasons that `obstacles` can tell of a node by itself."""


@dataclass(frozen=True)
class Count:
    """One of the scheduler's counts: how many nodes have this reason."""

    nodes: int
    reason: str


@dataclass(frozen=True)
class Nearest:
    """The node with the fewest obstacles. certain: all that can be in the way was looked up."""

    node: str
    obstacles: tuple[str, ...]
    certain: bool

    def __str__(self) -> str:
        if len(self.obstacles) == 1:
            only = "only one thing" if self.certain else "one thing"
            return f"nearest: node {self.node}, {only} is in the way: {self.obstacles[0]}"
        return f"nearest: node {self.node}, {len(self.obstacles)} things are in the way: {'; '.join(self.obstacles)}"


def counts(message: str) -> tuple[Count, ...]:
    """The counts in the scheduler's sentence (`0/5 nodes are available: 1 Insufficient cpu, 4 …. preemption: …`)."""
    head = re.split(r"\.?\s*(?:no new claims to deallocate, )?preemption:|\.\s+no new claims to deallocate", message)[0]
    _, _, told = head.partition("nodes are available:")
    found = re.finditer(r"(?:^|,\s*)(\d{1,9}) (.+?)(?=,\s*\d{1,9} |$)", told.strip(" .,\n"), re.DOTALL)
    return tuple(Count(int(one[1]), " ".join(one[2].split())) for one in found)


def nearest(
    pod: Pod, message: str, nodes: Iterable[Node], used: Mapping[str, Amounts], *, limit: int = 5
) -> Nearest | None:
    """The node with the fewest obstacles to a pod; None where none is known, or nothing is known to be in its way.

    message: the scheduler's. nodes: candidates. used: what the pods of a node ask for together, for those that are
    known. limit: a node with more obstacles is near in no sense.
    """
    unknown = tuple(one.reason for one in counts(message) if not _ANSWERED.fullmatch(one.reason))
    found = []
    for node in nodes:
        known = obstacles(pod, node, used.get(node.name))
        if not known and unknown:
            known = (f"{' or '.join(unknown)} (the scheduler's words)",)
        if 0 < len(known) <= limit:
            found.append(Nearest(node.name, known, not unknown and node.name in used))
    return min(found, key=lambda one: (len(one.obstacles), one.node), default=None)


def obstacles(pod: Pod, node: Node, used: Amounts | None = None) -> tuple[str, ...]:
    """What keeps a pod from a node, one clause each. used: what its pods ask for together; None: not known."""
    return (*barriers(pod, node), *_shortages(pod, node, used))


def barriers(pod: Pod, node: Node) -> tuple[str, ...]:
    """What keeps a pod from a node, whatever is free there: the filters before that of resources."""
    found = [] if node.ready.status == "True" else ["it is not ready"]
    if node.unschedulable and not _tolerates_cordon(pod):
        found.append("it is cordoned")
    told = (*_NOT_READY, _CORDONED) if found else ()
    found += [
        f"taint {one} is not tolerated" for one in untolerated(node.taints, pod.tolerations) if one.key not in told
    ]
    found += [_label(node, name, value) for name, value in pod.selector.items() if node.labels.get(name) != value]
    if pod.terms and not any(_fits(term, node) for term in pod.terms):
        found.append("the pod's required node affinity does not fit it")
    return tuple(found)


def _shortages(pod: Pod, node: Node, used: Amounts | None) -> Iterator[str]:
    for name, wanted in needs(pod).items():
        most = amount(node.allocatable.get(name, "0"))
        free = most - (used or {}).get(name, Decimal(0))
        if wanted > free:
            of = (
                f"{shown(name, max(free, Decimal(0)))} of its {shown(name, most)} free"
                if used
                else f"it has {shown(name, most)}"
            )
            yield f"{shown(name, wanted)} {name} asked for, {of}"


def needs(pod: Pod) -> dict[str, Decimal]:
    """What a pod asks a node for: containers together, or the largest init container, whichever is more.

    Sidecars run on beside what comes after them (k8s.io/component-helpers resource.PodRequests).
    """
    stay: dict[str, Decimal] = {}
    start: dict[str, Decimal] = {}
    for one in pod.containers:
        mine = _asked(one)
        if one.init and not one.stays:
            for name, much in mine.items():
                start[name] = max(start.get(name, Decimal(0)), much + stay.get(name, Decimal(0)))
        else:
            _add(stay, mine)
    total = {name: max(stay.get(name, Decimal(0)), start.get(name, Decimal(0))) for name in {**stay, **start}}
    _add(total, {name: amount(much) for name, much in pod.overhead.items()})
    return {"pods": Decimal(1), **{name: much for name, much in sorted(total.items()) if much > 0}}


def total(pods: Iterable[Pod]) -> dict[str, Decimal]:
    """What pods ask for together."""
    found: dict[str, Decimal] = {}
    for pod in pods:
        _add(found, needs(pod))
    return found


def amount(quantity: str) -> Decimal:
    """A Kubernetes quantity as a number; 0 for what is none."""
    from kubernetes.utils.quantity import parse_quantity

    try:
        found = Decimal(parse_quantity(quantity))
    except (ValueError, InvalidOperation):
        return Decimal(0)
    return found if found.is_finite() else Decimal(0)


def shown(name: str, much: Decimal) -> str:
    """An amount as an operator reads it."""
    if name.startswith(_BYTES):
        unit, size = next(((u, s) for u, s in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)) if much >= s), ("", 1))
        return f"{round(much / size, 1):f}".removesuffix(".0") + unit
    return f"{round(much, 3).normalize():f}"


def _asked(container: Container) -> dict[str, Decimal]:
    """A limit counts as a request where there is none of its own."""
    return {name: amount(much) for name, much in {**container.limits, **container.requests}.items()}


def _add(to: dict[str, Decimal], more: Amounts) -> None:
    for name, much in more.items():
        to[name] = to.get(name, Decimal(0)) + much


def _tolerates_cordon(pod: Pod) -> bool:
    return any(one.exists and one.key in ("", _CORDONED) for one in pod.tolerations)


def _label(node: Node, name: str, value: str) -> str:
    has = f"it has {name}={node.labels[name]}" if name in node.labels else "it has no such label"
    return f"label {name}={value} asked for, {has}"


def _fits(term: Object, node: Node) -> bool:
    """Whether a node selector term fits; one of no expressions fits nothing (NodeSelectorTerm)."""
    on_labels = [_holds(one, node.labels) for one in entries(term, "matchExpressions")]
    on_fields = [_holds(one, {"metadata.name": node.name}) for one in entries(term, "matchFields")]
    return bool(on_labels or on_fields) and all(on_labels) and all(on_fields)


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    has, operator = labels.get(text(expression.get("key"))), expression.get("operator")
    raw = expression.get("values")
    values = [text(one) for one in raw] if isinstance(raw, list) else []
    if operator == "In":
        return has in values
    if operator == "NotIn":
        return has not in values
    if operator == "Exists":
        return has is not None
    if operator == "DoesNotExist":
        return has is None
    if has is None or not values or not all(re.fullmatch(r"-?\d{1,18}", one) for one in (has, values[0])):
        return False
    return int(has) > int(values[0]) if operator == "Gt" else int(has) < int(values[0])
