# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: no node takes the pod, or a node turns it away."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..._kubernetes.objects import Node, Pod, Taint, untolerated
from ..nearest import barriers, counts, nearest
from ..rule import Hit, Look, Rule, at, containers_of
from ..seen import Seen
from ..words import bounded, one_line

Which = Callable[[Pod, list[Node]], bool]

COMING = ("TriggeredScaleUp", "Nominated")
"""What cluster-autoscaler and Karpenter say of a pod for which they make a node."""

AUTOSCALER = (*COMING, "NotTriggerScaleUp", "FailedScaleUp")

EVICTIONS = ("Evicted", "Preempting", "Shutdown", "NodeShutdown", "Terminated", "TerminationByKubelet")
"""Reasons with which a kubelet ends pods that may well run elsewhere or later."""

PASSING_TAINTS = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "node.cilium.io/agent-not-ready",
    "startup-taint.cluster-autoscaler.kubernetes.io/",
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "karpenter.sh/",
)
"""Beginnings of the keys of taints that a cluster sets and takes away by itself."""

_TAINT = r"untolerated taint|taints? (?:\{[^}]*\}, )?that the pod didn't tolerate|PodToleratesNodeTaints"
_ELSEWHERE = r"volume node affinity conflict|didn't match PersistentVolume's node affinity|no available volume zone"
_KEPT_BACK = (
    r"node\(s\) were unschedulable|"
    r"taints? \{(?:node\.kubernetes\.io/|node\.cloudprovider\.kubernetes\.io/|karpenter\.sh/)"
)
_TOLD = re.compile(
    r"taint|Insufficient|Too many pods|affinity|node selector|MatchNodeSelector|were unschedulable|ready|volume|"
    r"free ports|topology spread|requested node name|preempt",
    re.IGNORECASE,
)
"""Reasons of the scheduler's own filters: one that is none of them comes from a plug-in or from another scheduler."""
_MISFIT = r"requested PV is too small|access ?modes?|storage ?class(?:Name)?s? .*(?:match|mismatch)|volumeMode"


def unscheduled(pattern: str, which: Which = lambda pod, nodes: True, *, blind: bool = True) -> Look:
    """The scheduler finds no place, in its own words.

    Those count every node of the cluster. `which` gets the pod and the nodes that its selector asks for, and says
    whether the words are about them; `blind` is the answer where nodes could not be looked up.
    """

    def look(seen: Seen) -> Hit | None:
        for pod in seen.pods:
            place = pod.conditions.get("PodScheduled")
            if place is None or place.status != "False" or pod.node:
                continue
            if not (blind if seen.neighbours is None else which(pod, list(seen.nodes.values()))):
                continue
            said = re.split(r"\s?(?:no new claims to deallocate, )?preemption:", bounded(place.message))[0].strip(" .,")
            found = re.search(pattern, said, re.IGNORECASE)
            if found:
                words = {"selector": _selector(pod), **found.groupdict("")}
                near = _nearest(seen, pod, place.message)
                return Hit(at(pod), (f"scheduler: {said}", *near, *_node_lines(seen)), words)
        return None

    return look


def gpu_missing(test: Callable[[int, int], bool]) -> Look:
    """Too few GPUs for the pod; `test` gets the largest number a node has, and the number asked for."""
    told = unscheduled(r"Insufficient (?P<resource>\S*/(?:gpu|mig)\S*|\S+\.\S+/\S+)")

    def look(seen: Seen) -> Hit | None:
        hit = told(seen)
        if hit is None or not seen.nodes:
            return None
        name = hit.words["resource"].rstrip(".,")
        wanted = max((_number(c.limits.get(name, "0")) for _, c in containers_of(seen)), default=0)
        most = max((_number(node.allocatable.get(name, "0")) for node in seen.nodes.values()), default=0)
        if not test(most, wanted) or (most >= wanted and _about_others(seen, name, wanted)):
            return None
        words = {**hit.words, "resource": name, "most": str(most), "wanted": str(wanted)}
        holders = tuple(f"holds {name}: {who}" for who in seen.neighbours or () if who.resource == name)
        return Hit(hit.where, (*hit.evidence, *holders), words)

    return look


