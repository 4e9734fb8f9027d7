# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a cluster says of its GPU nodes: gpu-feature-discovery's labels of all generations, the GPU Operator's,
device plugin resources, ResourceSlices; and what is wrong with them.

Labels: k8s-device-plugin, internal/lm. Brands: libnvidia-container, src/driver.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .._findings import CollectionError, Finding, Status
from .._kubernetes import objects as observed

if TYPE_CHECKING:
    from .._kubernetes.cluster import Cluster

PAGE = 500  # nodes a request: what kubectl takes
PRESENT = {"nvidia.com/gpu.present": "true"}
_NAMESPACE = "gpu-operator"  # of the GPU Operator, where its ClusterPolicy does not tell
_DRIVER_CONTAINER = "nvidia-driver-ctr"
_CDI_BY_DEFAULT = (25, 10)  # since this release of the GPU Operator cdi.enabled says it all, cdi.default nothing

# The CUDA version that each driver branch brings (CUDA toolkit release notes, table 3).
BRANCH_CUDA = {
    470: "11.4",
    495: "11.5",
    510: "11.6",
    515: "11.7",
    520: "11.8",
    525: "12.0",
    530: "12.1",
    535: "12.2",
    545: "12.3",
    550: "12.4",
    555: "12.5",
    560: "12.6",
    565: "12.7",
    570: "12.8",
    575: "12.9",
    580: "13.0",
    590: "13.1",
    595: "13.2",
    610: "13.3",
    615: "13.4",
}

# No label names the brand. A data-centre card calls itself Nvidia, with old drivers Tesla, with a container
# library before 1.9 Unknown.
_DATA_CENTRE = ("Nvidia", "Tesla", "Unknown")
_BRANDS = (
    (re.compile(r"(NVIDIA-)?GeForce", re.I), ("GeForce", "GeForceRTX")),
    (re.compile(r"(NVIDIA-)?TITAN", re.I), ("TITAN", "TITANRTX")),
    (re.compile(r"(NVIDIA-)?Quadro", re.I), ("Quadro", "QuadroRTX", "Unknown")),
    (re.compile(r"NVIDIA-RTX", re.I), ("NvidiaRTX", "QuadroRTX", "Quadro", "Nvidia", "Unknown")),
    (re.compile(r"(NVIDIA-)?NVS", re.I), ("NVS",)),
)
ALL_BRANDS = (
    *("Quadro", "Tesla", "NVS", "GRID", "GeForce", "TITAN", "VApps", "VPC", "VCS", "VWS", "CloudGaming"),
    *("QuadroRTX", "NvidiaRTX", "Nvidia", "GeForceRTX", "TITANRTX", "Unknown"),
)
_VIRTUAL = ("GRID", "VApps", "VPC", "VCS", "VWS", "CloudGaming", *_DATA_CENTRE)

_POOL_LABELS = (
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
    "node.kubernetes.io/instance-type",
)
_RESOURCES = ("nvidia.com/gpu", "nvidia.com/gpu.shared")
_MIG = "nvidia.com/mig-"  # one resource a profile, where the MIG strategy is mixed
_DRA_VERSIONS = ("v1", "v1beta2", "v1beta1")  # Kubernetes 1.34, 1.33, 1.32
# Kubernetes puts these taints on a node that is not Ready or cordoned, which are findings of their own.
_TOLD_OTHERWISE = frozenset(f"node.kubernetes.io/{name}" for name in ("not-ready", "unreachable", "unschedulable"))
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Card:
    """One of the kinds of GPU in a node where they are not all alike; its fields as in GpuNode."""

    product: str
    brands: tuple[str, ...] = ()
    compute_capability: str = ""


