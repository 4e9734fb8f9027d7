# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What the GPU Operator's objects and the ResourceSlices of NVIDIA's DRA driver say of the nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .._kubernetes.quantities import QuantityError, parse_quantity
from .._text import plain
from .node import Card, GpuNode, count_of, entries, mapping, possible_brands, readable, unlike

if TYPE_CHECKING:
    from .._kubernetes.cluster import Cluster


PAGE = 500  # nodes a request: what kubectl takes
_NAMESPACE = "gpu-operator"  # of the GPU Operator, where its ClusterPolicy does not tell
_IS_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DRIVER_CONTAINER = "nvidia-driver-ctr"
_CDI_BY_DEFAULT = (25, 10)  # since this release of the GPU Operator cdi.enabled says it all, cdi.default nothing
_DRA_VERSIONS = ("v1", "v1beta2", "v1beta1")  # Kubernetes 1.34, 1.33, 1.32


@dataclass(frozen=True)
class DriverPod:
    """The GPU Operator's driver container on a node: since when it runs (Unix time), or else why it is not ready."""

    node: str
    since: int
    trouble: str


@dataclass(frozen=True)
class Operator:
    """What the GPU Operator's own objects say of the nodes: all of them optional."""

    runtime_mode: str = ""
    driver_pods: Mapping[str, DriverPod] | None = None
    devices: Mapping[str, GpuNode] | None = None


def pages(cluster: Cluster, path: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        page = cluster.get(path, {**query, "limit": PAGE, **({"continue": token} if token else {})})
        yield from map(dict, entries(page.get("items")))
        before, token = token, mapping(page.get("metadata")).get("continue") or ""
        if not isinstance(token, str) or token in ("", before):
            return


def read_operator(cluster: Cluster) -> Operator:
    """The GPU Operator's objects, as far as they are there and may be read."""
    policies = _optional(cluster, "/apis/nvidia.com/v1/clusterpolicies")
    slices = _optional(
        cluster,
        *(f"/apis/resource.k8s.io/{version}/resourceslices" for version in _DRA_VERSIONS),
        query={"fieldSelector": "spec.driver=gpu.nvidia.com"},
    )
    namespaces = (mapping(policy.get("status")).get("namespace") for policy in policies)
    namespace = next((one for one in namespaces if isinstance(one, str) and _IS_NAMESPACE.fullmatch(one)), _NAMESPACE)
    pods = _optional(
        cluster,
        f"/api/v1/namespaces/{namespace}/pods",
        query={"labelSelector": "app.kubernetes.io/component=nvidia-driver"},
    )
    return Operator(
        runtime_mode="cdi" if any(says_cdi(policy) for policy in policies) else "",
        driver_pods={pod.node: pod for pod in map(read_driver_pod, pods) if pod.node},
        devices=read_devices(slices),
    )


def _optional(cluster: Cluster, *paths: str, query: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """What is at the first of these paths that the API server has; nothing where it has none, or may not be read."""
    from .._kubernetes.cluster import ClusterError

    for path in paths:
        try:
            return list(pages(cluster, path, query or {}))
        except ClusterError as exc:
            if exc.status not in (403, 404):  # not installed, or not ours to read: the labels must do
                raise
    return []


def says_cdi(policy: Mapping[str, Any]) -> bool:
    """Whether a ClusterPolicy makes CDI the mode of the nodes' container runtime."""
    cdi = mapping(mapping(policy.get("spec")).get("cdi"))
    labels = mapping(mapping(policy.get("metadata")).get("labels"))
    version = re.match(r"v?(\d{1,4})\.(\d{1,4})", str(labels.get("app.kubernetes.io/version", "")))
    new = version is not None and (int(version[1]), int(version[2])) >= _CDI_BY_DEFAULT
    # The API server fills in default: false, whatever the release.
    return cdi.get("enabled") is True and (new or cdi.get("default") is not False)


def read_driver_pod(pod: Mapping[str, Any]) -> DriverPod:
    """The GPU Operator's driver container, of its pod."""
    statuses = entries(mapping(pod.get("status")).get("containerStatuses"))
    status = next((one for one in statuses if one.get("name") == _DRIVER_CONTAINER), next(iter(statuses), {}))
    state = mapping(status.get("state"))
    ended = mapping(state.get("waiting")) or mapping(state.get("terminated"))
    reason = plain(ended.get("reason") or "its container is not ready", 100)
    return DriverPod(
        node=plain(mapping(pod.get("spec")).get("nodeName") or "", 253),
        since=_unix(mapping(state.get("running")).get("startedAt")),
        trouble="" if status.get("ready") is True else f"{reason}, {count_of(status.get('restartCount', 0))} restarts",
    )


def _unix(given: object) -> int:
    try:
        return int(datetime.fromisoformat(str(given)).timestamp()) if given else 0
    except (ValueError, OverflowError):
        return 0


def read_devices(slices: Iterable[Mapping[str, Any]]) -> dict[str, GpuNode]:
    """The first GPU of each node's ResourceSlices, in the attributes of NVIDIA's DRA driver; all kinds where unlike."""
    found: dict[str, GpuNode] = {}
    for entry in slices:
        spec = mapping(entry.get("spec"))
        name = plain(spec.get("nodeName") or "", 253)
        for given in entries(spec.get("devices")) if name else ():
            device = _device(name, mapping(given.get("basic")) or given)  # v1beta1 has it one level deeper
            if device:
                found[name] = _one_more(found[name], device) if name in found else device
    return found


def _device(node: str, given: Mapping[str, Any]) -> GpuNode | None:
    """A node with one GPU, by the device's attributes; None for what is none."""
    attributes = {
        name: plain(next(iter(mapping(value).values()), ""), 100)
        for name, value in mapping(given.get("attributes")).items()
    }
    kind = attributes.get("type")
    if kind not in ("gpu", "mig"):
        return None
    memory = mapping(mapping(given.get("capacity")).get("memory")).get("value")
    return GpuNode(
        name=node,
        product=attributes.get("productName", "").replace(" ", "-"),
        brands=(attributes["brand"],) if attributes.get("brand") else (),
        driver=readable(attributes.get("driverVersion", "")),
        cuda=_first_two(attributes.get("cudaDriverVersion", "")),
        compute_capability=_first_two(attributes.get("cudaComputeCapability", "")),
        memory_mib=_mebibytes(memory),
        gpus=1,
        sharing="mig" if kind == "mig" else "",
        resource="gpu.nvidia.com",
    )


def _one_more(first: GpuNode, device: GpuNode) -> GpuNode:
    kinds = unlike([*(first.cards or [_card(first)]), _card(device)])
    return replace(first, gpus=first.gpus + 1, cards=kinds, problems=("mixed",) if kinds else ())


def _card(device: GpuNode) -> Card:
    return Card(device.product, device.brands or possible_brands(device.product), device.compute_capability)


def _first_two(version: str) -> str:
    return readable(".".join(version.split(".")[:2]))


def _mebibytes(quantity: object) -> int:
    try:
        return max(0, int(parse_quantity(str(quantity)) // 2**20))
    except QuantityError:
        return 0
