# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's node does what the first operator's does. Wants a lab that is up: make lab."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, stream

from lab import api, images, network, node, registry
from lab.certificates import KUBECONFIG
from tests.conftest import until

BOUND = 400.0  # seconds; an emulated node on a busy machine
SPACE = f"test-node-{secrets.token_hex(3)}"
PODS = f"/api/v1/namespaces/{SPACE}/pods"
IMAGE = f"{registry.ADDRESS}/{images.REPOSITORY}:0.9.0-rc.3-cuda"
SHARE = f"/srv/nfs-ssd/{SPACE}"
WRITE = "id -u > /data/who && echo written && exec sleep infinity"


@pytest.fixture(scope="module", autouse=True)
def _inside() -> Iterator[None]:
    """The tests run where the lab's addresses are, in a namespace of their own."""
    with network.inside():
        api.call("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}})
        yield
        api.call("DELETE", f"/api/v1/namespaces/{SPACE}")


@pytest.fixture(scope="module")
def pod() -> Iterator[dict[str, Any]]:
    """A running pod as the role deploys one: a seat of the GPU, user 1000, a soft NFSv4 mount at /data."""
    assert node.ssh(f"install -d -o 1000 -g 1000 {SHARE}").returncode == 0
    size, mode = {"storage": "1Gi"}, ["ReadWriteMany"]
    volume = {
        "metadata": {"name": SPACE},
        "spec": {
            "capacity": size,
            "accessModes": mode,
            "mountOptions": ["nfsvers=4", "soft", "timeo=30", "retrans=3"],
            "nfs": {"server": network.NODE, "path": SHARE},
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": mode, "resources": {"requests": size}, "storageClassName": "", "volumeName": SPACE},
    }
    api.call("POST", "/api/v1/persistentvolumes", volume)
    api.call("POST", f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims", claim)
    api.call("POST", PODS, _pod("writer", WRITE))
    try:
        yield _running("writer")
    finally:
        api.call("DELETE", f"{PODS}/writer", gracePeriodSeconds="1")
        _until(lambda: api.call("GET", f"{PODS}/writer", accept=(404,))["kind"] == "Status", "the pod to go")
        api.call("DELETE", f"/api/v1/persistentvolumes/{SPACE}")
        node.ssh(f"rm -r {SHARE}")


def test_the_node_is_what_the_cluster_expects_of_a_shared_t4() -> None:
    found = api.call("GET", f"/api/v1/nodes/{node.NAME}")
    labels = found["metadata"]["labels"]
    assert {kind["type"]: kind["status"] for kind in found["status"]["conditions"]}["Ready"] == "True"
    assert found["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]
    assert found["status"]["allocatable"]["nvidia.com/gpu"] == "100"
    assert {name: labels[f"nvidia.com/{name}"] for name in ("gpu.product", "gpu.memory", "gpu.replicas")} == {
        "gpu.product": "Tesla-T4-SHARED",
        "gpu.memory": "15360",
        "gpu.replicas": "100",
    }
    assert labels["nvidia.com/cuda.driver-version.full"] == "570.195.03"
    assert [labels[f"nvidia.com/cuda.driver.{part}"] for part in ("major", "minor", "rev")] == ["570", "195", "03"]


def test_the_host_exports_by_a_file_of_somebody_else() -> None:
    assert node.ssh("cat /proc/fs/nfsd/versions").stdout.startswith("-3 +4")
    assert node.ssh("findmnt --noheadings --output FSTYPE /srv/nfs-ssd").stdout == "ext4\n"
    served = node.ssh("exportfs -s").stdout
    assert served.startswith("/srv/nfs-ssd  *(")
    assert "fsid=1" in served
    assert not node.ssh("ls /etc/exports.d").stdout


def test_only_the_small_layer_of_the_image_travels(pod: dict[str, Any]) -> None:
    assert pod["status"]["containerStatuses"][0]["image"] == IMAGE
    large = "find /var/lib/containerd/io.containerd.content.v1.content/blobs -size +100M -printf x"
    assert node.ssh(large).stdout == "x", "the preloaded layer is there once"
    fetched = node.ssh(large.replace("-printf", "-newermt @$(stat --format %Y /proc/1) -printf")).stdout
    assert not fetched, "it did not come from the registry"
    pulled = [event for event in _events("writer") if event["reason"] == "Pulled"]
    assert "Successfully pulled image" in pulled[0]["message"]


def test_the_container_writes_to_the_export_as_user_1000(pod: dict[str, Any]) -> None:
    assert node.ssh(f"cat {SHARE}/who; stat -c '%u %g' {SHARE}/who").stdout == "1000\n1000 1000\n"
    mounted = node.ssh("findmnt --noheadings --types nfs4 --output OPTIONS").stdout
    assert {"soft", "timeo=30", "retrans=3", "vers=4.2"} <= set(mounted.strip().split(","))


def test_logs_and_exec_reach_the_container(pod: dict[str, Any]) -> None:
    assert api.call("GET", f"{PODS}/writer/log") == "written\n"
    config.load_kube_config(str(KUBECONFIG))
    call = client.CoreV1Api().connect_get_namespaced_pod_exec
    said = stream.stream(call, "writer", SPACE, command=["cat", "/data/who"], stdout=True, stderr=True)
    assert said == "1000\n"


def test_a_reboot_keeps_disks_exports_and_pods(pod: dict[str, Any]) -> None:
    node.ssh("echo kept > /root/kept")
    node.reboot()
    assert node.ssh("cat /root/kept").stdout == "kept\n"
    assert node.ssh("exportfs -s").stdout.startswith("/srv/nfs-ssd  *(")
    assert api.call("GET", f"/api/v1/nodes/{node.NAME}")["status"]["allocatable"]["nvidia.com/gpu"] == "100"
    again = _running("writer", restarts=1)
    assert again["metadata"]["uid"] == pod["metadata"]["uid"]


def _pod(name: str, script: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Always",
        "command": ["/bin/bash", "-c", script],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "metadata": {"name": name},
        "spec": {
            "containers": [container],
            "nodeSelector": {"nvidia.com/gpu.present": "true", "kubernetes.io/hostname": node.NAME},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"}],
            "securityContext": {
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            "automountServiceAccountToken": False,
        },
    }


def _running(name: str, restarts: int = 0) -> dict[str, Any]:
    """The pod once its container is Ready and was restarted at least so often."""

    def state() -> dict[str, Any] | None:
        pod: dict[str, Any] = api.call("GET", f"{PODS}/{name}")
        statuses = pod["status"].get("containerStatuses", [{}])
        ready = statuses[0].get("ready") and statuses[0]["restartCount"] >= restarts
        return pod if ready else None

    running: dict[str, Any] = _until(state, f"pod {name} to run")
    return running


def _until(done: Any, what: str) -> Any:
    return until(done, BOUND, lambda: f"{what}: {[event['message'] for event in _events('writer')]}")


def _events(name: str) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{SPACE}/events"
    found: list[dict[str, Any]] = api.call("GET", path, fieldSelector=f"involvedObject.name={name}")["items"]
    return found
