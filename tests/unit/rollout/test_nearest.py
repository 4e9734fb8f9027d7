"""The node that comes nearest to taking a pod, and what is in the way there."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import objects as observed
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.objects import Node, Pod
from ansible_collections.portal.stt.plugins.module_utils._rollout.nearest import (
    Count,
    amount,
    counts,
    nearest,
    needs,
    shown,
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "0/5 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {a: b}, 2 node(s) "
            "didn't match Pod's node affinity/selector. preemption: 0/5 nodes are available: 5 Preemption is not "
            "helpful for scheduling.",
            (
                Count(1, "Insufficient nvidia.com/gpu"),
                Count(2, "node(s) had untolerated taint {a: b}"),
                Count(2, "node(s) didn't match Pod's node affinity/selector"),
            ),
        ),
        (
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, "
            "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
            (Count(1, "Insufficient cpu"), Count(1, "Insufficient memory")),
        ),
        (
            "0/3 nodes are available: 3 node(s) had taint {dedicated: gpu, 1}, that the pod didn't tolerate.",
            (Count(3, "node(s) had taint {dedicated: gpu, 1}, that the pod didn't tolerate"),),
        ),
        ("no nodes available to schedule pods", ()),
        ("", ()),
    ],
)
def test_counts(message: str, expected: tuple[Count, ...]) -> None:
    assert counts(message) == expected


def pod(**spec: Any) -> Pod:
    containers = [{"name": "stt", "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "4Gi"}}}]
    return observed.pod({"metadata": {"name": "stt"}, "spec": {"containers": containers, **spec}})


def node(name: str = "gpu-1", *, ready: str = "True", labels: Mapping[str, str] | None = None, **spec: Any) -> Node:
    allocatable = {"nvidia.com/gpu": "2", "memory": "16Gi", "cpu": "8", "pods": "110", **spec.pop("allocatable", {})}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": ready}]}
    return observed.node({"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": status})


GPU = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
FULL = {"gpu-1": {"nvidia.com/gpu": Decimal(2), "memory": Decimal(2**30)}}
FREE: dict[str, dict[str, Decimal]] = {"gpu-1": {}, "gpu-10": {}}
GPUS = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
TAINT = "0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: true}."
ZONE = "0/2 nodes are available: 2 node(s) had volume node affinity conflict."
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "vram", "operator": "Gt", "values": ["16000"]}]}]
        }
    }
}
ONLY = "nearest: node gpu-1, only one thing is in the way:"


@pytest.mark.parametrize(
    ("wanted", "message", "nodes", "used", "expected"),
    [
        pytest.param(
            pod(), GPUS, [node()], FULL, f"{ONLY} 1 nvidia.com/gpu asked for, 0 of its 2 free", id="taken by others"
        ),
        pytest.param(
            pod(), GPUS, [node(allocatable={"nvidia.com/gpu": "0"})], {},
            "nearest: node gpu-1, one thing is in the way: 1 nvidia.com/gpu asked for, it has 0",
            id="who is there is unknown",
        ),
        pytest.param(
            pod(), TAINT, [node(taints=[GPU])], FREE, f"{ONLY} taint nvidia.com/gpu=true:NoSchedule is not tolerated"
        ),
        pytest.param(
            pod(), TAINT, [node(taints=[GPU], allocatable={"memory": "2Gi"})], FREE,
            "nearest: node gpu-1, 2 things are in the way: taint nvidia.com/gpu=true:NoSchedule is not tolerated; "
            "4Gi memory asked for, it has 2Gi", id="the scheduler named the taint alone",
        ),
        pytest.param(
            pod(), TAINT, [node("gpu-1", taints=[GPU], unschedulable=True), node("gpu-10", taints=[GPU])], FREE,
            "nearest: node gpu-10, only one thing is in the way: taint nvidia.com/gpu=true:NoSchedule is not tolerated",
            id="the one with fewer obstacles",
        ),
        pytest.param(pod(), TAINT, [node(ready="Unknown", taints=[UNREACHABLE])], FREE, f"{ONLY} it is not ready"),
        pytest.param(pod(), TAINT, [node(unschedulable=True, taints=[CORDON])], FREE, f"{ONLY} it is cordoned"),
        pytest.param(
            pod(nodeSelector={"gpu": "a2000"}), TAINT, [node(labels={"gpu": "rtx-a2000"})], FREE,
            f"{ONLY} label gpu=a2000 asked for, it has gpu=rtx-a2000",
        ),
        pytest.param(
            pod(nodeSelector={"gpu": "a2000"}), TAINT, [node()], FREE,
            f"{ONLY} label gpu=a2000 asked for, it has no such label",
        ),
        pytest.param(
            pod(affinity=AFFINITY), TAINT, [node(labels={"vram": "12000"})], FREE,
            f"{ONLY} the pod's required node affinity does not fit it",
        ),
        pytest.param(pod(affinity=AFFINITY), TAINT, [node(labels={"vram": "24000"})], FREE, "None", id="affinity fits"),
        pytest.param(
            pod(), ZONE, [node()], FREE,
            "nearest: node gpu-1, one thing is in the way: node(s) had volume node affinity conflict (the scheduler's "
            "words)", id="nothing that can be looked up",
        ),
        pytest.param(
            pod(), ZONE, [node(taints=[GPU])], FREE,
            "nearest: node gpu-1, one thing is in the way: taint nvidia.com/gpu=true:NoSchedule is not tolerated",
            id="there may be more in the way",
        ),
        pytest.param(
            pod(), GPUS, [node(allocatable={"pods": "3"})], {"gpu-1": {"pods": Decimal(3)}},
            f"{ONLY} 1 pods asked for, 0 of its 3 free",
        ),
        pytest.param(pod(), GPUS, [], {}, "None", id="no node is known"),
    ],
)  # fmt: skip
def test_nearest(wanted: Pod, message: str, nodes: list[Node], used: Any, expected: str) -> None:
    assert str(nearest(wanted, message, nodes, used)) == expected


def test_what_a_pod_needs() -> None:
    """A sidecar counts beside what starts after it; an init container alone counts where it is the larger."""
    spec = {
        "initContainers": [
            {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"memory": "1Gi"}}},
            {"name": "unpack", "resources": {"requests": {"memory": "8Gi", "cpu": "500m"}}},
        ],
        "containers": [
            {"name": "stt", "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "4Gi", "cpu": "2"}}}
        ],
        "overhead": {"memory": "128Mi"},
    }
    assert needs(observed.pod({"spec": spec})) == {
        "pods": 1, "memory": Decimal(9 * 2**30 + 128 * 2**20), "cpu": Decimal(2)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("1", 1), ("500m", Decimal("0.5")), ("4Gi", 2**32), ("1k", 1000), ("", 0), ("NaN", 0), ("inf", 0), ("x", 0)],
)
def test_amount(quantity: str, expected: Decimal) -> None:
    assert amount(quantity) == expected


@pytest.mark.parametrize(
    ("name", "much", "expected"),
    [
        ("memory", 2**32, "4Gi"),
        ("memory", 1536 * 2**20, "1.5Gi"),
        ("ephemeral-storage", 100, "100"),
        ("cpu", Decimal("0.25"), "0.25"),
        ("nvidia.com/gpu", 100, "100"),
    ],
)
def test_shown(name: str, much: int, expected: str) -> None:
    assert shown(name, Decimal(much)) == expected
