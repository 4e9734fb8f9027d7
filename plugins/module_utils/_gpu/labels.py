# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""A node object, read: gpu-feature-discovery's labels of all generations, the GPU Operator's, device plugin resources.

Labels: k8s-device-plugin, internal/lm. What has not the type or form that Kubernetes gives it is as if it were absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._kubernetes import objects as observed
from .._kubernetes.quantities import QuantityError, parse_quantity
from .._text import plain
from .node import GpuNode, branch_cuda, count_of, entries, mapping, possible_brands, readable
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
# What other device plugins for NVIDIA cards count them by: Volcano, HAMi, Alibaba, Tencent.
_OTHERS = re.compile(r"volcano\.sh/vgpu-number|nvidia\.com/vgpu|aliyun\.com/gpu-(?:mem|count)|tencent\.com/vcuda-core")
_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")  # of a label
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
    metadata, status, spec = mapping(node.get("metadata")), mapping(node.get("status")), mapping(node.get("spec"))
    name, labels = plain(metadata.get("name") or "?", 253), mapping(metadata.get("labels"))
    device = (operator.devices or {}).get(name)
    pod = (operator.driver_pods or {}).get(name)
    product = _label(labels, "gpu.product")
    driver, cuda, source = _driver(labels, device)
    resource, allocatable, others = _resource(status, device, wanted)
    problems = [*_unfit(spec, status, tolerations), *_doubts(labels, driver, allocatable, others, pod)]
    if 0 < allocatable < count:
        problems.append("too_few")
    found = GpuNode(
        name=name,
        pool=next(filter(None, (_value(labels, label) for label in _POOL_LABELS)), ""),
        product=product.removesuffix("-SHARED"),
        brands=possible_brands(product, _label(labels, "vgpu.present") == "true"),
        driver=driver,
        cuda=cuda,
        compute_capability=readable(_version(labels, "gpu.compute.major", "gpu.compute.minor")),
        memory_mib=count_of(_label(labels, "gpu.memory")),
        gpus=count_of(_label(labels, "gpu.count")),
        replicas=count_of(_label(labels, "gpu.replicas")),
        sharing=_sharing(labels, resource),
        architecture=_value(mapping(status.get("nodeInfo")), "architecture") or _value(labels, "kubernetes.io/arch"),
        resource=resource,
        allocatable=allocatable,
        source=source,
        runtime_mode=operator.runtime_mode,
        driver_pod=pod.trouble if pod else "",
        problems=tuple(problems),
    )
    return _with_device(found, device) if device else found


def _with_device(node: GpuNode, device: GpuNode) -> GpuNode:
    """The node with what its ResourceSlices say where its labels say nothing; brands and kinds of card are theirs."""
    return replace(
        node,
        product=node.product or device.product,
        brands=device.brands or node.brands,
        compute_capability=node.compute_capability or device.compute_capability,
        memory_mib=node.memory_mib or device.memory_mib,
        gpus=node.gpus or device.gpus,
        sharing=node.sharing or device.sharing,
        cards=device.cards,
        problems=(*node.problems, *device.problems),
    )


def _unfit(
    spec: Mapping[str, Any], status: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]] | None
) -> Iterator[str]:
    """What keeps pods away."""
    conditions = entries(status.get("conditions"))
    if not any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
        yield "not_ready"
    if spec.get("unschedulable"):
        yield "cordoned"
    if tolerations is not None and _kept_away(spec.get("taints"), tolerations):
        yield "untolerated"


def _doubts(
    labels: Mapping[str, Any], driver: str, allocatable: int, others: int, pod: DriverPod | None
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
    labelled = count_of(_label(labels, "gfd.timestamp"))
    if pod and labelled and pod.since > labelled:
        yield "stale_labels"
    if not driver:
        yield "no_labels"
    elif "." not in driver:
        yield "partial_labels"
    if "MIG-INVALID" in _label(labels, "gpu.product"):
        yield "mig_invalid"


def _kept_away(given: object, tolerations: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a taint keeps pods away that no toleration covers; one that cannot be read does."""
    taints = entries(given)
    if given and (not taints or not all(_is_taint(one) for one in taints)):
        return True
    left = observed.untolerated(observed.taints(taints), observed.tolerations(tolerations))
    return any(taint.key not in _TOLD_OTHERWISE for taint in left)


def _is_taint(one: Mapping[str, Any]) -> bool:
    return all(isinstance(one.get(name), str) for name in ("key", "effect")) and isinstance(
        one.get("value", ""), (str, type(None))
    )


def _driver(labels: Mapping[str, Any], device: GpuNode | None) -> tuple[str, str, str]:
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


def _sharing(labels: Mapping[str, Any], resource: str) -> str:
    if "-MIG-" in _label(labels, "gpu.product") or resource.startswith(_MIG):
        return "mig"
    strategy = _label(labels, "gpu.sharing-strategy")
    if strategy:
        return strategy
    # Before 0.15 there was no such label; time-slicing was the only sharing, and showed in the product's name.
    return "time-slicing" if _label(labels, "gpu.product").endswith("-SHARED") else ""


def _resource(status: Mapping[str, Any], device: GpuNode | None, wanted: str) -> tuple[str, int, int]:
    """The resource by which the node's GPUs count, how many there are, and how many under another name than wanted."""
    capacity, allocatable = mapping(status.get("capacity")), mapping(status.get("allocatable"))
    if wanted and (wanted in capacity or wanted in allocatable):
        return wanted, _quantity(allocatable.get(wanted)), 0
    offered = [name for name in capacity if name in _RESOURCES or name.startswith(_MIG) or _OTHERS.fullmatch(name)]
    if offered:
        counts = {name: _quantity(allocatable.get(name)) for name in offered}
        name = max(
            offered, key=lambda one: (counts[one] > 0, not _OTHERS.fullmatch(one), counts[one], one in _RESOURCES)
        )
        count = counts[name]
    elif device:
        name, count = device.resource, device.gpus
    else:
        return "", 0, 0
    return (wanted, 0, count) if wanted else (name, count, 0)


def _quantity(value: object) -> int:
    """A count as Kubernetes writes it: canonical form turns 5000 into ``5k``."""
    try:
        return max(0, int(parse_quantity(str(value))))
    except QuantityError:
        return 0


def _label(labels: Mapping[str, Any], name: str) -> str:
    return _value(labels, f"nvidia.com/{name}")


def _value(labels: Mapping[str, Any], name: str) -> str:
    """A label's value; empty where there is none, or none that Kubernetes would take."""
    value = labels.get(name)
    return value if isinstance(value, str) and _VALUE.fullmatch(value) else ""


def _version(labels: Mapping[str, Any], *names: str) -> str:
    """Labels joined by dots up to the first that is missing."""
    parts: list[str] = []
    for name in names:
        value = _label(labels, name)
        if not value:
            break
        parts.append(value)
    return ".".join(parts)