def _nearest(seen: Seen, pod: Pod, message: str) -> tuple[str, ...]:
    """The node that lacks least, as far as nodes could be looked up."""
    found = nearest(pod, bounded(message), (seen.nodes or seen.others).values(), seen.used)
    return (str(found),) if found else ()


def _about_others(seen: Seen, name: str, wanted: int) -> bool:
    """Whether the words on GPUs are about other nodes than those that have enough.

    A taint keeps the pod from all of those, or the scheduler counts no more nodes than those that never had enough: it
    asks each node that no label and no taint keeps away.
    """
    pod = next(one for one in seen.pods if not one.node and "PodScheduled" in one.conditions)
    lacking = [one for one in seen.nodes.values() if _number(one.allocatable.get(name, "0")) < wanted]
    enough = [one for one in seen.nodes.values() if one not in lacking]
    if all(untolerated(one.taints, pod.tolerations) for one in enough):
        return True
    told = counts(bounded(pod.conditions["PodScheduled"].message))
    counted = sum(one.nodes for one in told if one.reason == f"Insufficient {name}")
    return 0 < counted <= sum(not barriers(pod, one) for one in lacking)


def claim_event(pattern: str) -> Look:
    """A claim stays unbound, and the volume controller says why."""

    def look(seen: Seen) -> Hit | None:
        for event in reversed(seen.events):
            claim = seen.claims.get(event.name)
            if event.kind == "PersistentVolumeClaim" and claim and claim.phase != "Bound":
                found = re.search(pattern, bounded(event.message), re.IGNORECASE)
                if found:
                    words = {"claim": claim.name, "volume": claim.volume or "?", **found.groupdict("")}
                    return Hit(
                        f"PersistentVolumeClaim {claim.name}", (f"{event.reason}: {one_line(event.message)}",), words
                    )
        return None

    return look


def node_on_its_way(seen: Seen) -> Hit | None:
    """An autoscaler makes a node for the pod. It says so in an event, and in another one when it gives up."""
    hit = unscheduled(r".")(seen)
    told = [e for e in seen.events if e.reason in AUTOSCALER and any(e.uid == pod.uid for pod in seen.pods)]
    if hit is None or not told or told[-1].reason not in COMING:
        return None
    return replace(hit, evidence=(f"{told[-1].reason}: {one_line(told[-1].message)}", *hit.evidence))


def preempted(seen: Seen) -> Hit | None:
    events = [e for e in seen.events if e.reason == "Preempted"]
    waits = any(p.conditions.get("PodScheduled") and not p.node for p in seen.pods) or not seen.pods
    if not events or not waits:
        return None
    holders = tuple(f"holds a GPU: {who}" for who in seen.neighbours or ())
    return Hit(f"pod {events[-1].name}", (f"Preempted: {events[-1].message}", *holders))


_OWN = r"exceeds the (?:total )?limit|exceeded its local ephemeral storage limit|usage of emptydir"


def over_its_own_limit(seen: Seen) -> Hit | None:
    """The kubelet evicts a pod for what it wrote itself, and not because the node is short."""
    hit = evicted(seen)
    if hit is None or not re.search(_OWN, hit.evidence[-1], re.IGNORECASE):
        return None
    return replace(hit, words={"why": hit.evidence[-1].removeprefix("Evicted: ")[:300].rstrip(" .")})


def evicted(seen: Seen) -> Hit | None:
    pods = [pod for pod in _turned_away(seen) if pod.reason in EVICTIONS]
    return (
        Hit(at(pods[-1]), tuple(f"{pod.reason}: {one_line(pod.message)}" for pod in pods), {}, len(pods))
        if pods
        else None
    )


def past_its_deadline(seen: Seen) -> Hit | None:
    pods = [pod for pod in _turned_away(seen) if pod.reason == "DeadlineExceeded" and not seen.job]
    return Hit(at(pods[-1]), (f"{pods[-1].reason}: {one_line(pods[-1].message)}",), {}, len(pods)) if pods else None


def rejected(seen: Seen) -> Hit | None:
    pods = [pod for pod in _turned_away(seen) if not any(c.state for c in pod.containers)]
    if not pods:
        return None
    return Hit(
        at(pods[-1]), (f"{pods[-1].reason}: {one_line(pods[-1].message)}",), {"reason": pods[-1].reason}, len(pods)
    )


