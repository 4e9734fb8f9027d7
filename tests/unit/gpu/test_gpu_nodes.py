"""What node objects say of their GPUs, in every generation of labels, and what is found to be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError, Status
from ansible_collections.portal.stt.plugins.module_utils._gpu.findings import findings, mixed, placement
from ansible_collections.portal.stt.plugins.module_utils._gpu.labels import read_node
from ansible_collections.portal.stt.plugins.module_utils._gpu.listing import architectures, pools, selector_text
from ansible_collections.portal.stt.plugins.module_utils._gpu.node import Card, GpuNode, possible_brands
from ansible_collections.portal.stt.plugins.module_utils._gpu.nvidia_smi import DriverUnreadableError, read_cards
from ansible_collections.portal.stt.plugins.module_utils._gpu.operator import (
    DriverPod,
    Operator,
    read_devices,
    read_driver_pod,
    read_operator,
    says_cdi,
)
from ansible_collections.portal.stt.plugins.module_utils._gpu.probe import Probe, pod
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from tests.conftest import NVIDIA_SMI

# A T4 on AWS (g4dn.xlarge) under the GPU Operator: labels of a node in replicatedhq/troubleshoot's tests.
T4 = {
    "cuda.driver-version.full": "550.127.08",
    "cuda.driver-version.major": "550",
    "cuda.driver-version.minor": "127",
    "cuda.driver-version.revision": "08",
    "cuda.driver.major": "550",
    "cuda.driver.minor": "127",
    "cuda.driver.rev": "08",
    "cuda.runtime-version.full": "12.4",
    "cuda.runtime.major": "12",
    "cuda.runtime.minor": "4",
    "gfd.timestamp": "1734575658",
    "gpu.compute.major": "7",
    "gpu.compute.minor": "5",
    "gpu.count": "1",
    "gpu.deploy.driver": "true",
    "gpu.family": "turing",
    "gpu.memory": "15360",
    "gpu.present": "true",
    "gpu.product": "Tesla-T4",
    "gpu.replicas": "1",
    "gpu.sharing-strategy": "none",
    "mig.capable": "false",
    "mig.strategy": "single",
    "vgpu.present": "false",
}
OLD = {name: value for name, value in T4.items() if "-version" not in name and name != "gpu.sharing-strategy"}

SMI = NVIDIA_SMI.read_text()

# One of eight GPUs of an H100 node, as NVIDIA's DRA driver publishes it.
H100: dict[str, Any] = {
    "attributes": {
        "addressingMode": {"string": "HMM"},
        "architecture": {"string": "Hopper"},
        "brand": {"string": "Nvidia"},
        "cudaComputeCapability": {"version": "9.0.0"},
        "cudaDriverVersion": {"version": "13.0.0"},
        "driverVersion": {"version": "580.105.8"},
        "productName": {"string": "NVIDIA H100 80GB HBM3"},
        "type": {"string": "gpu"},
        "uuid": {"string": "GPU-bc5610b9-79c8-fedd-8899-07539c7f868a"},
    },
    "capacity": {"memory": {"value": "81559Mi"}},
    "name": "gpu-1",
}


def node(
    labels: Mapping[str, str],
    offered: Mapping[str, str] | None = None,
    ready: str = "True",
    **spec: Any,
) -> dict[str, Any]:
    """A Node object with NVIDIA's labels."""
    resources = {"cpu": "4", **({"nvidia.com/gpu": "1"} if offered is None else offered)}
    return {
        "metadata": {"name": "gpu-1", "labels": {f"nvidia.com/{name}": value for name, value in labels.items()}},
        "spec": spec,
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "nodeInfo": {"architecture": "amd64"},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def test_a_node_of_today() -> None:
    assert read_node(node(T4)) == GpuNode(
        name="gpu-1",
        product="Tesla-T4",
        brands=("Nvidia", "Tesla", "Unknown"),
        driver="550.127.08",
        cuda="12.4",
        compute_capability="7.5",
        memory_mib=15360,
        gpus=1,
        replicas=1,
        sharing="none",
        architecture="amd64",
        resource="nvidia.com/gpu",
        allocatable=1,
        source="gpu-feature-discovery",
    )


@pytest.mark.parametrize(
    ("labels", "driver", "cuda", "source", "problems"),
    [
        pytest.param(T4, "550.127.08", "12.4", "gpu-feature-discovery", (), id="0.15-and-newer"),
        pytest.param(OLD, "550.127.08", "12.4", "gpu-feature-discovery before 0.15", (), id="before-0.15"),
        pytest.param(
            {"cuda.driver.major": "550"},
            "550",
            "12.4",
            "gpu-feature-discovery before 0.15, CUDA version by the driver's branch",
            ("partial_labels",),
            id="branch-alone",
        ),
        pytest.param(
            {"cuda.driver-version.full": "999.1.2"},
            "999.1.2",
            "",
            "gpu-feature-discovery",
            (),
            id="a-branch-of-the-future",
        ),
        pytest.param({"gpu.present": "true"}, "", "", "", ("no_labels",), id="no-feature-discovery"),
    ],
)
def test_generations_of_labels(
    labels: Mapping[str, str], driver: str, cuda: str, source: str, problems: tuple[str, ...]
) -> None:
    found = read_node(node(labels))
    assert (found.driver, found.cuda, found.source, found.problems) == (driver, cuda, source, problems)


@pytest.mark.parametrize(
    ("labels", "offered", "sharing", "resource", "allocatable"),
    [
        pytest.param(
            {"gpu.product": "Tesla-T4-SHARED", "gpu.sharing-strategy": "time-slicing"},
            {"nvidia.com/gpu": "100"},
            "time-slicing",
            "nvidia.com/gpu",
            100,
            id="time-slicing",
        ),
        pytest.param(
            {"gpu.product": "Tesla-T4", "gpu.sharing-strategy": "time-slicing"},
            {"nvidia.com/gpu.shared": "10"},
            "time-slicing",
            "nvidia.com/gpu.shared",
            10,
            id="renamed",
        ),
        pytest.param(
            {"gpu.product": "Tesla-T4-SHARED"},
            {"nvidia.com/gpu": "5k"},
            "time-slicing",
            "nvidia.com/gpu",
            5000,
            id="before-0.15-and-canonical",
        ),
        pytest.param(
            {"gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "gpu.sharing-strategy": "none"},
            {"nvidia.com/gpu": "7"},
            "mig",
            "nvidia.com/gpu",
            7,
            id="mig-single",
        ),
        pytest.param(
            {"gpu.product": "NVIDIA-A100-SXM4-40GB", "mig.strategy": "mixed"},
            {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "7"},
            "mig",
            "nvidia.com/mig-1g.5gb",
            7,
            id="mig-mixed",
        ),
        pytest.param({}, {}, "", "", 0, id="no-device-plugin"),
    ],
)
def test_sharing_and_resources(
    labels: Mapping[str, str], offered: Mapping[str, str], sharing: str, resource: str, allocatable: int
) -> None:
    found = read_node(node(labels, offered))
    assert (found.sharing, found.resource, found.allocatable) == (sharing, resource, allocatable)


@pytest.mark.parametrize(
    ("product", "virtual", "brands"),
    [
        ("Tesla-T4", False, ("Nvidia", "Tesla", "Unknown")),
        ("NVIDIA-A100-SXM4-80GB", False, ("Nvidia", "Tesla", "Unknown")),
        ("NVIDIA-GeForce-RTX-3060", False, ("GeForce", "GeForceRTX")),
        ("GeForce-GTX-1070", False, ("GeForce", "GeForceRTX")),
        ("NVIDIA-TITAN-RTX", False, ("TITAN", "TITANRTX")),
        ("Quadro-P4000", False, ("Quadro", "QuadroRTX", "Unknown")),
        ("NVIDIA-RTX-A4000", False, ("NvidiaRTX", "QuadroRTX", "Quadro", "Nvidia", "Unknown")),
        ("", False, ()),
    ],
)
def test_brands(product: str, virtual: bool, brands: tuple[str, ...]) -> None:
    assert possible_brands(product, virtual) == brands


def test_a_virtual_gpu_may_have_any_of_the_licensed_brands() -> None:
    assert {"GRID", "VCS", "VWS", "Nvidia"} <= set(possible_brands("GRID-T4-16Q"))
    assert possible_brands("NVIDIA-A40-48Q", True) == possible_brands("GRID-T4-16Q")


def test_resource_slices_know_what_no_label_does() -> None:
    slices = [{"spec": {"nodeName": "gpu-1", "driver": "gpu.nvidia.com", "devices": [H100, H100]}}]
    found = read_node(node({"gpu.present": "true"}, {}), Operator(devices=read_devices(slices)))
    assert (found.product, found.brands, found.driver, found.cuda) == (
        "NVIDIA-H100-80GB-HBM3",
        ("Nvidia",),
        "580.105.8",
        "13.0",
    )
    assert (found.compute_capability, found.memory_mib, found.gpus) == ("9.0", 81559, 2)
    assert (found.resource, found.allocatable, found.problems) == ("gpu.nvidia.com", 2, ())


def test_a_resource_slice_is_not_the_resource_that_the_pod_asks_for() -> None:
    slices = [{"spec": {"nodeName": "gpu-1", "driver": "gpu.nvidia.com", "devices": [H100]}}]
    found = read_node(
        node({"gpu.present": "true"}, {}), Operator(devices=read_devices(slices)), wanted="nvidia.com/gpu"
    )
    assert (found.resource, found.allocatable, found.problems) == ("nvidia.com/gpu", 0, ("other_resource",))
    assert not found.usable


def test_resource_slices_of_unlike_cards() -> None:
    a2 = deepcopy(H100)
    a2["attributes"]["productName"]["string"] = "NVIDIA A2"
    slices = [{"spec": {"nodeName": "gpu-1", "devices": [H100, a2, H100]}}]
    found = read_node(node({"gpu.present": "true"}, {}), Operator(devices=read_devices(slices)))
    assert (found.product, found.gpus, found.problems) == ("NVIDIA-H100-80GB-HBM3", 3, ("mixed",))
    assert found.cards == (Card("NVIDIA-H100-80GB-HBM3", ("Nvidia",), "9.0"), Card("NVIDIA-A2", ("Nvidia",), "9.0"))
    assert GpuNode.from_result(found.as_result()).cards == found.cards


def test_resource_slices_before_their_first_stable_version() -> None:
    older = [{"spec": {"nodeName": "gpu-1", "devices": [{"name": "gpu-1", "basic": H100}]}}]
    assert read_devices(older) == read_devices([{"spec": {"nodeName": "gpu-1", "devices": [H100]}}])


@pytest.mark.parametrize(
    ("offered", "wanted", "resource", "allocatable", "problems"),
    [
        pytest.param({"nvidia.com/gpu": "4"}, "nvidia.com/gpu", "nvidia.com/gpu", 4, (), id="as asked"),
        pytest.param(
            {"nvidia.com/mig-1g.5gb": "7"}, "nvidia.com/gpu", "nvidia.com/gpu", 0, ("other_resource",), id="MIG only"
        ),
        pytest.param(
            {"nvidia.com/gpu": "1", "nvidia.com/mig-1g.5gb": "7"}, "nvidia.com/gpu", "nvidia.com/gpu", 1, (), id="both"
        ),
        pytest.param({"nvidia.com/mig-1g.5gb": "7"}, "", "nvidia.com/mig-1g.5gb", 7, (), id="whatever there is"),
        pytest.param({"nvidia.com/gpu": "0"}, "nvidia.com/gpu", "nvidia.com/gpu", 0, ("no_allocatable",), id="none"),
    ],
)
def test_the_resource_that_the_pod_asks_for(
    offered: dict[str, str], wanted: str, resource: str, allocatable: int, problems: tuple[str, ...]
) -> None:
    found = read_node(node(T4, offered), wanted=wanted)
    assert (found.resource, found.allocatable, found.problems) == (resource, allocatable, problems)


@pytest.mark.parametrize(
    ("offered", "count", "problems"),
    [
        pytest.param("2", 2, (), id="enough"),
        pytest.param("1", 2, ("too_few",), id="too few"),
        pytest.param("0", 2, ("no_allocatable",), id="none"),
    ],
)
def test_how_many_the_pod_asks_for(offered: str, count: int, problems: tuple[str, ...]) -> None:
    found = read_node(node(T4, {"nvidia.com/gpu": offered}), wanted="nvidia.com/gpu", count=count)
    assert (found.problems, found.usable) == (problems, not problems)


def container(name: str, ready: bool, **state: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "restartCount": 170, "state": state}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        pytest.param(
            [container("nvidia-driver-ctr", True, running={"startedAt": "2024-12-19T02:34:19Z"})],
            DriverPod("gpu-1", 1734575659, ""),
            id="runs",
        ),
        pytest.param(
            [container("nvidia-driver-ctr", False, waiting={"reason": "CrashLoopBackOff"})],
            DriverPod("gpu-1", 0, "CrashLoopBackOff, 170 restarts"),
            id="crash-loops",
        ),
        pytest.param(
            [
                container("nvidia-a-ctr", False, waiting={"reason": "ImagePullBackOff"}),
                container("nvidia-driver-ctr", True, running={"startedAt": "2024-12-19T02:34:19Z"}),
            ],
            DriverPod("gpu-1", 1734575659, ""),
            id="another-container-is-not-the-driver",
        ),
        pytest.param([], DriverPod("gpu-1", 0, "its container is not ready, 0 restarts"), id="not-started"),
    ],
)
def test_driver_pods(statuses: list[dict[str, Any]], expected: DriverPod) -> None:
    pod = {"spec": {"nodeName": "gpu-1"}, "status": {"containerStatuses": statuses}}
    assert read_driver_pod(pod) == expected