@dataclass(frozen=True)
class GpuNode:
    """A node with what is known of its GPUs; empty or 0 where nothing is.

    pool: the name of its node pool, where a provider's label has one.
    product: as gpu-feature-discovery writes it, without its -SHARED.
    brands: what its brand may be, as libnvidia-container spells it; one entry when it is known.
    driver: version; one number only (``570``) when just the branch is known.
    cuda, compute_capability: ``12.8``, ``7.5``.
    memory_mib: of one GPU. gpus: physical ones. replicas: seats a GPU (time-slicing, MPS).
    sharing: ``none``, ``time-slicing``, ``mps``, ``mig`` or empty.
    resource, allocatable: the extended resource and its count as the kubelet reports it.
    source: where driver and CUDA version come from.
    runtime_mode: ``cdi`` when the GPU Operator says so, else empty.
    cards: every kind of GPU in it, where they are not all alike; then what is said above is the first one's.
    driver_pod: what keeps the GPU Operator's driver pod there from being ready (``CrashLoopBackOff``), else empty.
    problems: what is wrong, one identifier each (keys of PROBLEMS).
    """

    name: str
    pool: str = ""
    product: str = ""
    brands: tuple[str, ...] = ()
    driver: str = ""
    cuda: str = ""
    compute_capability: str = ""
    memory_mib: int = 0
    gpus: int = 0
    replicas: int = 0
    sharing: str = ""
    architecture: str = ""
    resource: str = ""
    allocatable: int = 0
    source: str = ""
    runtime_mode: str = ""
    cards: tuple[Card, ...] = ()
    driver_pod: str = ""
    problems: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a pod could get a GPU there."""
        return self.allocatable > 0 and not _UNUSABLE.intersection(self.problems)

    @property
    def target(self) -> bool:
        """Whether the pod could ever be put there: what is merely out of order now may be back."""
        return not OUT_OF_REACH.intersection(self.problems)

    @property
    def card(self) -> str:
        """The node's GPU in a few words, for messages."""
        parts = (
            self.product or "GPU unknown",
            f"driver {self.driver or 'unknown'}",
            f"CUDA {self.cuda or 'unknown'}",
        )
        return ", ".join(parts)

    def as_result(self) -> dict[str, Any]:
        """The node as a module returns it, without brands that only follow from its product."""
        brands = () if self.brands == possible_brands(self.product) else self.brands
        # dataclasses.asdict copies deeply, which thousands of nodes feel
        return {**vars(self), "brands": brands, "cards": [vars(card) for card in self.cards], "problems": self.problems}

    @classmethod
    def from_result(cls, given: Mapping[str, Any]) -> GpuNode:
        """The node of a module's result, or of what an operator wrote by hand: a name and what is known.

        Raises CollectionError without a name.
        """
        if not given.get("name"):
            raise CollectionError(
                "nodes", "an entry has no name.", "Give the nodes that portal.stt.gpu_node_info returns."
            )
        known = {field.name: given[field.name] for field in fields(cls) if given.get(field.name) is not None}
        known.update({name: str(known[name]) for name in ("name", "pool", "product", "sharing") if name in known})
        for name in ("brands", "problems"):
            known[name] = _words(known.get(name, ()))
        known["cards"] = tuple(
            Card(
                str(card.get("product", "")),
                _words(card.get("brands", ())) or possible_brands(str(card.get("product", ""))),
                _readable(str(card.get("compute_capability", ""))),
            )
            for card in (one if isinstance(one, Mapping) else {"product": one} for one in known.get("cards", ()))
        )
        for name in ("driver", "cuda", "compute_capability"):
            known[name] = _readable(str(known.get(name, "")))
        node = cls(**known)
        return replace(
            node,
            brands=node.brands or possible_brands(node.product),
            cuda=node.cuda or _branch_cuda(node.driver),
        )


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


