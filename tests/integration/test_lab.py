"""The lab is what it says: a real API server, simulated nodes that take pods, and a way back to health."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import api, processes, simulated

NAMESPACE = "lab-test"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab", *arguments], capture_output=True, text=True, check=False)


def eventually(check: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true answer of `check`."""
    until = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < until, "that did not happen"
        time.sleep(0.1)
    return answer


def pod(name: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "server",
        "image": "lab.invalid/stt:1",
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    tolerations = [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "tolerations": tolerations,
            "nodeSelector": {"lab.portal-stt/simulated": "true"},
            "priorityClassName": "gpu-workload",
        }
        | spec,
    }


def phase(name: str) -> Any:
    return api.call("GET", f"{PODS}/{name}")["status"].get("phase")


@pytest.fixture(scope="module", autouse=True)
def _namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    nodes = tmp_path_factory.mktemp("nodes") / "two.yml"
    nodes.write_text("- {name: sim-t4}\n- {name: sim-down, ready: false}\n")
    assert lab("nodes", str(nodes)).returncode == 0
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    eventually(lambda: api.call("GET", PODS.replace("pods", "serviceaccounts/default"), accept=(404,)).get("metadata"))
    yield
    api.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    eventually(lambda: api.call("GET", f"/api/v1/namespaces/{NAMESPACE}", accept=(404,))["kind"] == "Status")
    assert lab("nodes", "--clear").returncode == 0


def test_the_control_plane_is_real_and_of_the_pinned_version() -> None:
    assert api.call("GET", "/version")["gitVersion"].startswith("v1.36.")
    checks = api.call("GET", "/readyz", verbose="true")
    assert "[+]etcd ok" in checks


def test_a_simulated_gpu_node_takes_a_pod_and_its_service_is_reachable() -> None:
    api.call("POST", PODS, pod("stt"))
    ports = [{"name": "http", "port": 8000, "targetPort": "http"}]
    services = PODS.replace("pods", "services")
    api.call("POST", services, {"metadata": {"name": "stt"}, "spec": {"selector": {"app": "stt"}, "ports": ports}})
    eventually(lambda: phase("stt") == "Running")
    found = api.call("GET", f"{PODS}/stt")
    assert found["spec"]["nodeName"] == "sim-t4"
    assert found["spec"]["priority"] == 100000
    assert found["status"]["podIP"].startswith("10.89.")
    health = f"{services}/http:stt:8000/proxy/health"
    assert eventually(lambda: (answer := api.call("GET", health, accept=(503,))) == "OK" and answer) == "OK"


def test_a_pod_for_more_seats_than_there_are_waits_with_the_schedulers_words() -> None:
    wanted = pod("greedy")
    wanted["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = "101"
    api.call("POST", PODS, wanted)

    def condition() -> Any:
        conditions = api.call("GET", f"{PODS}/greedy")["status"].get("conditions", [])
        return next((c for c in conditions if c["type"] == "PodScheduled"), None)

    assert "Insufficient nvidia.com/gpu" in eventually(condition)["message"]


def test_a_node_declared_not_ready_stays_so_and_takes_nothing() -> None:
    node = api.call("GET", "/api/v1/nodes/sim-down")
    assert [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"] == ["False"]
    taints = eventually(lambda: api.call("GET", "/api/v1/nodes/sim-down")["spec"]["taints"])
    assert "node.kubernetes.io/not-ready" in {taint["key"] for taint in taints}


def test_a_job_completes() -> None:
    spec = pod("seed", restartPolicy="Never")
    job = {"metadata": {"name": "seed"}, "spec": {"template": {"metadata": {}, "spec": spec["spec"]}}}
    path = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
    api.call("POST", path, job)
    eventually(lambda: api.call("GET", f"{path}/seed")["status"].get("succeeded") == 1)


def test_a_claim_binds_to_its_volume() -> None:
    size = {"storage": "10Gi"}
    volume = {
        "metadata": {"name": "lab-test"},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "nfs": {"server": "10.77.0.2", "path": "/srv/nfs-ssd/lab-test"},
        },
    }
    claim = {
        "metadata": {"name": "models"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": "lab-test",
            "resources": {"requests": size},
        },
    }
    claims = PODS.replace("pods", "persistentvolumeclaims")
    api.call("POST", "/api/v1/persistentvolumes", volume)
    try:
        api.call("POST", claims, claim)
        eventually(lambda: api.call("GET", f"{claims}/models")["status"].get("phase") == "Bound")
    finally:
        api.call("DELETE", "/api/v1/persistentvolumes/lab-test")


def test_pod_security_refuses_a_privileged_pod_where_it_is_restricted() -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}"
    api.call("PATCH", path, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    try:
        wanted = pod("privileged")
        wanted["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        refusal = api.call("POST", PODS, wanted, accept=(403,))
        assert 'violates PodSecurity "restricted:latest": privileged' in refusal["message"]
    finally:
        api.call("PATCH", path, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}})


def test_the_simulated_nodes_are_those_of_the_last_file_and_no_others() -> None:
    nodes = api.call("GET", "/api/v1/nodes", labelSelector="lab.portal-stt/simulated")["items"]
    assert {node["metadata"]["name"] for node in nodes} == {"sim-t4", "sim-down"}
    refused = lab("nodes", "no-such-file")
    assert refused.returncode == 1
    assert f"Files that come with the lab: {', '.join(sorted(f.stem for f in simulated.FILES.glob('*.yml')))}." in (
        refused.stderr
    )


def test_up_again_changes_nothing() -> None:
    before = processes.records()
    done = lab("up", "--no-node")
    assert done.returncode == 0, done.stderr
    assert processes.records() == before


def test_a_killed_api_server_is_seen_and_healed_with_all_that_it_knew() -> None:
    record = next(record for record in processes.records() if record.name == "kube-apiserver")
    os.kill(record.pid, signal.SIGKILL)
    eventually(lambda: not record.running)
    seen = lab("status")
    assert seen.returncode == 1
    assert any(line.split()[:3] == ["kube-apiserver", "NOT", "RUNNING"] for line in seen.stdout.splitlines())
    healed = lab("up", "--no-node")
    assert healed.returncode == 0, healed.stderr
    assert lab("status").returncode == 0
    assert phase("stt") == "Running"


def test_run_passes_the_exit_status_and_the_access_to_the_cluster(tmp_path: Path) -> None:
    script = "import json, os, sys; print(json.dumps(dict(os.environ))); sys.exit(7)"
    done = subprocess.run(
        [sys.executable, "-m", "lab", "run", "--", sys.executable, "-c", script],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    seen = json.loads(done.stdout)
    assert seen["KUBECONFIG"] == seen["K8S_AUTH_KUBECONFIG"]
    assert Path(seen["KUBECONFIG"]).stat().st_mode & 0o777 == 0o600
    assert Path(seen["LAB_SSH_KEY"]).name == "ssh_key"