@pytest.mark.parametrize(
    ("version", "cdi", "expected"),
    [
        pytest.param("v25.10.1", {"enabled": True, "default": False}, True, id="default-says-nothing-any-more"),
        pytest.param("v26.3.0", {"enabled": False, "default": False}, False, id="switched-off"),
        pytest.param("v25.3.4", {"enabled": True, "default": False}, False, id="only-for-those-who-ask"),
        pytest.param("v25.3.4", {"enabled": True, "default": True}, True, id="old-and-default"),
        pytest.param("", {"enabled": True, "default": False}, False, id="which-release-is-not-known"),
        pytest.param("", {"enabled": True}, True, id="a-policy-without-the-old-field"),
        pytest.param("v25.10.1", None, False, id="not-mentioned"),
    ],
)
def test_cdi_mode_of_the_gpu_operator(version: str, cdi: dict[str, bool] | None, expected: bool) -> None:
    labels = {"app.kubernetes.io/version": version} if version else None
    assert says_cdi({"metadata": {"labels": labels}, "spec": {"cdi": cdi}}) is expected


@pytest.mark.parametrize(
    ("given", "operator", "problems"),
    [
        pytest.param(node(T4, ready="Unknown"), {}, ("not_ready",), id="kubelet-gone"),
        pytest.param(node(T4, unschedulable=True), {}, ("cordoned",), id="cordoned"),
        pytest.param(node(T4, {"nvidia.com/gpu": "0"}), {}, ("no_allocatable",), id="nothing-allocatable"),
        pytest.param(node({**T4, "gpu-driver-upgrade-state": "drain-required"}), {}, ("driver_upgrade",), id="upgrade"),
        pytest.param(node({**T4, "gpu-driver-upgrade-state": "upgrade-done"}), {}, (), id="upgraded"),
        pytest.param(
            node({**T4, "gpu.deploy.driver": "paused-for-driver-upgrade"}), {}, ("driver_upgrade",), id="paused"
        ),
        pytest.param(
            node(T4, {"nvidia.com/gpu": "0"}),
            {"gpu-1": DriverPod("gpu-1", 0, "CrashLoopBackOff, 170 restarts")},
            ("no_allocatable", "driver_pod"),
            id="driver-crash-loops",
        ),
        pytest.param(node(T4), {"gpu-1": DriverPod("gpu-1", 1734575659, "")}, ("stale_labels",), id="labels-are-older"),
        pytest.param(node(T4), {"gpu-1": DriverPod("gpu-1", 1734575600, "")}, (), id="labels-are-newer"),
        pytest.param(
            node({**T4, "gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-INVALID"}, {"nvidia.com/gpu": "0"}),
            {},
            ("no_allocatable", "mig_invalid"),
            id="mig-invalid",
        ),
    ],
)
def test_problems(given: dict[str, Any], operator: dict[str, DriverPod], problems: tuple[str, ...]) -> None:
    assert read_node(given, Operator(driver_pods=operator)).problems == problems


