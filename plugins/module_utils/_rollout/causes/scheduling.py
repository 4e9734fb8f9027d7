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
from ..nearest import nearest
from ..rule import Hit, Look, Rule, at, containers_of, one_line
from ..seen import Seen

Which = Callable[[Pod, list[Node]], bool]

COMING = ("TriggeredScaleUp", "Nominated")
"""What cluster-autoscaler and Karpenter say of a pod for which they make a node."""

AUTOSCALER = (*COMING, "NotTriggerScaleUp", "FailedScaleUp")

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
            said = re.split(r"\s*(?:no new claims to deallocate, )?preemption:", place.message)[0].strip(" .,")
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
        if not test(most, wanted):
            return None
        words = {**hit.words, "resource": name, "most": str(most), "wanted": str(wanted)}
        holders = tuple(f"holds {name}: {who}" for who in seen.neighbours or () if who.resource == name)
        return Hit(hit.where, (*hit.evidence, *holders), words)

    return look


def claim_event(pattern: str) -> Look:
    """A claim stays unbound, and the volume controller says why."""

    def look(seen: Seen) -> Hit | None:
        for event in reversed(seen.events):
            claim = seen.claims.get(event.name)
            if event.kind == "PersistentVolumeClaim" and claim and claim.phase != "Bound":
                found = re.search(pattern, event.message, re.IGNORECASE)
                if found:
                    words = {"claim": claim.name, "volume": claim.volume or "?", **found.groupdict("")}
                    return Hit(f"PersistentVolumeClaim {claim.name}", (f"{event.reason}: {event.message}",), words)
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


def evicted(seen: Seen) -> Hit | None:
    pods = [pod for pod in _turned_away(seen) if pod.reason == "Evicted"]
    return Hit(at(pods[-1]), tuple(f"Evicted: {pod.message}" for pod in pods), {}, len(pods)) if pods else None


def rejected(seen: Seen) -> Hit | None:
    pods = [pod for pod in _turned_away(seen) if not any(c.state for c in pod.containers)]
    if not pods:
        return None
    return Hit(at(pods[-1]), (f"{pods[-1].reason}: {pods[-1].message}",), {"reason": pods[-1].reason}, len(pods))


def _turned_away(seen: Seen) -> list[Pod]:
    """Pods that a node evicted or rejected, since the last one that a node took in: those before are history."""
    pods: list[Pod] = []
    for pod in seen.pods:
        if pod.phase == "Failed" and pod.reason:
            pods.append(pod)
        elif any(c.state for c in pod.containers):
            pods.clear()
    return pods


def _passing(taint: Taint) -> bool:
    """Whether the cluster sets it and takes it away by itself; a cordoned node's has a rule of its own."""
    return taint.key.startswith(PASSING_TAINTS) and taint.key != "node.kubernetes.io/unschedulable"


def _selector(pod: Pod) -> str:
    return ",".join(f"{name}={value}" for name, value in pod.selector.items()) or "none"


