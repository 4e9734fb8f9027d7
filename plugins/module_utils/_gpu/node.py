# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""A GPU node, and what can be wrong with one. Brands: libnvidia-container, src/driver.c."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from .._findings import CollectionError
from .._text import plain

# The CUDA version that each driver branch brings (CUDA toolkit release notes, table 3).
BRANCH_CUDA = {
    470: "11.4",
    495: "11.5",
    510: "11.6",
    515: "11.7",
    520: "11.8",
    525: "12.0",
    530: "12.1",
    535: "12.2",
    545: "12.3",
    550: "12.4",
    555: "12.5",
    560: "12.6",
    565: "12.7",
    570: "12.8",
    575: "12.9",
    580: "13.0",
    590: "13.1",
    595: "13.2",
    610: "13.3",
    615: "13.4",
}

# No label names the brand. A data-centre card calls itself Nvidia, with old drivers Tesla, with a container
# library before 1.9 Unknown.
_DATA_CENTRE = ("Nvidia", "Tesla", "Unknown")
_BRANDS = (
    (re.compile(r"(NVIDIA-)?GeForce", re.I), ("GeForce", "GeForceRTX")),
    (re.compile(r"(NVIDIA-)?TITAN", re.I), ("TITAN", "TITANRTX")),
    (re.compile(r"(NVIDIA-)?Quadro", re.I), ("Quadro", "QuadroRTX", "Unknown")),
    (re.compile(r"NVIDIA-RTX", re.I), ("NvidiaRTX", "QuadroRTX", "Quadro", "Nvidia", "Unknown")),
    (re.compile(r"(NVIDIA-)?NVS", re.I), ("NVS",)),
)
ALL_BRANDS = (
    *("Quadro", "Tesla", "NVS", "GRID", "GeForce", "TITAN", "VApps", "VPC", "VCS", "VWS", "CloudGaming"),
    *("QuadroRTX", "NvidiaRTX", "Nvidia", "GeForceRTX", "TITANRTX", "Unknown"),
)
_VIRTUAL = ("GRID", "VApps", "VPC", "VCS", "VWS", "CloudGaming", *_DATA_CENTRE)

_NAMES_SHOWN = 5


_TEXTS = ("name", "pool", "product", "sharing", "architecture", "resource", "source", "runtime_mode", "driver_pod")
_COUNTS = ("memory_mib", "gpus", "replicas", "allocatable")


@dataclass(frozen=True)
class Card:
    """One of the kinds of GPU in a node where they are not all alike; its fields as in GpuNode."""

    product: str
    brands: tuple[str, ...] = ()
    compute_capability: str = ""


@dataclass(frozen=True)
class GpuNode:
    """A node with what is known of its GPUs; empty or 0 where nothing is.

    pool: the name of its node pool, where a provider's label has one.
    product: as gpu-feature-discovery writes it, without its -SHARED.
    brands: what its brand may be, as libnvidia-container spells it; one entry when it is known.
    driver: version; one number only (``570``) when just the branch is known.
    cuda, compute_capability: ``12.8``, ``7.5``.
    memory_mib: of one GPU. gpus: physical ones. replicas: seats a GPU (time-slicing, MPS).
    sharing: ``none``, ``time-slicing``, ``mps``, ``mig`` or empty.
    resource, allocatable: the extended resource and its count as the kubelet reports it.
    source: where driver and CUDA version come from.
    runtime_mode: ``cdi`` when the GPU Operator says so, else empty.
    cards: every kind of GPU in it, where they are not all alike; then what is said above is the first one's.
    driver_pod: what keeps the GPU Operator's driver pod there from being ready (``CrashLoopBackOff``), else empty.
    problems: what is wrong, one identifier each (keys of PROBLEMS).
    """

    name: str
    pool: str = ""
    product: str = ""
    brands: tuple[str, ...] = ()
    driver: str = ""
    cuda: str = ""
    compute_capability: str = ""
    memory_mib: int = 0
    gpus: int = 0
    replicas: int = 0
    sharing: str = ""
    architecture: str = ""
    resource: str = ""
    allocatable: int = 0
    source: str = ""
    runtime_mode: str = ""
    cards: tuple[Card, ...] = ()
    driver_pod: str = ""
    problems: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a pod could get a GPU there."""
        return self.allocatable > 0 and not _UNUSABLE.intersection(self.problems)

    @property
    def target(self) -> bool:
        """Whether the pod could ever be put there: what is merely out of order now may be back."""
        return not OUT_OF_REACH.intersection(self.problems)

    @property
    def card(self) -> str:
        """The node's GPU in a few words, for messages."""
        parts = (
            self.product or "GPU unknown",
            f"driver {self.driver or 'unknown'}",
            f"CUDA {self.cuda or 'unknown'}",
        )
        return ", ".join(parts)

    def as_result(self) -> dict[str, Any]:
        """The node as a module returns it, without brands that only follow from its product."""
        brands = () if self.brands == possible_brands(self.product) else self.brands
        # dataclasses.asdict copies deeply, which thousands of nodes feel
        return {**vars(self), "brands": brands, "cards": [vars(card) for card in self.cards], "problems": self.problems}

    @classmethod
    def from_result(cls, given: Mapping[str, Any]) -> GpuNode:
        """The node of a module's result, or of what an operator wrote by hand: a name and what is known.

        Raises CollectionError without a name.
        """
        if not given.get("name"):
            raise CollectionError(
                "nodes", "an entry has no name.", "Give the nodes that portal.stt.gpu_node_info returns."
            )
        known = {field.name: given[field.name] for field in fields(cls) if given.get(field.name) is not None}
        known.update({name: plain(known[name]) for name in _TEXTS if name in known})
        known.update({name: count_of(known[name]) for name in _COUNTS if name in known})
        for name in ("brands", "problems"):
            known[name] = _words(known.get(name, ()))
        known["cards"] = tuple(
            Card(
                plain(card.get("product", "")),
                _words(card.get("brands", ())) or possible_brands(str(card.get("product", ""))),
                readable(str(card.get("compute_capability", ""))),
            )
            for card in (one if isinstance(one, Mapping) else {"product": one} for one in known.get("cards") or ())
        )
        for name in ("driver", "cuda", "compute_capability"):
            known[name] = readable(str(known.get(name, "")))
        node = cls(**known)
        return replace(
            node,
            brands=node.brands or possible_brands(node.product),
            cuda=node.cuda or branch_cuda(node.driver),
        )


