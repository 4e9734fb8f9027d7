"""GPU nodes of a real API server: simulated nodes with every fault, the GPU Operator's and DRA's objects, the probe."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.modules import gpu_node_info, gpu_node_probe

from lab import api
from tests.conftest import ROOT
from tests.modules import run_module

TOLERATIONS = [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]
SIMULATED = "nvidia.com/gpu.present=true,lab.portal-stt/simulated=true"


def lab_nodes(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "lab", "nodes", *args], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module", autouse=True)
def mixed() -> Iterator[None]:
    lab_nodes("mixed")
    yield
    lab_nodes("--clear")


def ask(**params: Any) -> dict[str, Any]:
    return run_module(gpu_node_info, **{"label_selector": SIMULATED, **params})


def test_every_node_is_read() -> None:
    nodes = {node["name"]: node for node in ask()["nodes"]}
    assert {name: (node["product"], node["driver"], node["cuda"]) for name, node in nodes.items()} == {
        "a100-0": ("NVIDIA-A100-SXM4-80GB", "570.195.03", "12.8"),
        "a100-1": ("NVIDIA-A100-SXM4-80GB", "570.195.03", "12.8"),
        "driver-470": ("Tesla-T4", "470.256.02", "11.4"),
        "geforce-570": ("NVIDIA-GeForce-RTX-3060", "570.195.03", "12.8"),
        "t4": ("Tesla-T4", "570.195.03", "12.8"),
        "t4-cordoned": ("Tesla-T4", "570.195.03", "12.8"),
        "t4-no-labels": ("", "", ""),
        "t4-not-ready": ("Tesla-T4", "570.195.03", "12.8"),
        "t4-nothing-allocatable": ("Tesla-T4", "570.195.03", "12.8"),
        "t4-old-labels": ("Tesla-T4", "570.195.03", "12.8"),
    }
    assert nodes["t4-old-labels"]["source"] == "gpu-feature-discovery before 0.15"
    assert (nodes["t4"]["replicas"], nodes["t4"]["sharing"], nodes["t4"]["allocatable"]) == (100, "time-slicing", 100)


def test_every_fault_is_found() -> None:
    found = {(one["check"], one["status"], one["subject"]) for one in ask(tolerations=TOLERATIONS)["findings"]}
    assert found >= {
        ("gpu.node_ready", "warning", "node t4-not-ready"),
        ("gpu.node_ready", "warning", "node t4-cordoned"),
        ("gpu.allocatable", "warning", "node t4-nothing-allocatable"),
        ("gpu.labels", "warning", "node t4-no-labels"),
    }
    assert {check for check, _, _ in found} == {"gpu.nodes", "gpu.node_ready", "gpu.allocatable", "gpu.labels"}


def test_a_pod_without_the_toleration_has_nowhere_to_go() -> None:
    (taint,) = [one for one in ask(tolerations=[])["findings"] if one["check"] == "gpu.taint"]
    assert (taint["status"], taint["message"]) == ("refused", "a taint there keeps the pod away.")


def test_no_such_nodes_is_a_finding_and_no_failure() -> None:
    result = ask(label_selector={"nvidia.com/gpu.present": "nowhere"})
    assert (result["nodes"], [one["status"] for one in result["findings"]]) == ([], ["refused"])
    assert "failed" not in result


def test_a_selector_that_the_api_server_does_not_understand() -> None:
    result = ask(label_selector="a==b==c")
    assert result["failed"] is True
    assert result["msg"] == (
        "label_selector 'a==b==c': the API server cannot read it: found '==', expected: ',' or 'end of string'. "
        "Try it with: kubectl get nodes -l SELECTOR"
    )


@pytest.mark.parametrize("version", ["v1"])
def test_resource_slices(version: str) -> None:
    """NVIDIA's DRA driver names driver and brand where no label does."""
    path = f"/apis/resource.k8s.io/{version}/resourceslices"
    api.call(
        "POST",
        path,
        {
            "apiVersion": f"resource.k8s.io/{version}",
            "kind": "ResourceSlice",
            "metadata": {"name": "t4-no-labels-gpu"},
            "spec": {
                "driver": "gpu.nvidia.com",
                "nodeName": "t4-no-labels",
                "pool": {"name": "t4-no-labels", "generation": 1, "resourceSliceCount": 1},
                "devices": [
                    {
                        "name": "gpu-0",
                        "attributes": {
                            "type": {"string": "gpu"},
                            "productName": {"string": "Tesla T4"},
                            "brand": {"string": "Nvidia"},
                            "cudaComputeCapability": {"version": "7.5.0"},
                            "cudaDriverVersion": {"version": "12.8.0"},
                            "driverVersion": {"version": "570.195.3"},
                        },
                        "capacity": {"memory": {"value": "15360Mi"}},
                    }
                ],
            },
        },
    )
    try:
        node = next(node for node in ask()["nodes"] if node["name"] == "t4-no-labels")
    finally:
        api.call("DELETE", f"{path}/t4-no-labels-gpu")
    assert (node["source"], node["driver"], node["cuda"]) == ("ResourceSlice", "570.195.3", "12.8")
    assert (node["brands"], node["compute_capability"], node["memory_mib"]) == (["Nvidia"], "7.5", 15360)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """One that admits nothing but restricted pods."""
    metadata = {"generateName": "gpu-probe-", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    created = api.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    name = created["metadata"]["name"]
    account = f"/api/v1/namespaces/{name}/serviceaccounts"
    default = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    api.call("POST", account, default, accept=(409,))
    yield name
    api.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def operator(namespace: str) -> Iterator[str]:
    """The GPU Operator's driver pod on node t4, which KWOK runs from now on: later than the labels."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "nvidia-driver-ctr",
        "image": "nvcr.io/nvidia/driver:570.195.03",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    api.call(
        "POST",
        path,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "nvidia-driver", "labels": {"app.kubernetes.io/component": "nvidia-driver"}},
            "spec": {
                "nodeName": "t4",
                "tolerations": [{"operator": "Exists"}],
                "securityContext": security,
                "containers": [container],
            },
        },
    )
    for _ in range(100):
        if api.call("GET", path, fieldSelector="metadata.name=nvidia-driver,status.phase=Running")["items"]:
            break
        time.sleep(0.1)
    yield namespace
    api.call("DELETE", f"{path}/nvidia-driver", gracePeriodSeconds="0")


def test_labels_older_than_the_running_driver(operator: str) -> None:
    (stale,) = [
        one
        for one in ask(operator_namespace=operator)["findings"]
        if one["message"].startswith("the driver started after")
    ]
    assert (stale["subject"], stale["status"]) == ("node t4", "warning")


def test_the_probe_is_restricted_bounded_and_removed(namespace: str) -> None:
    """KWOK runs no container, so the pod never ends by itself: the time limit must end it."""
    doubtful = next(node for node in ask()["nodes"] if node["name"] == "t4-no-labels")
    result = run_module(gpu_node_probe, nodes=[doubtful], namespace=namespace, image="debian:12-slim", seconds=3)
    assert result["failed"] is True
    assert "did not read the driver within 3 s: it did not end. Give it more seconds" in result["msg"]
    events = api.call("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    assert any(event["reason"] == "Scheduled" and "t4-no-labels" in event["message"] for event in events)
    assert api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"] == []


def test_the_probe_says_what_the_scheduler_said(namespace: str) -> None:
    gone = {"name": "no-such-node", "problems": ["no_labels"]}
    result = run_module(gpu_node_probe, nodes=[gone], namespace=namespace, image="debian:12-slim", seconds=3)
    assert "nodes are available" in result["msg"]
    assert api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"] == []


def test_the_probe_asks_only_where_there_is_doubt() -> None:
    nodes = [node for node in ask()["nodes"] if node["name"] in ("t4", "a100-0")]
    result = run_module(gpu_node_probe, nodes=nodes, namespace="not-there", image="debian:12-slim")
    assert (result["nodes"], result["findings"]) == (nodes, [])


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    result = ask(kubeconfig=str(tmp_path / "none"))
    assert result["failed"] is True
    assert "no access is configured" in result["msg"]
