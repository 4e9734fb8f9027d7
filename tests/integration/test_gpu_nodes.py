"""GPU nodes of a real API server: simulated nodes with every fault, the GPU Operator's and DRA's objects, the probe."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster
from ansible_collections.portal.stt.plugins.modules import gpu_node_info, gpu_node_probe
from werkzeug import Response

from lab import api
from lab.certificates import PKI
from lab.network import HOST
from tests.conftest import NVIDIA_SMI, ROOT, play
from tests.modules import run_module
from tests.rollouts import wait
from tests.servers import web

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


def test_resource_slices() -> None:
    """NVIDIA's DRA driver names driver and brand where no label does."""
    path = "/apis/resource.k8s.io/v1/resourceslices"
    api.call(
        "POST",
        path,
        {
            "apiVersion": "resource.k8s.io/v1",
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


@pytest.fixture(scope="module")
def policies() -> Iterator[str]:
    """The GPU Operator's kind ClusterPolicy, any of its fields; gives the path of its objects."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusterpolicies.nvidia.com"},
        "spec": {
            "group": "nvidia.com",
            "scope": "Cluster",
            "names": {"plural": "clusterpolicies", "singular": "clusterpolicy", "kind": "ClusterPolicy"},
            "versions": [version],
        },
    }
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.call("POST", definitions, definition, accept=(409,))
    path = "/apis/nvidia.com/v1/clusterpolicies"
    wait(lambda: "items" in api.call("GET", path, accept=(404, 429)))
    yield path
    api.call("DELETE", f"{definitions}/clusterpolicies.nvidia.com")


@pytest.fixture(scope="class")
def operator(namespace: str, policies: str) -> Iterator[None]:
    """The GPU Operator: its policy, and its driver's pod on every node, started later than the labels were written."""
    policy = {
        "apiVersion": "nvidia.com/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "cluster-policy", "labels": {"app.kubernetes.io/version": "v25.10.1"}},
        "spec": {"cdi": {"enabled": True, "default": False}},
    }
    api.call("POST", policies, policy)
    api.call("PATCH", f"{policies}/cluster-policy/status", {"status": {"namespace": namespace}})
    path = f"/api/v1/namespaces/{namespace}/pods"
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "nvidia-driver-ctr",
        "image": "nvcr.io/nvidia/driver:570.195.03",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    nodes = api.call("GET", "/api/v1/nodes", labelSelector=SIMULATED)["items"]
    time.sleep(1.1)  # both times are whole seconds
    for node in nodes:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"driver-{node['metadata']['name']}",
                "labels": {"app.kubernetes.io/component": "nvidia-driver"},
            },
            "spec": {
                "nodeName": node["metadata"]["name"],
                "tolerations": [{"operator": "Exists"}],
                "securityContext": security,
                "containers": [container],
            },
        }
        api.call("POST", path, pod)
    wait(lambda: len(api.call("GET", path, fieldSelector="status.phase=Running")["items"]) == len(nodes))
    crashing = {"waiting": {"reason": "CrashLoopBackOff"}}
    status = {**container, "ready": False, "restartCount": 170, "imageID": "", "state": crashing}
    del status["securityContext"]
    api.call("PATCH", f"{path}/driver-driver-470/status", {"status": {"containerStatuses": [status]}})
    yield
    api.call("DELETE", f"{policies}/cluster-policy")
    api.call("DELETE", path, gracePeriodSeconds="0")