PROBLEMS: dict[str, tuple[str, str, str]] = {
    "not_ready": ("gpu.node_ready", "not Ready", "kubectl describe node NODE tells why."),
    "cordoned": ("gpu.node_ready", "cordoned", "When its maintenance is over: kubectl uncordon NODE"),
    "untolerated": (
        "gpu.taint",
        "a taint there keeps the pod away",
        "Add a toleration for it, or select other nodes: kubectl describe node NODE lists its taints.",
    ),
    "no_allocatable": (
        "gpu.allocatable",
        "labelled as a GPU node, but offers no GPU to pods: driver or device plugin does not run there",
        "kubectl get pods -A -o wide --field-selector spec.nodeName=NODE, then the log of the driver's and the "
        "device plugin's pod.",
    ),
    "other_resource": (
        "gpu.allocatable",
        "it offers its GPUs as another resource than the pod asks for",
        "Set resource in speaches_gpu to what it offers: kubectl describe node NODE",
    ),
    "too_few": (
        "gpu.allocatable",
        "it has fewer GPUs than the pod asks for",
        "Lower count in speaches_gpu, or select nodes with more GPUs.",
    ),
    "driver_pod": (
        "gpu.driver_pod",
        "the pod with the driver is not ready there",
        "kubectl get pods -A -o wide -l app.kubernetes.io/component=nvidia-driver --field-selector spec.nodeName=NODE, "
        "then its log.",
    ),
    "driver_upgrade": (
        "gpu.driver_pod",
        "the GPU Operator is changing the driver there",
        "Wait for it: the label nvidia.com/gpu-driver-upgrade-state becomes upgrade-done.",
    ),
    "stale_labels": (
        "gpu.labels",
        "the driver started after gpu-feature-discovery wrote the labels: they may name an older driver",
        "Restart gpu-feature-discovery there (delete its pod), or let portal.stt.gpu_node_probe read the driver.",
    ),
    "no_labels": (
        "gpu.labels",
        "no label names the driver",
        "Install gpu-feature-discovery (the GPU Operator does), or let portal.stt.gpu_node_probe read the driver.",
    ),
    "partial_labels": (
        "gpu.labels",
        "labels name only the driver's branch, not its version",
        "Update gpu-feature-discovery to 0.15 or newer, or let portal.stt.gpu_node_probe read the driver.",
    ),
    "mixed": (
        "gpu.mixed",
        "its GPUs are not alike: the verdict is the worst of them, all else that is said is the first one's",
        "Put unlike cards into nodes of their own.",
    ),
    "mig_invalid": (
        "gpu.mig",
        "the MIG layout is invalid for the strategy single",
        "Give all GPUs of the node the same MIG layout: label nvidia.com/mig.config.",
    ),
}
OUT_OF_REACH = frozenset(("untolerated", "other_resource", "too_few"))
_UNUSABLE = OUT_OF_REACH | {"not_ready", "cordoned"}
_ALWAYS_WARNING = frozenset(("driver_upgrade", "stale_labels", "no_labels", "partial_labels", "mixed"))


def selector_text(given: object) -> str:
    """A label selector in Kubernetes' text form, from a map of labels or from that form.

    Raises CollectionError for anything else.
    """
    from .._kubernetes.cluster import label_selector

    if isinstance(given, Mapping) and given:
        return label_selector(given)
    if isinstance(given, str) and given.strip():
        return given.strip()
    raise CollectionError(
        "label_selector",
        f"{given!r} is neither a map of labels nor a selector.",
        "Write for example: {nvidia.com/gpu.present: 'true'}",
    )


def gpu_nodes(
    cluster: Cluster,
    selector: str,
    tolerations: Sequence[Mapping[str, Any]] | None = None,
    resource: str = "",
    count: int = 1,
) -> list[GpuNode]:
    """The nodes that a label selector names, read page by page, with what is known of their GPUs.

    tolerations: of the pod that is to run there; None to leave taints alone.
    resource: the extended resource that the pod asks for; empty to take what a node offers most of.
    count: how many of it.

    Raises ClusterError, or CollectionError for a selector that the API server cannot read.
    """
    from .._kubernetes.cluster import ClusterError

    operator = _operator(cluster)
    pages = _pages(cluster, "/api/v1/nodes", {"labelSelector": selector})
    try:
        return [read_node(node, operator, tolerations, resource, count) for node in pages]
    except ClusterError as exc:
        if exc.status != 400:
            raise
        raise CollectionError(
            f"label_selector {selector!r}",
            f"the API server cannot read it: {exc.message}",
            "Try it with: kubectl get nodes -l SELECTOR",
        ) from exc


def read_node(
    node: Mapping[str, Any],
    operator: Operator | None = None,
    tolerations: Sequence[Mapping[str, Any]] | None = None,
    wanted: str = "",
    count: int = 1,
) -> GpuNode:
    """A node object of the API, read. tolerations, wanted, count: as in `gpu_nodes`, `wanted` its `resource`."""
    operator = operator or Operator()
    metadata, status, spec = node["metadata"], node.get("status", {}), node.get("spec", {})
    name, labels = metadata["name"], metadata.get("labels") or {}
    device = (operator.devices or {}).get(name)
    pod = (operator.driver_pods or {}).get(name)
    product = _label(labels, "gpu.product")
    driver, cuda, source = _driver(labels, device)
    resource, allocatable = _resource(status)
    if device and not resource:
        resource, allocatable = device.resource, device.gpus
    others = 0
    if wanted and resource not in ("", wanted):
        others = allocatable
        resource, allocatable = wanted, _quantity(status.get("allocatable", {}).get(wanted))
    problems = [*_unfit(spec, status, tolerations), *_doubts(labels, driver, allocatable, others, pod)]
    if 0 < allocatable < count:
        problems.append("too_few")
    if device:
        problems += device.problems
    return GpuNode(
        name=name,
        pool=next((labels[label] for label in _POOL_LABELS if labels.get(label)), ""),
        product=product.removesuffix("-SHARED") or (device.product if device else ""),
        brands=device.brands
        if device and device.brands
        else possible_brands(product, _label(labels, "vgpu.present") == "true"),
        driver=driver,
        cuda=cuda,
        compute_capability=_version(labels, "gpu.compute.major", "gpu.compute.minor")
        or (device.compute_capability if device else ""),
        memory_mib=_count(_label(labels, "gpu.memory")) or (device.memory_mib if device else 0),
        gpus=_count(_label(labels, "gpu.count")) or (device.gpus if device else 0),
        replicas=_count(_label(labels, "gpu.replicas")),
        sharing=_sharing(labels, resource) or (device.sharing if device else ""),
        architecture=status.get("nodeInfo", {}).get("architecture", "") or labels.get("kubernetes.io/arch", ""),
        resource=resource,
        allocatable=allocatable,
        source=source,
        runtime_mode=operator.runtime_mode,
        cards=device.cards if device else (),
        driver_pod=pod.trouble if pod else "",
        problems=tuple(problems),
    )


