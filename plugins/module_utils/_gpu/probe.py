# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""A short-lived pod on a GPU node that asks the driver itself."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._findings import CollectionError
from .node import GpuNode
from .nvidia_smi import FULL, QUERY, read_cards

if TYPE_CHECKING:
    from .._kubernetes.cluster import Cluster

DOUBTS = frozenset(("no_labels", "partial_labels", "stale_labels"))
_COMMAND = f"{shlex.join(QUERY)}; {shlex.join(FULL)}"


class ProbeError(CollectionError):
    """The pod did not tell."""

    check = "gpu.probe"


@dataclass(frozen=True)
class Probe:
    """How to ask: namespace and image of the pod (any with a shell), seconds it may take, its RuntimeClass if any."""

    namespace: str
    image: str
    seconds: int
    runtime_class: str = ""


def ask(cluster: Cluster, node: GpuNode, probe: Probe, clock: Callable[[], float] = time.monotonic) -> GpuNode:
    """The node as its driver describes it. The pod is gone afterwards, whatever happened.

    Raises ProbeError, DriverUnreadableError or ClusterError.
    """
    path = f"/api/v1/namespaces/{probe.namespace}/pods"
    name = pod_name(node.name)
    manifest = pod(node, probe)
    _delete(cluster, f"{path}/{name}")
    cluster.request("POST", path, body=json.dumps(manifest).encode(), headers={"Content-Type": "application/json"})
    try:
        ended = _ended(cluster, path, name, probe.seconds, clock)
        if ended is None:
            raise _silent(cluster.find(f"{path}/{name}") or {}, node, probe)
        return read_cards(cluster.request("GET", f"{path}/{name}/log").decode(errors="replace"), node)
    finally:
        _delete(cluster, f"{path}/{name}")


def pod(node: GpuNode, probe: Probe) -> dict[str, Any]:
    """The pod: Pod Security "restricted", bounded in time and size, on that node whatever its taints.

    It takes one seat of the GPU where there is one to take. NVIDIA_DISABLE_REQUIRE keeps the runtime's gate from
    refusing the question itself.
    """
    env = {"NVIDIA_DRIVER_CAPABILITIES": "utility", "NVIDIA_DISABLE_REQUIRE": "true"}
    limits = {"cpu": "100m", "memory": "128Mi"}
    if node.allocatable and node.resource.startswith("nvidia.com/"):
        limits[node.resource] = "1"
    else:
        env["NVIDIA_VISIBLE_DEVICES"] = "all"
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node.name]}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(node.name),
            "labels": {"app.kubernetes.io/name": "gpu-probe", "app.kubernetes.io/managed-by": "portal-stt"},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": probe.seconds,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **({"runtimeClassName": probe.runtime_class} if probe.runtime_class else {}),
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]}}
            },
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "nvidia-smi",
                    "image": probe.image,
                    "command": ["sh", "-c", _COMMAND],
                    "env": [{"name": name, "value": value} for name, value in env.items()],
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": limits},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def pod_name(node: str) -> str:
    """A name that fits whatever the node's is."""
    return f"gpu-probe-{hashlib.sha256(node.encode()).hexdigest()[:12]}"


def _ended(cluster: Cluster, path: str, name: str, seconds: int, clock: Callable[[], float]) -> dict[str, Any] | None:
    """The pod once it has succeeded or failed by itself; None when the time is over."""
    query = {"fieldSelector": f"metadata.name={name}"}
    deadline = clock() + seconds
    while (left := deadline - clock()) > 0:
        for event in cluster.watch(path, query, timeout=min(left, 60)):
            phase = event["object"].get("status", {}).get("phase")
            if phase in ("Succeeded", "Failed") and event["object"]["status"].get("reason") != "DeadlineExceeded":
                return dict(event["object"])
            if phase in ("Succeeded", "Failed") or event["type"] == "DELETED":
                return None
    return None


def _silent(found: dict[str, Any], node: GpuNode, probe: Probe) -> ProbeError:
    status = found.get("status", {})
    waiting = [
        f"{state['waiting'].get('reason', '')}: {state['waiting'].get('message', '')}"
        for container in status.get("containerStatuses") or ()
        if "waiting" in (state := container.get("state", {}))
    ]
    unscheduled = [
        condition.get("message", "")
        for condition in status.get("conditions") or ()
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    why = next((text.rstrip(". :") for text in [*waiting, *unscheduled] if text.strip(": ")), "it did not end")
    return ProbeError(
        f"node {node.name}",
        f"the pod {probe.namespace}/{pod_name(node.name)} did not read the driver within {probe.seconds} s: {why}.",
        "Give it more seconds, an image that the node can pull, or the RuntimeClass of the NVIDIA runtime; the pod was "
        "removed.",
    )


def _delete(cluster: Cluster, path: str) -> None:
    """The pod is gone: the API server has forgotten it, and a new one may take its name."""
    from .._kubernetes.cluster import ClusterError

    try:
        cluster.request("DELETE", path, query={"gracePeriodSeconds": 0})
    except ClusterError as exc:
        if exc.status != 404:
            raise