GPU_TAINT = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("taint", "tolerations", "away"),
    [
        pytest.param(GPU_TAINT, [], True, id="none"),
        pytest.param(GPU_TAINT, [{"key": "nvidia.com/gpu", "operator": "Exists"}], False, id="exists"),
        pytest.param(
            GPU_TAINT, [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}], False, id="equal"
        ),
        pytest.param(GPU_TAINT, [{"key": "nvidia.com/gpu", "value": "yes"}], True, id="another-value"),
        pytest.param(
            GPU_TAINT,
            [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}],
            True,
            id="another-effect",
        ),
        pytest.param(GPU_TAINT, [{"operator": "Exists"}], False, id="everything"),
        pytest.param({"key": "a", "effect": "PreferNoSchedule"}, [], False, id="a-preference"),
        pytest.param({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}, [], False, id="not-ready"),
        pytest.param({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}, [], False, id="unreachable"),
        pytest.param({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, [], False, id="cordoned"),
        pytest.param({"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}, [], True, id="disk-full"),
        pytest.param(
            {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}, [], True, id="out-of-service"
        ),
    ],
)
def test_taints(taint: dict[str, str], tolerations: list[dict[str, str]], away: bool) -> None:
    assert ("untolerated" in read_node(node(T4, taints=[taint]), None, tolerations).problems) is away


def test_taints_are_left_alone_without_tolerations() -> None:
    found = read_node(node(T4, taints=[GPU_TAINT]))
    assert found.problems == ()


def make(name: str, **facts: Any) -> GpuNode:
    known = {"product": "Tesla-T4", "driver": "570.195.03", "cuda": "12.8", "memory_mib": 15360}
    return GpuNode(name, **{**known, "resource": "nvidia.com/gpu", "allocatable": 100, **facts})


def test_one_finding_a_problem_however_many_nodes() -> None:
    broken = [make(f"gpu-{number}", allocatable=0, problems=("no_allocatable",)) for number in range(7)]
    found = findings([make("good"), *broken], "nvidia.com/gpu.present=true")
    assert [(one.check, one.status, one.subject, one.message) for one in found] == [
        ("gpu.nodes", Status.OK, "node good", "Ready, with 100 allocatable nvidia.com/gpu."),
        (
            "gpu.allocatable",
            Status.WARNING,
            "nodes gpu-0, gpu-1, gpu-2, gpu-3, gpu-4 and 2 more",
            "labelled as a GPU node, but offers no GPU to pods: driver or device plugin does not run there.",
        ),
    ]
    assert found[0].evidence == ("1 x Tesla-T4, 15360 MiB, driver 570.195.03, CUDA 12.8",)
    assert found[1].remedy == (
        "kubectl get pods -A -o wide --field-selector spec.nodeName=gpu-0, then the log of the driver's and the device "
        "plugin's pod."
    )


def test_the_only_node_without_a_gpu_is_a_refusal() -> None:
    found = findings([make("gpu-1", allocatable=0, problems=("no_allocatable",))], "nvidia.com/gpu.present=true")
    assert [(one.check, one.status) for one in found] == [("gpu.allocatable", Status.REFUSED)]


def test_a_driver_that_crash_loops_is_told_with_its_reason() -> None:
    pods = {"gpu-1": DriverPod("gpu-1", 0, "CrashLoopBackOff, 170 restarts")}
    broken = read_node(node(T4, {"nvidia.com/gpu": "0"}), Operator(driver_pods=pods))
    assert [(one.check, one.status, one.evidence) for one in findings([broken], "a=b")] == [
        ("gpu.allocatable", Status.REFUSED, ()),
        ("gpu.driver_pod", Status.REFUSED, ("CrashLoopBackOff, 170 restarts",)),
    ]


def test_no_node_at_all() -> None:
    (found,) = findings([], "nvidia.com/gpu.present=true")
    assert (found.status, f"{found.subject}: {found.message} {found.remedy}") == (
        Status.REFUSED,
        "nodes with nvidia.com/gpu.present=true: there are none: no pod that asks for a GPU could run. Label the GPU "
        "nodes (the GPU Operator does: nvidia.com/gpu.present=true), or name another label.",
    )


@pytest.mark.parametrize(
    ("facts", "replicas", "rolling", "messages"),
    [
        pytest.param({"replicas": 100}, 1, False, [], id="one server on a shared card"),
        pytest.param(
            {"replicas": 100},
            1,
            True,
            ["pods share cards there: old and new server can be in one card's memory during a RollingUpdate."],
            id="rolling on a shared card",
        ),
        pytest.param({"replicas": 1}, 1, True, [], id="rolling on whole cards"),
        pytest.param(
            {"replicas": 100},
            2,
            False,
            ["2 servers for 1 GPU: some are in the same card's memory."],
            id="two on one card: seats are no cards",
        ),
        pytest.param({"gpus": 2, "allocatable": 2}, 2, True, [], id="a card for each"),
        pytest.param({"gpus": 1, "sharing": "mig", "allocatable": 7, "replicas": 1}, 7, True, [], id="MIG instances"),
        pytest.param({"gpus": 0}, 2, True, [], id="the number of cards is not known"),
    ],
)
def test_servers_in_one_cards_memory(facts: dict[str, Any], replicas: int, rolling: bool, messages: list[str]) -> None:
    nodes = [make("a", **{"gpus": 1, "allocatable": 100, **facts}), make("b", gpus=4, problems=("cordoned",))]
    found = placement(nodes, replicas, rolling=rolling)
    assert [one.message for one in found] == messages
    assert {one.subject for one in found} <= {"node a"}


def test_pools() -> None:
    nodes = [make("a"), make("b", allocatable=0), make("c", product="NVIDIA-A100-SXM4-80GB", pool="big")]
    assert [(one["pool"], one["product"], one["nodes"], one["usable"], one["allocatable"]) for one in pools(nodes)] == [
        ("", "Tesla-T4", 2, 1, 100),
        ("big", "NVIDIA-A100-SXM4-80GB", 1, 1, 100),
    ]


def test_architectures_of_nodes_that_the_pod_could_be_put_on() -> None:
    nodes = [
        make("a", architecture="arm64", problems=("not_ready",)),
        make("b", architecture="amd64"),
        make("c", architecture="amd64"),
        make("d", architecture="s390x", problems=("untolerated",)),
        make("e"),
    ]
    assert architectures(nodes) == ["amd64", "arm64"]


def test_a_result_reads_back() -> None:
    found = read_node(node(T4))
    assert GpuNode.from_result(found.as_result()) == found


def test_a_node_by_hand_in_plain_words() -> None:
    found = GpuNode.from_result({"name": "a", "brands": "GeForce", "product": 3060})
    assert (found.brands, found.product) == (("GeForce",), "3060")
    assert GpuNode.from_result({"name": "a", "cards": ["Tesla-T4"]}).cards == (
        Card("Tesla-T4", ("Nvidia", "Tesla", "Unknown")),
    )


def test_a_node_by_hand() -> None:
    by_hand = GpuNode.from_result({"name": "box", "product": "GeForce-GTX-1070", "driver": 580.95, "unheard": 1})
    assert (by_hand.driver, by_hand.brands) == ("580.95", ("GeForce", "GeForceRTX"))
    with pytest.raises(CollectionError, match="an entry has no name"):
        GpuNode.from_result({"driver": "570.1"})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"nvidia.com/gpu.present": "true", "a": "b"}, "nvidia.com/gpu.present=true,a=b"),
        (" nvidia.com/gpu.present in (true) ", "nvidia.com/gpu.present in (true)"),
    ],
)
def test_selector(given: object, text: str) -> None:
    assert selector_text(given) == text