PROBLEMS: dict[str, tuple[str, str, str]] = {
    "not_ready": ("gpu.node_ready", "not Ready", "kubectl describe node NODE tells why."),
    "cordoned": ("gpu.node_ready", "cordoned", "When its maintenance is over: kubectl uncordon NODE"),
    "untolerated": (
        "gpu.taint",
        "a taint there keeps the pod away",
        "Add a toleration for it, or select other nodes: kubectl describe node NODE lists its taints.",
    ),
    "no_allocatable": (
        "gpu.allocatable",
        "labelled as a GPU node, but offers no GPU to pods: driver or device plugin does not run there",
        "kubectl get pods -A -o wide --field-selector spec.nodeName=NODE, then the log of the driver's and the "
        "device plugin's pod.",
    ),
    "other_resource": (
        "gpu.allocatable",
        "it offers its GPUs as another resource than the pod asks for",
        "Set [resource] to what it offers: kubectl describe node NODE",
    ),
    "too_few": (
        "gpu.allocatable",
        "it has fewer GPUs than the pod asks for",
        "Lower [count], or select nodes with more GPUs by [label_selector].",
    ),
    "driver_pod": (
        "gpu.driver_pod",
        "the pod with the driver is not ready there",
        "kubectl get pods -A -o wide -l app.kubernetes.io/component=nvidia-driver --field-selector spec.nodeName=NODE, "
        "then its log.",
    ),
    "driver_upgrade": (
        "gpu.driver_pod",
        "the GPU Operator is changing the driver there",
        "Wait for it: the label nvidia.com/gpu-driver-upgrade-state becomes upgrade-done.",
    ),
    "stale_labels": (
        "gpu.labels",
        "the driver started after gpu-feature-discovery wrote the labels: they may name an older driver",
        "Restart gpu-feature-discovery there (delete its pod), or let portal.stt.gpu_node_probe read the driver.",
    ),
    "no_labels": (
        "gpu.labels",
        "no label names the driver",
        "Install gpu-feature-discovery (the GPU Operator does), or let portal.stt.gpu_node_probe read the driver.",
    ),
    "partial_labels": (
        "gpu.labels",
        "labels name only the driver's branch, not its version",
        "Update gpu-feature-discovery to 0.15 or newer, or let portal.stt.gpu_node_probe read the driver.",
    ),
    "mixed": (
        "gpu.mixed",
        "its GPUs are not alike: the verdict is the worst of them, all else that is said is the first one's",
        "Put unlike cards into nodes of their own.",
    ),
    "mig_invalid": (
        "gpu.mig",
        "the MIG layout is invalid for the strategy single",
        "Give all GPUs of the node the same MIG layout: label nvidia.com/mig.config.",
    ),
}
OUT_OF_REACH = frozenset(("untolerated", "other_resource", "too_few"))
_UNUSABLE = OUT_OF_REACH | {"not_ready", "cordoned"}


def unlike(cards: Iterable[Card]) -> tuple[Card, ...]:
    """Each kind of GPU once where there are several; nothing where all are alike."""
    kinds = tuple(dict.fromkeys(cards))
    return kinds if len(kinds) > 1 else ()


@lru_cache(maxsize=128)
def possible_brands(product: str, virtual: bool = False) -> tuple[str, ...]:
    """The brands that a card of this product name may have for the runtime; empty without a name."""
    if virtual or product.startswith("GRID"):
        return _VIRTUAL
    for pattern, brands in _BRANDS:
        if pattern.match(product):
            return brands
    return _DATA_CENTRE if product else ()


def named(nodes: list[GpuNode]) -> str:
    """``node a`` or ``nodes a, b and 3 more``."""
    names = [node.name for node in nodes]
    if len(names) == 1:
        return f"node {names[0]}"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"nodes {', '.join(names[:_NAMES_SHOWN])}{more}"


def branch_cuda(driver: str) -> str:
    branch = driver.split(".")[0]
    return BRANCH_CUDA.get(int(branch), "") if branch.isdecimal() else ""


def readable(version: str) -> str:
    """The version, or nothing where it is none that the runtime could compare."""
    return version if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})*", version) else ""


def _words(given: str | Iterable[object]) -> tuple[str, ...]:
    return (plain(given),) if isinstance(given, str) else tuple(plain(one) for one in given)


def count_of(given: object) -> int:
    """A count; 0 for what is none."""
    text = str(given)
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0


def mapping(given: object) -> Mapping[str, Any]:
    """An object of the API; an empty one for what is none."""
    return given if isinstance(given, Mapping) else {}


def entries(given: object) -> list[Mapping[str, Any]]:
    """The objects of a list of the API, without what is none."""
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, (list, tuple)) else []
