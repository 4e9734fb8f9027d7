"""Simulated nodes (KWOK): real Node objects, and pods that become what lab/stages/ says, without a kubelet.

A node file (lab/nodes/*.yml) is a list of `Declared`, each with the fields that differ from the first operator's
node. The labels are those of NVIDIA's GPU feature discovery, of v0.15.0 and later (new) and before (old).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from lab import api, network, processes
from lab.binaries import find
from lab.certificates import KUBECONFIG, PKI
from lab.console import LabError
from lab.network import HOST, SIMULATED_PODS
from lab.paths import ROOT, STATE
from lab.processes import Argv, Service, answers

FILES = ROOT / "lab" / "nodes"
_STAGES = ROOT / "lab" / "stages"
_MARK = "lab.portal-stt/simulated"
_PORT = 10247
_THREADS = 8
_PLATFORM = {"arch": "amd64", "os": "linux"}
_CONDITIONS = {
    "MemoryPressure": "KubeletHasSufficientMemory",
    "DiskPressure": "KubeletHasNoDiskPressure",
    "PIDPressure": "KubeletHasSufficientPID",
}


@dataclass(frozen=True)
class Declared:
    """One or more equal nodes of a node file. The defaults are the first operator's node."""

    name: str
    count: int = 1
    """With more than one, names are NAME-0, NAME-1, …"""
    product: str = "Tesla-T4"
    """As in the label, without -SHARED; empty is a node without a GPU."""
    family: str = "turing"
    driver: str = "570.195.03"
    cuda: str = "12.8"
    """The driver's CUDA version."""
    compute: str = "7.5"
    memory_mib: int = 15360
    gpus: int = 1
    replicas: int = 100
    """Seats a card by time-slicing; 1 is not shared."""
    allocatable: int | None = None
    """nvidia.com/gpu that the node offers; default gpus times replicas."""
    labels: Literal["both", "new", "old", "none"] = "both"
    """Which style of feature discovery labels; none leaves only nvidia.com/gpu.present."""
    ready: bool = True
    cordoned: bool = False
    extra_labels: dict[str, str] = field(default_factory=dict)


def up() -> None:
    """KWOK runs with all stages of lab/stages/*.yaml."""
    configuration = STATE / "stages.yaml"
    stages = "---\n".join(path.read_text() for path in sorted(_STAGES.glob("*.yaml")))
    changed = not configuration.exists() or configuration.read_text() != stages
    if changed:
        configuration.write_text(stages)
        processes.stop("kwok")
        with network.inside():
            _forget_leases()
    argv: Argv = [
        find("kwok"),
        f"--kubeconfig={KUBECONFIG}",
        f"--config={configuration}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--cidr={SIMULATED_PODS}",
        f"--node-ip={HOST}",
        f"--node-port={_PORT}",
        f"--server-address=0.0.0.0:{_PORT}",
        f"--tls-cert-file={PKI / 'server.crt'}",
        f"--tls-private-key-file={PKI / 'server.key'}",
        # Renewed every 200 s, within the controller's patience: thousands of nodes are to cost little.
        "--node-lease-duration-seconds=800",
    ]
    processes.start([Service("kwok", argv, answers(f"https://{HOST}:{_PORT}/healthz"))])


def replace(file: Path | None) -> int:
    """The simulated nodes are those of `file` (none without one) and no others; how many.

    Raises LabError for a file that cannot be read or says something unknown.
    """
    nodes = [node for declared in (read(file) if file else []) for node in expand(declared)]
    with network.inside():
        before = [_name(node) for node in api.call("GET", "/api/v1/nodes", labelSelector=_MARK)["items"]]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda name: api.call("DELETE", f"/api/v1/nodes/{name}", accept=(404,)), before))
            _forget_pods()
            list(pool.map(lambda node: api.call("POST", "/api/v1/nodes", node), nodes))
    return len(nodes)