@pytest.mark.usefixtures("operator")
class TestOperator:
    def test_findings(self) -> None:
        found = {one["message"]: one for one in ask()["findings"]}
        stale = found["the driver started after gpu-feature-discovery wrote the labels: they may name an older driver."]
        assert (stale["status"], stale["subject"]) == (
            "warning",
            "nodes a100-0, a100-1, geforce-570, t4, t4-cordoned and 3 more",
        )
        crashing = found["the pod with the driver is not ready there."]
        assert (crashing["subject"], crashing["evidence"]) == ("node driver-470", ["CrashLoopBackOff, 170 restarts"])

    def test_the_mode_of_the_runtime(self) -> None:
        assert {node["runtime_mode"] for node in ask()["nodes"]} == {"cdi"}

    def test_no_request_is_one_a_node(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        request = Cluster.request

        def recorded(self: Cluster, method: str, path: str, **options: Any) -> bytes:
            asked.append(f"{method} {path.rsplit('/', 1)[1]}")
            return request(self, method, path, **options)

        monkeypatch.setattr(Cluster, "request", recorded)
        assert len(ask()["nodes"]) == 10
        assert asked == ["GET clusterpolicies", "GET resourceslices", "GET pods", "GET nodes"]


def test_the_probe_is_restricted_bounded_and_removed(namespace: str) -> None:
    """KWOK runs no container, so the pod never ends by itself: the time limit must end it."""
    result = run_module(gpu_node_probe, nodes=[doubtful()], namespace=namespace, image="debian:12-slim", seconds=3)
    assert result["failed"] is True
    assert "did not read the driver within 3 s: it did not end. Give it more seconds" in result["msg"]
    events = api.call("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    assert any(event["reason"] == "Scheduled" and "t4-no-labels" in event["message"] for event in events)
    assert api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"] == []


@contextmanager
def kubelet_stand_in(namespace: str, log: str) -> Iterator[None]:
    """The kubelet of node t4-no-labels, for the length of a with block: its pods end, and have said `log`."""
    pods, over = f"/api/v1/namespaces/{namespace}/pods", threading.Event()

    def end_pods() -> None:
        while not over.wait(0.1):
            for pod in api.call("GET", pods, fieldSelector="status.phase=Running")["items"]:
                path = f"{pods}/{pod['metadata']['name']}/status"
                api.call("PATCH", path, {"status": {"phase": "Succeeded"}}, accept=(404,))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PKI / "server.crt", PKI / "server.key")
    with web(lambda _: Response(log), host=HOST, tls=context) as address:
        port = int(address.rpartition(":")[2])
        status = {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
        api.call("PATCH", "/api/v1/nodes/t4-no-labels/status", {"status": status})
        threading.Thread(target=end_pods, daemon=True).start()
        try:
            yield
        finally:
            over.set()


def doubtful() -> dict[str, Any]:
    return next(node for node in ask()["nodes"] if node["name"] == "t4-no-labels")


def test_the_probe_reads_the_driver(namespace: str) -> None:
    with kubelet_stand_in(namespace, NVIDIA_SMI.read_text()):
        result = run_module(gpu_node_probe, nodes=[doubtful()], namespace=namespace, image="debian:12-slim")
    (node,) = result["nodes"]
    assert (node["driver"], node["cuda"], node["brands"]) == ("530.30.02", "12.1", ["Nvidia"])
    assert (node["source"], node["problems"]) == ("nvidia-smi", [])
    assert [(one["status"], one["message"]) for one in result["findings"]] == [
        ("ok", "its driver says Tesla-T4, driver 530.30.02, CUDA 12.1.")
    ]
    assert api.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"] == []


def test_one_node_that_cannot_be_probed_keeps_no_other_from_it(namespace: str) -> None:
    gone = {"name": "no-such-node", "problems": ["no_labels"]}
    with kubelet_stand_in(namespace, NVIDIA_SMI.read_text()):
        result = run_module(
            gpu_node_probe, nodes=[gone, doubtful()], namespace=namespace, image="debian:12-slim", seconds=3
        )
    assert result["failed"] is True
    assert [one["status"] for one in result["findings"]] == ["refused", "ok"]
    assert [node["driver"] for node in result["nodes"]] == ["", "530.30.02"]


def preflight(node: str, **variables: Any) -> str:
    """What the preflight play says of one simulated node."""
    gpu = {"node_selector": {"lab.portal-stt/simulated": "true", "kubernetes.io/hostname": node}}
    done = play("playbooks/preflight.yml", "-l", "lab", "-e", json.dumps({"speaches_gpu": gpu, **variables}))
    return done.output


def test_the_play_reads_the_driver_where_no_label_names_it(namespace: str) -> None:
    probe = {"preflight_probe_image": "debian:12-slim", "preflight_probe_namespace": namespace}
    with kubelet_stand_in(namespace, NVIDIA_SMI.read_text()):
        output = preflight("t4-no-labels", **probe)
    assert "its driver says Tesla-T4, driver 530.30.02, CUDA 12.1." in output
    assert "refused: the image requires cuda>=12.9, the node has 12.1" in output


def test_the_play_warns_of_servers_in_one_cards_memory() -> None:
    output = preflight("t4", speaches_replicas=2, speaches_strategy="RollingUpdate")
    assert "old and new server can be in one card's memory during a RollingUpdate" in output
    assert "2 servers for 1 GPU: some are in the same card's memory" in output


def test_the_driver_of_a_host(tmp_path: Path) -> None:
    """As Ansible runs it there, with a stand-in of nvidia-smi."""
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text(f"#!/bin/sh\ncase $1 in -q) sed 1d {NVIDIA_SMI};; *) sed -n 1p {NVIDIA_SMI};; esac\n")
    stand_in.chmod(0o755)
    done = subprocess.run(
        ["ansible", "localhost", "-c", "local", "-m", "portal.stt.gpu_host_info", "-a", "name=gpu-1"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    node = json.loads(done.stdout.partition("=>")[2])["node"]
    assert (node["name"], node["driver"], node["cuda"], node["compute_capability"]) == (
        "gpu-1",
        "530.30.02",
        "12.1",
        "7.5",
    )


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
    assert f"kubeconfig none in {tmp_path}: there is no such file on this machine." in result["msg"]
