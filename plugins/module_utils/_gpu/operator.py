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

from .node import Card, GpuNode, possible_brands, unlike

if TYPE_CHECKING:
    from .._kubernetes.cluster import Cluster


PAGE = 500  # nodes a request: what kubectl takes
_NAMESPACE = "gpu-operator"  # of the GPU Operator, where its ClusterPolicy does not tell
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
        yield from page.get("items") or ()
        token = page["metadata"].get("continue", "")
        if not token:
            return


def read_operator(cluster: Cluster) -> Operator:
    """The GPU Operator's objects, as far as they are there and may be read."""
    policies = _optional(cluster, "/apis/nvidia.com/v1/clusterpolicies")
    slices = _optional(
        cluster,
        *(f"/apis/resource.k8s.io/{version}/resourceslices" for version in _DRA_VERSIONS),
        query={"fieldSelector": "spec.driver=gpu.nvidia.com"},
    )
    namespace = next(filter(None, (policy.get("status", {}).get("namespace") for policy in policies)), _NAMESPACE)
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
    cdi = policy.get("spec", {}).get("cdi") or {}
    version = re.match(r"v?(\d+)\.(\d+)", (policy["metadata"].get("labels") or {}).get("app.kubernetes.io/version", ""))
    new = version is not None and (int(version[1]), int(version[2])) >= _CDI_BY_DEFAULT
    # The API server fills in default: false, whatever the release.
    return bool(cdi.get("enabled")) and (new or cdi.get("default") is not False)


def read_driver_pod(pod: Mapping[str, Any]) -> DriverPod:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    status: Mapping[str, Any] = next(
        (one for one in statuses if one.get("name") == _DRIVER_CONTAINER), next(iter(statuses), {})
    )
    state = status.get("state", {})
    started = state.get("running", {}).get("startedAt", "")
    reason = (state.get("waiting") or state.get("terminated") or {}).get("reason") or "its container is not ready"
    return DriverPod(
        node=pod.get("spec", {}).get("nodeName", ""),
        since=int(datetime.fromisoformat(started).timestamp()) if started else 0,
        trouble="" if status.get("ready") else f"{reason}, {status.get('restartCount', 0)} restarts",
    )


def read_devices(slices: Iterable[Mapping[str, Any]]) -> dict[str, GpuNode]:
    """The first GPU of each node's ResourceSlices, in the attributes of NVIDIA's DRA driver; all kinds where unlike."""
    found: dict[str, GpuNode] = {}
    for entry in slices:
        spec = entry.get("spec", {})
        for given in spec.get("devices") or ():
            device = given.get("basic") or given  # v1beta1 has it one level deeper
            attributes = {name: next(iter(value.values()), "") for name, value in device.get("attributes", {}).items()}
            name = spec.get("nodeName", "")
            if not name or attributes.get("type") not in ("gpu", "mig"):
                continue
            product = str(attributes.get("productName", "")).replace(" ", "-")
            brands = (str(attributes["brand"]),) if attributes.get("brand") else ()
            card = Card(
                product,
                brands or possible_brands(product),
                ".".join(str(attributes.get("cudaComputeCapability", "")).split(".")[:2]),
            )
            if name in found:
                first = found[name]
                before = Card(first.product, first.brands or possible_brands(first.product), first.compute_capability)
                kinds = unlike([*(first.cards or [before]), card])
                found[name] = replace(first, gpus=first.gpus + 1, cards=kinds, problems=("mixed",) if kinds else ())
                continue
            found[name] = GpuNode(
                name=name,
                product=product,
                brands=brands,
                driver=str(attributes.get("driverVersion", "")),
                cuda=".".join(str(attributes.get("cudaDriverVersion", "")).split(".")[:2]),
                compute_capability=card.compute_capability,
                memory_mib=_mebibytes(device.get("capacity", {}).get("memory", {}).get("value", "")),
                gpus=1,
                sharing="mig" if attributes["type"] == "mig" else "",
                resource="gpu.nvidia.com",
            )
    return found


def _mebibytes(quantity: str) -> int:
    match = re.fullmatch(r"(\d+)(Ki|Mi|Gi|)", quantity)
    if not match:
        return 0
    return int(match[1]) * {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "": 1}[match[2]] // 1024**2