def unlike(cards: Iterable[Card]) -> tuple[Card, ...]:
    """Each kind of GPU once where there are several; nothing where all are alike."""
    kinds = tuple(dict.fromkeys(cards))
    return kinds if len(kinds) > 1 else ()


@lru_cache(maxsize=128)
def possible_brands(product: str, virtual: bool = False) -> tuple[str, ...]:
    """The brands that a card of this product name may have for the runtime; empty without a name."""
    if virtual or product.startswith("GRID"):
        return _VIRTUAL
    for pattern, brands in _BRANDS:
        if pattern.match(product):
            return brands
    return _DATA_CENTRE if product else ()


def pools(nodes: Iterable[GpuNode]) -> list[dict[str, Any]]:
    """The nodes grouped by pool, card, driver and sharing: one entry for all that are alike."""
    groups: dict[tuple[str, ...], list[GpuNode]] = {}
    for node in nodes:
        key = (node.pool, node.product, node.driver, node.cuda, node.sharing, node.architecture)
        groups.setdefault(key, []).append(node)
    return [
        {
            "pool": group[0].pool,
            "product": group[0].product,
            "driver": group[0].driver,
            "cuda": group[0].cuda,
            "compute_capability": group[0].compute_capability,
            "memory_mib": group[0].memory_mib,
            "sharing": group[0].sharing,
            "architecture": group[0].architecture,
            "nodes": len(group),
            "usable": sum(node.usable for node in group),
            "allocatable": sum(node.allocatable for node in group),
        }
        for _, group in sorted(groups.items())
    ]


def architectures(nodes: Iterable[GpuNode]) -> list[str]:
    """The processors of the nodes that the pod could be put on (``amd64``), each once."""
    return sorted({node.architecture for node in nodes if node.target and node.architecture})


def findings(nodes: list[GpuNode], selector: str) -> list[Finding]:
    """What the operator should know of the nodes: one finding a problem, however many nodes have it."""
    if not nodes:
        return [
            Finding(
                "gpu.nodes",
                Status.REFUSED,
                f"nodes with {selector}",
                "there are none: no pod that asks for a GPU could run.",
                "Label the GPU nodes (the GPU Operator does: nvidia.com/gpu.present=true), or name another label.",
            )
        ]
    usable = [node for node in nodes if node.usable]
    # While one node can take the pod, what is wrong with the others is to know, not a reason to stop.
    severity = Status.WARNING if usable else Status.REFUSED
    found = []
    if usable:
        seats = sum(node.allocatable for node in usable)
        found.append(
            Finding(
                "gpu.nodes",
                Status.OK,
                named(usable),
                f"Ready, with {seats} allocatable {usable[0].resource}.",
                evidence=tuple(_line(pool) for pool in pools(usable)),
            )
        )
    for problem, (check, message, remedy) in PROBLEMS.items():
        having = [node for node in nodes if problem in node.problems]
        if having:
            status = Status.WARNING if problem in _ALWAYS_WARNING else severity
            subject = named(having)
            remedy = remedy.replace("NODE", having[0].name)
            evidence = sorted({node.driver_pod for node in having}) if problem == "driver_pod" else ()
            found.append(Finding(check, status, subject, f"{message}.", remedy, tuple(evidence)))
    return found