@pytest.mark.parametrize("given", [{}, "", None, ["a"]])
def test_no_selector(given: object) -> None:
    with pytest.raises(CollectionError, match="is neither a map of labels nor a selector"):
        selector_text(given)


def test_nvidia_smi() -> None:
    asked = read_cards(SMI, make("gpu-1", product="", driver="", cuda="", problems=("no_labels", "cordoned")))
    assert (asked.product, asked.brands, asked.driver, asked.cuda) == ("Tesla-T4", ("Nvidia",), "530.30.02", "12.1")
    assert (asked.compute_capability, asked.memory_mib, asked.gpus) == ("7.5", 15360, 1)
    assert (asked.source, asked.problems) == ("nvidia-smi", ("cordoned",))


@pytest.mark.parametrize(
    ("brand", "expected"),
    [("NVIDIA RTX", "NvidiaRTX"), ("GeForce", "GeForce"), ("Tesla", "Tesla"), ("Titan", "TITAN"), ("N/A", "Unknown")],
)
def test_nvidia_smi_brands(brand: str, expected: str) -> None:
    assert read_cards(SMI.replace(": NVIDIA\n", f": {brand}\n"), make("gpu-1")).brands == (expected,)


def test_nvidia_smi_of_an_old_driver() -> None:
    said = 'Field "compute_cap" is not a valid field to query.\n\n' + SMI.removeprefix("7.5\n")
    assert read_cards(said, make("gpu-1", compute_capability="7.5")).compute_capability == "7.5"


