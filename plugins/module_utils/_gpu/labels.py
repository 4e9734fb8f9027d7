# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""A node object, read: gpu-feature-discovery's labels of all generations, the GPU Operator's, device plugin resources.

Labels: k8s-device-plugin, internal/lm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._kubernetes import objects as observed
from .node import GpuNode, branch_cuda, possible_brands, readable
from .operator import DriverPod, Operator

PRESENT = {"nvidia.com/gpu.present": "true"}
_POOL_LABELS = (
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "node.kubernetes.io/instance-type",
)
_RESOURCES = ("nvidia.com/gpu", "nvidia.com/gpu.shared")
_MIG = "nvidia.com/mig-"  # one resource a profile, where the MIG strategy is mixed
# Kubernetes puts these taints on a node that is not Ready or cordoned, which are findings of their own.
_TOLD_OTHERWISE = frozenset(f"node.kubernetes.io/{name}" for name in ("not-ready", "unreachable", "unschedulable"))


def read_node(
    node: Mapping[str, Any],
    operator: Operator | None = None,
    tolerations: Sequence[Mapping[str, Any]] | None = None,
    wanted: str = "",
    count: int = 1,
) -> GpuNode:
    """A node object of the API, read. tolerations, wanted, count: as in `gpu_nodes`, `wanted` its `resource`."""
    operator = operator or Operator()
    metadata, status, spec = node["metadata"], node.get("status", {}), node.get("spec", {})
    name, labels = metadata["name"], metadata.get("labels") or {}
    device = (operator.devices or {}).get(name)
    pod = (operator.driver_pods or {}).get(name)
    product = _label(labels, "gpu.product")
    driver, cuda, source = _driver(labels, device)
    resource, allocatable = _resource(status)
    if device and not resource:
        resource, allocatable = device.resource, device.gpus
    others = 0
    if wanted and resource not in ("", wanted):
        others = allocatable
        resource, allocatable = wanted, _quantity(status.get("allocatable", {}).get(wanted))
    problems = [*_unfit(spec, status, tolerations), *_doubts(labels, driver, allocatable, others, pod)]
    if 0 < allocatable < count:
        problems.append("too_few")
    if device:
        problems += device.problems
    return GpuNode(
        name=name,
        pool=next((labels[label] for label in _POOL_LABELS if labels.get(label)), ""),
        product=product.removesuffix("-SHARED") or (device.product if device else ""),
        brands=device.brands
        if device and device.brands
        else possible_brands(product, _label(labels, "vgpu.present") == "true"),
        driver=driver,
        cuda=cuda,
        compute_capability=_version(labels, "gpu.compute.major", "gpu.compute.minor")
        or (device.compute_capability if device else ""),
        memory_mib=_count(_label(labels, "gpu.memory")) or (device.memory_mib if device else 0),
        gpus=_count(_label(labels, "gpu.count")) or (device.gpus if device else 0),
        replicas=_count(_label(labels, "gpu.replicas")),
        sharing=_sharing(labels, resource) or (device.sharing if device else ""),
        architecture=status.get("nodeInfo", {}).get("architecture", "") or labels.get("kubernetes.io/arch", ""),
        resource=resource,
        allocatable=allocatable,
        source=source,
        runtime_mode=operator.runtime_mode,
        cards=device.cards if device else (),
        driver_pod=pod.trouble if pod else "",
        problems=tuple(problems),
    )


def _unfit(
    spec: Mapping[str, Any], status: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]] | None
) -> Iterator[str]:
    """What keeps pods away."""
    if not any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions", ())):
        yield "not_ready"
    if spec.get("unschedulable"):
        yield "cordoned"
    if tolerations is not None and _kept_away(spec.get("taints") or (), tolerations):
        yield "untolerated"


def _doubts(
    labels: Mapping[str, str], driver: str, allocatable: int, others: int, pod: DriverPod | None
) -> Iterator[str]:
    """What is wrong with its GPUs, or with what is said of them. others: GPUs under another name than the wanted."""
    if not allocatable:
        yield "other_resource" if others else "no_allocatable"
    if pod and pod.trouble:
        yield "driver_pod"
    if _label(labels, "gpu-driver-upgrade-state") not in ("", "upgrade-done") or _label(
        labels, "gpu.deploy.driver"
    ).startswith("paused"):
        yield "driver_upgrade"
    labelled = _count(_label(labels, "gfd.timestamp"))
    if pod and labelled and pod.since > labelled:
        yield "stale_labels"
    if not driver:
        yield "no_labels"
    elif "." not in driver:
        yield "partial_labels"
    if "MIG-INVALID" in _label(labels, "gpu.product"):
        yield "mig_invalid"


def _kept_away(taints: Iterable[Mapping[str, Any]], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a taint keeps pods away that no toleration covers."""
    left = observed.untolerated(observed.taints(taints), observed.tolerations(tolerations))
    return any(taint.key not in _TOLD_OTHERWISE for taint in left)


def _driver(labels: Mapping[str, str], device: GpuNode | None) -> tuple[str, str, str]:
    """Driver, its CUDA version, and where they come from: the first source that knows the driver."""
    new = (_label(labels, "cuda.driver-version.full"), _label(labels, "cuda.runtime-version.full"))
    slices = (device.driver, device.cuda) if device else ("", "")
    old = (
        _version(labels, "cuda.driver.major", "cuda.driver.minor", "cuda.driver.rev"),
        _version(labels, "cuda.runtime.major", "cuda.runtime.minor"),
    )
    for source, versions in (
        ("gpu-feature-discovery", new),
        ("ResourceSlice", slices),
        ("gpu-feature-discovery before 0.15", old),
    ):
        driver, cuda = map(readable, versions)
        if driver and cuda:
            return driver, cuda, source
        if driver:
            cuda = branch_cuda(driver)
            return driver, cuda, f"{source}, CUDA version by the driver's branch" if cuda else source
    return "", next(filter(None, map(readable, (new[1], slices[1], old[1]))), ""), ""


def _sharing(labels: Mapping[str, str], resource: str) -> str:
    if "-MIG-" in _label(labels, "gpu.product") or resource.startswith(_MIG):
        return "mig"
    strategy = _label(labels, "gpu.sharing-strategy")
    if strategy:
        return strategy
    # Before 0.15 there was no such label; time-slicing was the only sharing, and showed in the product's name.
    return "time-slicing" if _label(labels, "gpu.product").endswith("-SHARED") else ""


def _resource(status: Mapping[str, Any]) -> tuple[str, int]:
    capacity, allocatable = status.get("capacity", {}), status.get("allocatable", {})
    offered = [name for name in capacity if name in _RESOURCES or name.startswith(_MIG)]
    if not offered:
        return "", 0
    name = max(offered, key=lambda resource: (_quantity(allocatable.get(resource)), resource in _RESOURCES))
    return name, _quantity(allocatable.get(name))


def _quantity(value: object) -> int:
    """A count as Kubernetes writes it: canonical form turns 5000 into ``5k``."""
    text = str(value or "0")
    factor = {"k": 1000, "M": 1000_000}.get(text[-1:], 1)
    return _count(text.rstrip("kM")) * factor


def _label(labels: Mapping[str, str], name: str) -> str:
    return labels.get(f"nvidia.com/{name}", "")


def _version(labels: Mapping[str, str], *names: str) -> str:
    """Labels joined by dots up to the first that is missing."""
    parts: list[str] = []
    for name in names:
        value = _label(labels, name)
        if not value:
            break
        parts.append(value)
    return ".".join(parts)


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0