def mixed(node: GpuNode) -> list[Finding]:
    """The finding for a node whose GPUs are not alike, with the kinds; none for any other."""
    if not node.cards:
        return []
    check, message, remedy = PROBLEMS["mixed"]
    kinds = tuple(f"{card.product}, compute capability {card.compute_capability or 'unknown'}" for card in node.cards)
    return [Finding(check, Status.WARNING, f"node {node.name}", f"{message}.", remedy, kinds)]


def placement(nodes: Iterable[GpuNode], replicas: int, *, rolling: bool) -> list[Finding]:
    """Whether servers would be in one card's memory with each other, since a seat on a shared card is not a card.

    replicas: servers. rolling: old and new ones run at once during an update.
    """
    usable = [node for node in nodes if node.usable]
    shared = [node for node in usable if node.replicas > 1]
    # A MIG instance has memory of its own.
    cards = sum(node.allocatable // max(node.replicas, 1) if node.sharing == "mig" else node.gpus for node in usable)
    found = []
    if rolling and shared:
        found.append(
            Finding(
                "gpu.placement",
                Status.WARNING,
                named(shared),
                "pods share cards there: old and new server can be in one card's memory during a RollingUpdate.",
                "Set speaches_strategy: Recreate, or select nodes with whole GPUs in speaches_gpu.node_selector.",
            )
        )
    if replicas > cards > 0:
        found.append(
            Finding(
                "gpu.placement",
                Status.WARNING,
                named(usable),
                f"{replicas} servers for {cards} GPU{'s' if cards > 1 else ''}: some are in the same card's memory.",
                "Set speaches_replicas to the number of cards at most, or see that a card has room for several.",
            )
        )
    return found


def named(nodes: list[GpuNode]) -> str:
    """``node a`` or ``nodes a, b and 3 more``."""
    names = [node.name for node in nodes]
    if len(names) == 1:
        return f"node {names[0]}"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"nodes {', '.join(names[:_NAMES_SHOWN])}{more}"


def _line(pool: Mapping[str, Any]) -> str:
    parts = [
        f"{pool['nodes']} x {pool['product'] or 'unknown GPU'}",
        f"{pool['memory_mib']} MiB" if pool["memory_mib"] else "",
        f"driver {pool['driver'] or 'unknown'}, CUDA {pool['cuda'] or 'unknown'}",
        pool["sharing"] if pool["sharing"] not in ("", "none") else "",
    ]
    return ", ".join(part for part in parts if part)


def _pages(cluster: Cluster, path: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        page = cluster.get(path, {**query, "limit": PAGE, **({"continue": token} if token else {})})
        yield from page.get("items") or ()
        token = page["metadata"].get("continue", "")
        if not token:
            return


def _operator(cluster: Cluster) -> Operator:
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
        runtime_mode="cdi" if any(_cdi(policy) for policy in policies) else "",
        driver_pods={pod.node: pod for pod in map(_driver_pod, pods) if pod.node},
        devices=_devices(slices),
    )


def _optional(cluster: Cluster, *paths: str, query: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """What is at the first of these paths that the API server has; nothing where it has none, or may not be read."""
    from .._kubernetes.cluster import ClusterError

    for path in paths:
        try:
            return list(_pages(cluster, path, query or {}))
        except ClusterError as exc:
            if exc.status not in (403, 404):  # not installed, or not ours to read: the labels must do
                raise
    return []


def _cdi(policy: Mapping[str, Any]) -> bool:
    cdi = policy.get("spec", {}).get("cdi") or {}
    version = re.match(r"v?(\d+)\.(\d+)", (policy["metadata"].get("labels") or {}).get("app.kubernetes.io/version", ""))
    new = version is not None and (int(version[1]), int(version[2])) >= _CDI_BY_DEFAULT
    # The API server fills in default: false, whatever the release.
    return bool(cdi.get("enabled")) and (new or cdi.get("default") is not False)


def _driver_pod(pod: Mapping[str, Any]) -> DriverPod:
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


def _devices(slices: Iterable[Mapping[str, Any]]) -> dict[str, GpuNode]:
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


def _unfit(
    spec: Mapping[str, Any], status: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]] | None
) -> Iterator[str]:
    """What keeps pods away."""
    if not any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions", ())):
        yield "not_ready"
    if spec.get("unschedulable"):
        yield "cordoned"
    if tolerations is not None and _kept_away(spec.get("taints") or (), tolerations):
        yield "untolerated"