def read(file: Path) -> list[Declared]:
    """What a node file declares."""
    known = {known.name for known in fields(Declared)}
    try:
        entries = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        shipped = ", ".join(sorted(path.stem for path in FILES.glob("*.yml")))
        raise LabError(f"{file} cannot be read: {error}. Files that come with the lab: {shipped}.") from error
    if not isinstance(entries, list):
        raise LabError(f"{file}: a list of nodes is expected.")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or "name" not in entry:
            raise LabError(f"{file}: entry {number} has no name.")
        if unknown := sorted(set(entry) - known):
            raise LabError(f"{file}: entry {number}: unknown {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    return [Declared(**entry) for entry in entries]


def expand(declared: Declared) -> Iterator[dict[str, Any]]:
    """The Node objects of one entry, as a kubelet and the GPU operator leave them."""
    for index in range(declared.count):
        yield _node(declared, declared.name if declared.count == 1 else f"{declared.name}-{index}")


def _node(declared: Declared, name: str) -> dict[str, Any]:
    resources: dict[str, str] = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "200Gi", "pods": "110"}
    offered = declared.gpus * declared.replicas if declared.allocatable is None else declared.allocatable
    if declared.product:
        resources["nvidia.com/gpu"] = str(offered)
    labels = {
        _MARK: "true",
        "kubernetes.io/hostname": name,
        **{f"{prefix}kubernetes.io/{key}": value for prefix in ("", "beta.") for key, value in _PLATFORM.items()},
        **(_gpu_labels(declared) if declared.product else {}),
        **declared.extra_labels,
    }
    spec: dict[str, Any] = {"unschedulable": True} if declared.cordoned else {}
    if declared.product:
        spec["taints"] = [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake", "lab.portal-stt/ready": str(declared.ready).lower()},
        },
        "spec": spec,
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": _PORT}},
            "conditions": _conditions(declared.ready),
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.8.0-79-generic",
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.36.3",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "Ubuntu 24.04.3 LTS",
                "systemUUID": "",
            },
        },
    }


def _conditions(ready: bool) -> list[dict[str, str]]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    found = [{"type": kind, "status": "False", "reason": reason, **times} for kind, reason in _CONDITIONS.items()]
    if ready:
        healthy = {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
        return [*found, {"type": "Ready", **healthy, **times}]
    broken = {
        "status": "False",
        "reason": "KubeletNotReady",
        "message": "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
        "message:Network plugin returns error: cni plugin not initialized",
    }
    return [*found, {"type": "Ready", **broken, **times}]


def _gpu_labels(declared: Declared) -> dict[str, str]:
    shared = declared.replicas > 1
    driver, cuda, compute = (re.split(r"\.", text) for text in (declared.driver, declared.cuda, declared.compute))
    every = {
        "gpu.product": declared.product + ("-SHARED" if shared else ""),
        "gpu.count": str(declared.gpus),
        "gpu.replicas": str(declared.replicas),
        "gpu.memory": str(declared.memory_mib),
        "gpu.family": declared.family,
        "gpu.compute.major": compute[0],
        "gpu.compute.minor": compute[1],
        "gpu.machine": "Standard-PC-Q35-ICH9-2009",
        "mig.capable": "false",
        "mig.strategy": "single",
        "gfd.timestamp": str(int(datetime.now(UTC).timestamp())),
    }
    old = {
        "cuda.driver.major": driver[0],
        "cuda.driver.minor": driver[1],
        "cuda.driver.rev": driver[2] if len(driver) > 2 else "",
        "cuda.runtime.major": cuda[0],
        "cuda.runtime.minor": cuda[1],
    }
    new = {
        "cuda.driver-version.full": declared.driver,
        "cuda.driver-version.major": old["cuda.driver.major"],
        "cuda.driver-version.minor": old["cuda.driver.minor"],
        "cuda.driver-version.revision": old["cuda.driver.rev"],
        "cuda.runtime-version.full": declared.cuda,
        "cuda.runtime-version.major": cuda[0],
        "cuda.runtime-version.minor": cuda[1],
        "gpu.sharing-strategy": "time-slicing" if shared else "none",
        "gpu.mode": "compute",
        "mps.capable": "false",
        "vgpu.present": "false",
    }
    chosen = {"both": every | old | new, "new": every | new, "old": every | old, "none": {}}[declared.labels]
    return {f"nvidia.com/{key}": value for key, value in {"gpu.present": "true", **chosen}.items()}


def _forget_leases() -> None:
    """KWOK has a new identity with each start, and leaves a node alone whose lease another one holds."""
    for node in api.call("GET", "/api/v1/nodes", labelSelector=_MARK)["items"]:
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{_name(node)}"
        api.call("DELETE", path, accept=(404,))


def _forget_pods() -> None:
    """Pods of nodes that are gone would stay until the garbage collector comes by."""
    nodes = {_name(node) for node in api.call("GET", "/api/v1/nodes")["items"]}
    for pod in api.call("GET", "/api/v1/pods")["items"]:
        if pod["spec"].get("nodeName") not in {None, *nodes}:
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{_name(pod)}"
            api.call("DELETE", path, accept=(404,), gracePeriodSeconds="0")


def _name(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])