SECOND = """GPU 00000000:00:09.0
    Product Name                          : NVIDIA GeForce RTX 3060
    Product Brand                         : GeForce
"""
SMI_MIXED = f"8.6\n{SMI}{SECOND}".replace("8.6\n7.5\n", "7.5\n8.6\n")


def test_unlike_cards() -> None:
    found = read_cards(SMI_MIXED, make("gpu-1", problems=("stale_labels",)))
    assert (found.gpus, found.brands, found.problems) == (2, ("Nvidia",), ("mixed",))
    assert found.cards == (
        Card("Tesla-T4", ("Nvidia",), "7.5"),
        Card("NVIDIA-GeForce-RTX-3060", ("GeForce",), "8.6"),
    )
    (said,) = mixed(found)
    assert (said.check, said.status) == ("gpu.mixed", Status.WARNING)
    assert said.evidence == (
        "Tesla-T4, compute capability 7.5",
        "NVIDIA-GeForce-RTX-3060, compute capability 8.6",
    )
    assert read_cards(SMI, found).problems == ()
    assert mixed(read_cards(SMI, found)) == []


def test_unlike_cards_of_an_old_driver() -> None:
    """Which capability is whose cannot be told when one is missing."""
    found = read_cards(f"{SMI}{SECOND}", make("gpu-1"))
    assert [card.compute_capability for card in found.cards] == ["", ""]