def _nearest(seen: Seen, pod: Pod, message: str) -> tuple[str, ...]:
    """The node that lacks least, as far as nodes could be looked up."""
    found = nearest(pod, message, (seen.nodes or seen.others).values(), seen.used)
    return (str(found),) if found else ()


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
    ),
    Rule(
        "volume-bound-elsewhere",
        claim_event(r"already bound to a different claim|bound to (?:a )?different|VolumeMismatch|different claim"),
        "PersistentVolume {volume} belongs to another claim than {claim}.",
        "Remove spec.claimRef from the volume if the old claim is gone, or give speaches_volume another name.",
        patience=1.5,
    ),
    Rule(
        "claim-mismatch",
        claim_event(rf"(?P<why>(?:{_MISFIT}).*)"),
        "Claim {claim} and volume {volume} do not fit together: {why}",
        "Make size, access modes and storage class of both the same (speaches_volume).",
        patience=1.5,
    ),
    Rule(
        "claim-unbound",
        unscheduled(r"unbound immediate PersistentVolumeClaims"),
        "The PersistentVolumeClaim is not bound to a volume.",
        "Look at the claim: is its volume there, of the same size, class and access mode?",
        patience=20,
    ),
    Rule(
        "node-on-its-way",
        node_on_its_way,
        "An autoscaler makes a node for the pod.",
        "See what the autoscaler says, and whether its node joins and gets its GPU driver.",
        patience=900,
        outside=True,
    ),
    Rule(
        "gpu-not-advertised",
        gpu_missing(lambda most, wanted: most == 0),
        "No node offers {resource} any more: the device plugin or the driver is down.",
        "Look at the GPU Operator's pods (driver, device plugin) on the GPU node.",
        patience=30,
        outside=True,
    ),
    Rule(
        "gpu-insufficient",
        gpu_missing(lambda most, wanted: 0 < most < wanted),
        "The pod asks for {wanted} {resource}, and no node has more than {most}.",
        "Lower speaches_gpu.count, or raise the time-slicing replicas.",
        patience=0,
    ),
    Rule(
        "preempted",
        preempted,
        "A pod of higher priority took its place.",
        "Give portal-stt a higher priority class, or make room.",
        patience=30,
        outside=True,
    ),
    Rule(
        "gpu-taken",
        gpu_missing(lambda most, wanted: most >= wanted),
        "All {resource} are taken by other pods.",
        "Scale one of them down, give portal-stt a higher priority class, or add time-slicing replicas.",
        patience=30,
        outside=True,
        after_old=True,
    ),
    Rule(
        "resources-insufficient",
        unscheduled(r"Insufficient (?P<resource>memory|cpu|ephemeral-storage|pods)|Too many (?P<many>pods)"),
        "No GPU node has enough {resource}{many} left.",
        "Lower speaches_resources, or free some on the node.",
        patience=30,
        after_old=True,
    ),
    Rule(
        "volume-on-another-node",
        unscheduled(
            r"volume node affinity conflict|didn't match PersistentVolume's node affinity|no available volume zone"
        ),
        "The volume can only be used on other nodes than the GPU's.",
        "Use a volume that every node can mount (NFS), or correct the volume's spec.nodeAffinity.",
        patience=1.5,
    ),
    Rule(
        "volume-missing",
        unscheduled(r"bound to non-existent pv"),
        "The claim is bound to a volume that is not there any more.",
        "Delete the claim and run the deploy play: it makes both again. The data on the server stay.",
        patience=20,
    ),
    Rule(
        "volumes-at-limit",
        unscheduled(r"exceed max volume count"),
        "The node cannot attach one more volume.",
        "Free one on the node (kubectl describe csinode), or use another node.",
        patience=60,
        outside=True,
    ),
    Rule(
        "ports-taken",
        unscheduled(r"didn't have free ports"),
        "Another pod has the port on the node that this one asks for.",
        "Remove hostPort or hostNetwork, or see which pod has the port.",
        patience=30,
        after_old=True,
    ),
    Rule(
        "kept-apart",
        unscheduled(r"(?P<why>(?:pod|pods) (?:anti-)?affinity rules|pod topology spread constraints)"),
        "The pod has to keep away from, or near to, other pods, and no GPU node is left: {why}.",
        "Change the affinity or spread that the pod is given, add a node, or wait for the other pod to go.",
        patience=30,
        after_old=True,
    ),
    Rule(
        "no-gpu-node",
        unscheduled(
            r"didn't match Pod's node affinity/selector|no nodes available", lambda pod, nodes: not nodes, blind=False
        ),
        "No node has the labels {selector}.",
        "Correct speaches_gpu.node_selector, or see why GPU feature discovery does not label the node.",
        patience=1.5,
    ),
    Rule(
        "node-not-ready",
        unscheduled(
            r"untolerated taint",
            lambda pod, nodes: bool(nodes) and all(node.ready.status != "True" for node in nodes),
            blind=False,
        ),
        "No node that the pod may go to is ready.",
        "Look at the machine (is it up, does kubelet run?), then run again.",
        patience=60,
        outside=True,
    ),
    Rule(
        "node-cordoned",
        unscheduled(r"node\(s\) were unschedulable", lambda pod, nodes: any(node.unschedulable for node in nodes)),
        "The node is cordoned.",
        "kubectl uncordon it when its maintenance is over, then run again.",
        patience=30,
        outside=True,
    ),
    Rule(
        "node-under-pressure",
        unscheduled(
            r"untolerated taint",
            lambda pod, nodes: any(
                _passing(taint) for node in nodes for taint in untolerated(node.taints, pod.tolerations)
            ),
            blind=False,
        ),
        "The node keeps pods away for the time being.",
        "See what it runs short of (kubectl describe node): disk, memory, network.",
        patience=60,
        outside=True,
    ),
    Rule(
        "taint-not-tolerated",
        unscheduled(
            r"untolerated taint",
            lambda pod, nodes: any(untolerated(node.taints, pod.tolerations) for node in nodes),
            blind=False,
        ),
        "The node has a taint that the pod does not tolerate.",
        "Add the taint to speaches_gpu.tolerations, or remove it from the node.",
        patience=1.5,
    ),
    Rule(
        "unschedulable",
        unscheduled(r"(?P<why>.+)"),
        "The scheduler finds no node: {why}.",
        "Read its sentence: each node is counted with its reason.",
        patience=60,
    ),
    Rule(
        "evicted",
        evicted,
        "The node evicts the pod: it runs short of something.",
        "Free what the message names on the node (disk, memory), then run again.",
        patience=60,
        times=2,
        outside=True,
    ),
    Rule(
        "rejected-by-node",
        rejected,
        "The kubelet rejects the pod: {reason}.",
        "Look at the node's device plugin and at what it says of its resources.",
        patience=90,  # after a restart of the kubelet, until the device plugin has registered
        times=3,
        outside=True,
    ),
)