def rejected_for(*reasons: str) -> Look:
    """The kubelet rejects the pod for one of these reasons."""

    def look(seen: Seen) -> Hit | None:
        hit = rejected(seen)
        return hit if hit and hit.words["reason"] in reasons else None

    return look


def _turned_away(seen: Seen) -> list[Pod]:
    """Pods that a node evicted or rejected, since the last one that a node took in: those before are history."""
    pods: list[Pod] = []
    for pod in seen.pods:
        if pod.phase == "Failed" and pod.reason:
            pods.append(pod)
        elif any(c.state for c in pod.containers):
            pods.clear()
    return pods


def kept_by(test: Callable[[Node, tuple[Taint, ...]], bool]) -> Which:
    """Nodes are kept from the pod; `test` gets one and its taints that are not tolerated.

    Where others are not, and the words have a reason for them that nobody here knows, that one is the nearer one.
    """

    def which(pod: Pod, nodes: list[Node]) -> bool:
        kept = [test(node, tuple(untolerated(node.taints, pod.tolerations))) for node in nodes]
        told = counts(bounded(pod.conditions["PodScheduled"].message))
        return any(kept) and (all(kept) or all(_TOLD.search(one.reason) for one in told))

    return which


def _passing(taint: Taint) -> bool:
    """Whether the cluster sets it and takes it away by itself; a cordoned node's has a rule of its own."""
    return taint.key.startswith(PASSING_TAINTS) and taint.key != "node.kubernetes.io/unschedulable"


def _selector(pod: Pod) -> str:
    return ",".join(f"{name}={value}" for name, value in pod.selector.items()) or "none"


def _node_lines(seen: Seen) -> tuple[str, ...]:
    return tuple(
        f"node {node.name}: "
        + ("cordoned; " if node.unschedulable else "")
        + f"taints {', '.join(map(str, node.taints)) or 'none'}"
        for node in list(seen.nodes.values())[:5]
    )


def _number(quantity: str) -> int:
    found = re.fullmatch(r"(\d+)(k?)", quantity)
    return int(found[1]) * (1000 if found[2] else 1) if found else 0