def test_nvidia_smi_without_a_driver() -> None:
    said = (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
        "NVIDIA driver is installed and running.\n"
    )
    with pytest.raises(DriverUnreadableError) as caught:
        read_cards(said, make("gpu-1"))
    assert str(caught.value) == (
        "node gpu-1: nvidia-smi gives no driver version or no GPU; it says: NVIDIA-SMI has failed because it couldn't "
        "communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running. Look at "
        "the kernel's log there (dmesg | grep -i nvrm), and at the driver's pod where the GPU Operator installs it."
    )


@pytest.mark.parametrize(
    ("given", "limit", "env"),
    [
        pytest.param(make("a"), "1", None, id="takes-a-seat"),
        pytest.param(make("a", allocatable=0), None, "all", id="none-to-take"),
    ],
)
def test_the_probes_pod_takes_a_seat_where_there_is_one(given: GpuNode, limit: str | None, env: str | None) -> None:
    container = pod(given, Probe("ns", "debian:12", 60))["spec"]["containers"][0]
    assert container["resources"]["limits"].get("nvidia.com/gpu") == limit
    assert {one["name"]: one["value"] for one in container["env"]}.get("NVIDIA_VISIBLE_DEVICES") == env


VOLCANO: dict[str, Any] = {
    "metadata": {
        "name": "gpu-1",
        "labels": {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": "Tesla-T4",
            "nvidia.com/cuda.driver-version.full": "570.195.03",
            "nvidia.com/cuda.runtime-version.full": "12.8",
        },
    },
    "status": {
        "capacity": {"cpu": "4", "volcano.sh/vgpu-memory": "89424", "volcano.sh/vgpu-number": "10"},
        "allocatable": {"cpu": "4", "volcano.sh/vgpu-memory": "89424", "volcano.sh/vgpu-number": "10"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def offering(**counts: str) -> dict[str, Any]:
    return {**VOLCANO, "status": {**VOLCANO["status"], "capacity": counts, "allocatable": counts}}


@pytest.mark.parametrize(
    ("counts", "wanted", "resource", "allocatable", "problems"),
    [
        ({"volcano.sh/vgpu-number": "10"}, "volcano.sh/vgpu-number", "volcano.sh/vgpu-number", 10, ()),
        ({"volcano.sh/vgpu-number": "10"}, "", "volcano.sh/vgpu-number", 10, ()),
        ({"volcano.sh/vgpu-number": "10"}, "nvidia.com/gpu", "nvidia.com/gpu", 0, ("other_resource",)),
        ({"volcano.sh/vgpu-number": "10", "nvidia.com/gpu": "0"}, "", "volcano.sh/vgpu-number", 10, ()),
        ({"aliyun.com/gpu-mem": "15", "aliyun.com/gpu-count": "1"}, "aliyun.com/gpu-mem", "aliyun.com/gpu-mem", 15, ()),
        (
            {"nvidia.com/gpu.shared": "4", "nvidia.com/gpu": "0"},
            "nvidia.com/gpu.shared",
            "nvidia.com/gpu.shared",
            4,
            (),
        ),
        ({"nvidia.com/mig-1g.5gb": "7"}, "nvidia.com/mig-1g.5gb", "nvidia.com/mig-1g.5gb", 7, ()),
        ({"nvidia.com/gpu": "4", "nvidia.com/gpumem": "61440"}, "nvidia.com/gpumem", "nvidia.com/gpumem", 61440, ()),
        ({"nvidia.com/gpu": "10", "nvidia.com/gpucores": "400"}, "", "nvidia.com/gpu", 10, ()),
        ({"example.com/whatever": "2"}, "example.com/whatever", "example.com/whatever", 2, ()),
        ({"example.com/whatever": "2"}, "", "", 0, ("no_allocatable",)),
        ({"nvidia.com/gpu": "5k"}, "", "nvidia.com/gpu", 5000, ()),
        ({"nvidia.com/gpu": "1e3"}, "", "nvidia.com/gpu", 1000, ()),
        ({"nvidia.com/gpu": "-1"}, "", "nvidia.com/gpu", 0, ("no_allocatable",)),
        ({"nvidia.com/gpu": "1e999"}, "", "nvidia.com/gpu", 0, ("no_allocatable",)),
        ({"nvidia.com/gpu": "٣"}, "", "nvidia.com/gpu", 0, ("no_allocatable",)),
    ],
)
def test_a_resource_of_any_device_plugin(
    counts: dict[str, str], wanted: str, resource: str, allocatable: int, problems: tuple[str, ...]
) -> None:
    """Project-HAMi/volcano-vgpu-device-plugin and others: the resource is free text."""
    found = read_node(offering(**counts), wanted=wanted)
    assert (found.resource, found.allocatable, found.problems) == (resource, allocatable, problems)


@pytest.mark.parametrize(
    "value",
    [
        "\x1b[2J570.1",
        "570.1\n",
        "x" * 1_000_000,
        570,
        None,
        ["570.1"],
        {"a": 1},
        "570..1",
        "57\N{FULLWIDTH DIGIT ZERO}.1",
    ],
)
def test_a_label_that_kubernetes_would_not_take_names_no_driver(value: Any) -> None:
    labels = {**VOLCANO["metadata"]["labels"], "nvidia.com/cuda.driver-version.full": value}
    found = read_node({**VOLCANO, "metadata": {"name": "gpu-1", "labels": labels}})
    assert (found.driver, "no_labels" in found.problems) == ("", True)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["570.1", "12.8", "1", "True"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "name",
                        "labels",
                        "key",
                        "effect",
                        "value",
                        "type",
                        "status",
                        "nvidia.com/gpu",
                        "nvidia.com/gpu.count",
                    ),
                    *("nvidia.com/gpu.product", "nvidia.com/cuda.driver-version.full", "kubernetes.io/arch", "enabled"),
                    *(
                        "devices",
                        "basic",
                        "attributes",
                        "capacity",
                        "memory",
                        "nodeName",
                        "running",
                        "startedAt",
                        "cdi",
                    ),
                    *("productName", "string", "restartCount", "state", "waiting", "reason", "metadata", "spec"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=14,
)
PLACES = {
    "metadata": st.sampled_from(["name", "labels"]),
    "spec": st.sampled_from(["taints", "unschedulable", "devices", "nodeName", "cdi"]),
    "status": st.sampled_from(["capacity", "allocatable", "conditions", "nodeInfo", "containerStatuses", "namespace"]),
}
OBJECTS = st.fixed_dictionaries({}, optional={name: ODD | st.dictionaries(at, ODD) for name, at in PLACES.items()})


@settings(deadline=None, max_examples=500)
@given_any(given=OBJECTS, slices=st.lists(OBJECTS, max_size=2), pod=OBJECTS, policy=OBJECTS)
def test_any_object_is_read(given: Any, slices: list[Any], pod: Any, policy: Any) -> None:
    """Whatever a node, a ResourceSlice, a driver's pod or a ClusterPolicy holds: a node, no traceback, nothing that
    moves a cursor, no counts that are none, and none that is usable without being Ready."""
    driver_pod = read_driver_pod(pod)
    operator = Operator("cdi" if says_cdi(policy) else "", {driver_pod.node: driver_pod}, read_devices(slices))
    found = read_node(given, operator, [], "nvidia.com/gpu")
    texts = [value for value in vars(found).values() if isinstance(value, str)]
    assert all(text.isprintable() and len(text) <= 253 for text in texts)
    assert min(found.allocatable, found.gpus, found.replicas, found.memory_mib) >= 0
    assert GpuNode.from_result(found.as_result()).name == found.name
    conditions = given.get("status", {}).get("conditions") if isinstance(given.get("status"), dict) else None
    listed = [one for one in conditions if isinstance(one, dict)] if isinstance(conditions, list) else []
    says_ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in listed)
    assert not found.usable or says_ready
    assert all(one.message.isprintable() and one.subject.isprintable() for one in findings([found], "a"))


def test_the_namespace_of_the_operator_is_a_name() -> None:
    """It becomes part of a path."""

    class ClusterStandIn:
        paths: list[str] = []  # noqa: RUF012

        def get(self, path: str, query: Any) -> dict[str, Any]:
            self.paths.append(path)
            policies = [{"status": {"namespace": "../secrets"}}, {"status": {"namespace": 5}}, "nonsense", None]
            return {"items": policies if "clusterpolicies" in path else None, "metadata": None}

    read_operator(ClusterStandIn())  # type: ignore[arg-type]
    assert ClusterStandIn.paths[-1] == "/api/v1/namespaces/gpu-operator/pods"