def _doubts(
    labels: Mapping[str, str], driver: str, allocatable: int, others: int, pod: DriverPod | None
) -> Iterator[str]:
    """What is wrong with its GPUs, or with what is said of them. others: GPUs under another name than the wanted."""
    if not allocatable:
        yield "other_resource" if others else "no_allocatable"
    if pod and pod.trouble:
        yield "driver_pod"
    if _label(labels, "gpu-driver-upgrade-state") not in ("", "upgrade-done") or _label(
        labels, "gpu.deploy.driver"
    ).startswith("paused"):
        yield "driver_upgrade"
    labelled = _count(_label(labels, "gfd.timestamp"))
    if pod and labelled and pod.since > labelled:
        yield "stale_labels"
    if not driver:
        yield "no_labels"
    elif "." not in driver:
        yield "partial_labels"
    if "MIG-INVALID" in _label(labels, "gpu.product"):
        yield "mig_invalid"


def _kept_away(taints: Iterable[Mapping[str, Any]], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a taint keeps pods away that no toleration covers."""
    left = observed.untolerated(observed.taints(taints), observed.tolerations(tolerations))
    return any(taint.key not in _TOLD_OTHERWISE for taint in left)


def _driver(labels: Mapping[str, str], device: GpuNode | None) -> tuple[str, str, str]:
    """Driver, its CUDA version, and where they come from: the first source that knows the driver."""
    new = (_label(labels, "cuda.driver-version.full"), _label(labels, "cuda.runtime-version.full"))
    slices = (device.driver, device.cuda) if device else ("", "")
    old = (
        _version(labels, "cuda.driver.major", "cuda.driver.minor", "cuda.driver.rev"),
        _version(labels, "cuda.runtime.major", "cuda.runtime.minor"),
    )
    for source, versions in (
        ("gpu-feature-discovery", new),
        ("ResourceSlice", slices),
        ("gpu-feature-discovery before 0.15", old),
    ):
        driver, cuda = map(_readable, versions)
        if driver and cuda:
            return driver, cuda, source
        if driver:
            cuda = _branch_cuda(driver)
            return driver, cuda, f"{source}, CUDA version by the driver's branch" if cuda else source
    return "", next(filter(None, map(_readable, (new[1], slices[1], old[1]))), ""), ""


def _branch_cuda(driver: str) -> str:
    branch = driver.split(".")[0]
    return BRANCH_CUDA.get(int(branch), "") if branch.isdecimal() else ""


def _readable(version: str) -> str:
    """The version, or nothing where it is none that the runtime could compare."""
    return version if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})*", version) else ""


def _sharing(labels: Mapping[str, str], resource: str) -> str:
    if "-MIG-" in _label(labels, "gpu.product") or resource.startswith(_MIG):
        return "mig"
    strategy = _label(labels, "gpu.sharing-strategy")
    if strategy:
        return strategy
    # Before 0.15 there was no such label; time-slicing was the only sharing, and showed in the product's name.
    return "time-slicing" if _label(labels, "gpu.product").endswith("-SHARED") else ""


def _resource(status: Mapping[str, Any]) -> tuple[str, int]:
    capacity, allocatable = status.get("capacity", {}), status.get("allocatable", {})
    offered = [name for name in capacity if name in _RESOURCES or name.startswith(_MIG)]
    if not offered:
        return "", 0
    name = max(offered, key=lambda resource: (_quantity(allocatable.get(resource)), resource in _RESOURCES))
    return name, _quantity(allocatable.get(name))


def _quantity(value: object) -> int:
    """A count as Kubernetes writes it: canonical form turns 5000 into ``5k``."""
    text = str(value or "0")
    factor = {"k": 1000, "M": 1000_000}.get(text[-1:], 1)
    return _count(text.rstrip("kM")) * factor


def _mebibytes(quantity: str) -> int:
    match = re.fullmatch(r"(\d+)(Ki|Mi|Gi|)", quantity)
    if not match:
        return 0
    return int(match[1]) * {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "": 1}[match[2]] // 1024**2


def _label(labels: Mapping[str, str], name: str) -> str:
    return labels.get(f"nvidia.com/{name}", "")


def _version(labels: Mapping[str, str], *names: str) -> str:
    """Labels joined by dots up to the first that is missing."""
    parts: list[str] = []
    for name in names:
        value = _label(labels, name)
        if not value:
            break
        parts.append(value)
    return ".".join(parts)


def _words(given: str | Iterable[object]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(map(str, given))


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0