RULES: tuple[Rule, ...] = (
    Rule(
        "claim-missing",
        unscheduled(r"persistentvolumeclaim \"(?P<claim>[^\"]+)\" not found"),
        "The PersistentVolumeClaim {claim} is not there.",
        "Run the deploy play: it makes the claim. If somebody removes it, find out who.",
        patience=1.5,
        about=("volume",),
    ),
    Rule(
        "claim-missing",
        unscheduled(r"persistentvolumeclaim \"(?P<claim>[^\"]+)\" is being deleted"),
        "The PersistentVolumeClaim {claim} is being deleted.",
        "Wait until it is gone and run the deploy play, which makes it anew; find out who deletes it.",
        patience=60,
        outside=True,
        about=("volume",),
    ),
    Rule(
        "volume-attached-elsewhere",
        unscheduled(r"ReadWriteOncePod access mode"),
        "Another pod uses the claim, which only one pod may use at a time.",
        "Wait until it stops, or give the claim the access mode ReadWriteMany.",
        patience=60,
        outside=True,
        after_old=True,
    ),
    Rule(
        "volume-bound-elsewhere",
        claim_event(r"already bound to a different claim|bound to (?:a )?different|VolumeMismatch|different claim"),
        "PersistentVolume {volume} belongs to another claim than {claim}.",
        "Remove spec.claimRef from the volume if the old claim is gone, or give [spec.volumes] another name.",
        patience=1.5,
        about=("volume",),
    ),
    Rule(
        "claim-mismatch",
        claim_event(rf"(?P<why>(?:{_MISFIT}).*)"),
        "Claim {claim} and volume {volume} do not fit together: {why}",
        "Make size, access modes and storage class of both the same ([spec.volumes]).",
        patience=1.5,
        about=("volume",),
    ),
    Rule(
        "claim-unbound",
        unscheduled(
            r"unbound immediate PersistentVolumeClaims|didn't find available persistent volumes|did "
            r"not have enough free storage|waiting for ephemeral volume controller|PreBind plugin \S*VolumeBinding"
        ),
        "The PersistentVolumeClaim is not bound to a volume.",
        "Look at the claim: is its volume there, of the same size, class and access mode?",
        patience=20,
        about=("volume",),
    ),
    Rule(
        "node-on-its-way",
        node_on_its_way,
        "An autoscaler makes a node for the pod.",
        "See what the autoscaler says, and whether its node joins and gets its GPU driver.",
        patience=900,
        outside=True,
        about=("cluster",),
    ),
    Rule(
        "gpu-not-advertised",
        gpu_missing(lambda most, wanted: most == 0),
        "No node offers {resource} any more: the device plugin or the driver is down.",
        "Look at the GPU Operator's pods (driver, device plugin) on the GPU node.",
        patience=30,
        outside=True,
        about=("gpu", "node"),
    ),
    Rule(
        "gpu-insufficient",
        gpu_missing(lambda most, wanted: 0 < most < wanted),
        "The pod asks for {wanted} {resource}, and no node has more than {most}.",
        "Lower [spec.containers.resources], or raise the time-slicing replicas.",
        patience=0,
        about=("gpu",),
    ),
    Rule(
        "preempted",
        preempted,
        "A pod of higher priority took its place.",
        "Give it a higher [spec.priorityClassName], or make room.",
        patience=30,
        outside=True,
        about=("priorityClass",),
    ),
    Rule(
        "gpu-taken",
        gpu_missing(lambda most, wanted: most >= wanted),
        "All {resource} are taken by other pods.",
        "Scale one of them down, give it a higher [spec.priorityClassName], or add time-slicing replicas.",
        patience=30,
        outside=True,
        after_old=True,
        about=("gpu", "node"),
    ),
    Rule(
        "resources-insufficient",
        unscheduled(
            r"Insufficient (?P<resource>memory|cpu|ephemeral-storage|pods|hugepages-\w+)|Too many (?P<many>pods)"
        ),
        "No GPU node has enough {resource}{many} left.",
        "Lower [spec.containers.resources], or free some on the node.",
        patience=30,
        after_old=True,
        about=("limits", "selector"),
    ),
    Rule(
        "volumes-at-limit",
        unscheduled(r"exceed max volume count"),
        "The node cannot attach one more volume.",
        "Free one on the node (kubectl describe csinode), or use another node.",
        patience=60,
        outside=True,
        about=("node",),
    ),
    Rule(
        "ports-taken",
        unscheduled(r"didn't have free ports"),
        "Another pod has the port on the node that this one asks for.",
        "Remove hostPort or hostNetwork, or see which pod has the port.",
        patience=30,
        after_old=True,
        about=("selector",),
    ),
    Rule(
        "kept-apart",
        unscheduled(r"(?P<why>pods? (?:anti-)?affinity(?: rules|/anti-affinity)|pod topology spread constraints)"),
        "The pod has to keep away from, or near to, other pods, and no GPU node is left: {why}.",
        "Change the affinity or spread that the pod is given, add a node, or wait for the other pod to go.",
        patience=30,
        after_old=True,
        about=("selector",),
    ),
    Rule(
        "volume-on-another-node",  # a node that is kept back now was not asked whether it has the volume
        unscheduled(rf"^(?=.*(?:{_ELSEWHERE}))(?=.*(?:{_KEPT_BACK}))"),
        "The volume can only be used on other nodes, and the one that has it may be cordoned or not ready now.",
        "See which node the volume's spec.nodeAffinity names, and bring that one back; or use a volume that every "
        "node can mount (NFS).",
        patience=60,
        outside=True,
        about=("volume", "node"),
        confidence="likely",
    ),
    Rule(
        "volume-on-another-node",
        unscheduled(_ELSEWHERE),
        "The volume can only be used on other nodes than the GPU's.",
        "Use a volume that every node can mount (NFS), or correct the volume's spec.nodeAffinity.",
        patience=1.5,
        about=("volume", "selector"),
    ),
    Rule(
        "volume-missing",
        unscheduled(r"bound to non-existent p(?:v|ersistentvolume)"),
        "The claim is bound to a volume that is not there any more.",
        "Delete the claim and run the deploy play: it makes both again. The data on the server stay.",
        patience=20,
        outside=True,
        about=("volume",),
    ),
    Rule(
        "no-gpu-node",
        unscheduled(
            r"didn't match (?:Pod's )?node (?:affinity|selector)|MatchNodeSelector|no nodes available",
            lambda pod, nodes: not nodes,
            blind=False,
        ),
        "No node has the labels {selector}.",
        "Correct [spec.nodeSelector], or see why GPU feature discovery does not label the node.",
        patience=1.5,
        about=("selector",),
    ),
    Rule(
        "no-gpu-node",  # all of them, whatever labels they have: an affinity
        unscheduled(
            r"0/(?P<all>\d+) nodes are available: (?P=all) node\(s\) didn't match (?:Pod's )?node "
            r"(?:affinity|selector)\S*$",
            blind=False,
        ),
        "No node fits the pod's affinity and its selector {selector}.",
        "Correct [spec.nodeSelector] or the affinity, or see why GPU feature discovery does not label the node.",
        patience=30,
        about=("selector",),
    ),
    Rule(
        "node-not-ready",
        unscheduled(
            _TAINT,
            lambda pod, nodes: bool(nodes) and all(node.ready.status != "True" for node in nodes),
            blind=False,
        ),
        "No node that the pod may go to is ready.",
        "Look at the machine (is it up, does kubelet run?), then run again.",
        patience=60,
        outside=True,
        about=("node",),
    ),
    Rule(
        "node-cordoned",
        unscheduled(r"node\(s\) were unschedulable", kept_by(lambda node, taints: node.unschedulable)),
        "The node is cordoned.",
        "kubectl uncordon it when its maintenance is over, then run again.",
        patience=30,
        outside=True,
        about=("node",),
    ),
    Rule(
        "node-under-pressure",
        unscheduled(
            _TAINT,
            kept_by(lambda node, taints: any(map(_passing, taints))),
            blind=False,
        ),
        "The node keeps pods away for the time being.",
        "See what it runs short of (kubectl describe node): disk, memory, network.",
        patience=60,
        outside=True,
        about=("node",),
    ),
    Rule(
        "taint-not-tolerated",
        unscheduled(
            _TAINT,
            kept_by(lambda node, taints: bool(taints)),
            blind=False,
        ),
        "The node has a taint that the pod does not tolerate.",
        "Add the taint to [spec.tolerations], or remove it from the node.",
        patience=1.5,
        about=("selector",),
    ),
    Rule(
        "unschedulable",
        unscheduled(r"(?P<why>.+)"),
        "The scheduler finds no node: {why}.",
        "Read its sentence: each node is counted with its reason.",
        patience=60,
    ),
    Rule(
        "storage-limit-exceeded",
        over_its_own_limit,
        "The pod wrote more to the node's disk than its own limit allows: {why}.",
        "Raise the limit (ephemeral-storage in [spec.containers.resources], sizeLimit of an "
        "emptyDir, or the namespace's "
        "LimitRange), or let the cache lie on a volume.",
        times=2,
        about=("limits", "volume"),
    ),
    Rule(
        "deadline-exceeded",
        past_its_deadline,
        "The pod ran longer than its own deadline.",
        "Unset spec.activeDeadlineSeconds in the pod's template: a server stays.",
        times=2,
        about=("settings",),
    ),
    Rule(
        "evicted",
        evicted,
        "The node evicts the pod: it runs short of something.",
        "Free what the message names on the node (disk, memory), then run again.",
        patience=60,
        times=2,
        outside=True,
        about=("node",),
    ),
    Rule(
        "rejected-by-node",
        rejected_for("TopologyAffinityError", "SMTAlignmentError"),
        "The kubelet rejects the pod: {reason}. What is free on the machine lies too far apart.",
        "Lower [spec.containers.resources], free some on the node, or loosen its kubelet's policies of topology and "
        "processors.",
        patience=90,
        times=3,
        outside=True,
        about=("limits", "gpu", "node"),
    ),
    Rule(
        "rejected-by-node",
        rejected,
        "The kubelet rejects the pod: {reason}.",
        "Look at the node's device plugin and at what it says of its resources.",
        patience=90,  # after a restart of the kubelet, until the device plugin has registered
        times=3,
        outside=True,
        about=("node",),
    ),
)
