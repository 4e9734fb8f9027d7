# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: the node cannot prepare the pod, most often a volume of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ..rule import Hit, Look, Rule, at, containers_of, in_play
from ..seen import Seen
from ..words import Actor, Error, Said, bounded, one_line, take_apart

PREPARED = ("Pulling", "Pulled", "Created", "Started")
"""Events of a pod whose volumes and sandbox are there."""

Source = Callable[[Said], bool]
_HANDLE = re.compile(
    r"volume(?: ID)? \S{1,200}#\S", re.IGNORECASE
)  # csi-driver-nfs names volumes server#share#directory
_EXPORT = re.compile(r"\bmount(?:ing)? [\w.-]{1,200}:<")
_HELD = (
    r"Multi-Attach|already (?:used|exclusively attached|attached|in use|published)|in use by|VolumeInUse|"
    r"attached to (?:another|a different|node|instance|server|vm)|other clients|(?:another|different) node|"
    r"exclusively|SINGLE_NODE"
)
_ATTACHER = r"external-attacher of (?P<driver>\S+)|CSINode \S+ does not contain driver (?P<other>\S+)"
_DRIVER = r"driver name (?P<driver>\S+) not found in the list of registered CSI drivers"
_OBJECT = (
    r"(?P<what>(?:configmap|secret)s? \"[^\"]+\") not found|(?P<key>references non-existent \S+ key: \S+)|"
    r"(?P<other>couldn't find key \S+ in \S+ \S+)"
)


def preparing(
    pattern: str = "", reason: str = "FailedMount", *, errors: tuple[Error, ...] = (), source: Source | None = None
) -> Look:
    """The node cannot prepare a pod (its volumes, its sandbox), and has not gone on with it since."""
    told = happened(reason, pattern, errors, source)

    def look(seen: Seen) -> Hit | None:
        last = {event.uid: event.last for event in seen.events if event.reason == reason}
        over = {e.uid for e in seen.events if e.reason in PREPARED and e.last >= last.get(e.uid, "")}
        over |= {pod.uid for pod, c in containers_of(seen) if c.state not in ("", "waiting") or c.restarts}
        return told(replace(seen, pods=tuple(pod for pod in seen.pods if pod.uid not in over)))

    return look


def happened(reason: str, pattern: str, errors: tuple[Error, ...] = (), source: Source | None = None) -> Look:
    """An event about a pod that is not ready yet."""

    def look(seen: Seen) -> Hit | None:
        open_pods = {pod.uid: pod for pod in in_play(seen) if not pod.ready}
        for event in reversed(seen.events):
            if event.reason != reason or event.uid not in open_pods:
                continue
            message = bounded(event.message)
            whole, said = take_apart(message), take_apart(_output(message))
            if (errors and said.error not in errors) or (source and not source(whole)):
                continue
            found = re.search(pattern, said.text, re.IGNORECASE | re.DOTALL)
            if found:
                words = {
                    "volume": _volume(message),
                    "why": said.reason,
                    **_mount(message),
                    **{name: one_line(value, 300) for name, value in found.groupdict("").items()},
                }
                return Hit(at(open_pods[event.uid]), (f"{event.reason}: {said.text}",), words, event.count)
        return None

    return look


def nfs(said: Said) -> bool:
    """Whether the words are about an NFS mount: by its helper, its type, its driver, or the way "
    "such volumes are named."""
    if said.actor in (Actor.NFS, Actor.STATD) or "access denied by server" in said.plain:
        return True
    return bool(_EXPORT.search(said.plain) or _HANDLE.search(said.text))


def _output(message: str) -> str:
    """What the mount itself wrote, of all that were wrapped around each other the innermost."""
    return message.rsplit("Output: ", 1)[1] if "Output: " in message and "rpcbind" not in message else message


def _volume(message: str) -> str:
    found = re.search(r'for volume "([^"]+)"|unmounted volumes=\[([^\]]+)\]', message)
    return found[1] or found[2] if found else "?"


def _mount(message: str) -> dict[str, str]:
    found = re.search(r"Mounting arguments:.{0,1000}? (?P<server>[^\s:]{1,300}):(?P<path>/\S{0,500}) /", message)
    if found is None:
        found = re.search(r"mounting (?P<server>[^\s:]{1,300}):(?P<path>/\S{0,500})", message)
    return found.groupdict() if found else {}


RULES: tuple[Rule, ...] = (
    Rule(
        "volume-attached-elsewhere",
        preparing(_HELD, "FailedAttachVolume"),
        "Volume {volume} is still attached to another node, or used by another pod: {why}.",
        "Delete the pod that holds it, or the VolumeAttachment of a node that is gone; the volume "
        "of a pod that may move "
        "is one that several nodes can mount (NFS).",
        patience=120,
        outside=True,
        about=("volume",),
    ),
    Rule(
        "csi-driver-missing",  # without the driver's CSIDriver object, the controller waits for an attacher first
        preparing(_ATTACHER, "FailedAttachVolume"),
        "The cluster has no CSI driver {driver}{other}, or its attacher does not run.",
        "Install the driver, or unset [spec.csi.driver]: the volume is then mounted by the kubelet.",
        patience=60,
        outside=True,
        about=("volume",),
    ),
    Rule(
        "volume-not-attached",
        preparing(reason="FailedAttachVolume"),
        "Volume {volume} is not attached to the node: {why}.",
        "Read the words of the storage; see how its controller and its attacher are.",
        patience=120,
        outside=True,
        about=("volume",),
    ),
    Rule(
        "statd-not-running",
        preparing(r"rpc\.statd|start statd|start-statd"),
        "The node runs no rpc.statd, which the locks of NFSv3 need.",
        "Mount with nfsvers=4 or nolock ([spec.mountOptions]), or start rpc-statd on the node.",
        patience=20,
        about=("volume", "node"),
    ),
    Rule(
        "nfs-client-missing",
        preparing(r"rpcbind", source=nfs),
        "The node's NFS client is not complete: its rpcbind cannot be started.",
        "Mount with nfsvers=4 ([spec.mountOptions]), which needs none, or repair rpcbind on the node.",
        patience=60,
        outside=True,
        about=("volume", "node"),
    ),
    Rule(
        "nfs-directory-missing",
        preparing(r"mount\S*: .*No such file or directory|reason given by server: No such", source=nfs),
        "The NFS server {server} has no directory {path}, or does not export it.",
        "Run the storage play: it makes the directory and exports it.",
        about=("volume",),
    ),
    Rule(
        "nfs-access-denied",
        preparing(errors=(Error.DENIED, Error.NOT_PERMITTED), source=nfs),
        "The NFS server {server} refuses to let the node mount {path}: it is not exported to it, or is not there.",
        "Run the storage play, and compare `exportfs -s` on the server with [spec.nfs].",
        times=2,
        about=("volume",),
    ),
    Rule(
        "nfs-client-missing",
        preparing(
            r"bad option[;,]|/sbin/mount|unknown filesystem type|helper program|mount\.nfs\S*: not found|"
            r"no such device|exec: .{0,20}mount\.nfs",
            source=nfs,
        ),
        "The node cannot mount NFS: its mount helper is missing.",
        "Install nfs-common on the node.",
        outside=True,
        about=("node",),
    ),
    Rule(
        "nfs-version",
        preparing(
            r"protocol not supported|requested NFS version|incorrect mount option|invalid argument|"
            r"(?<!family )not supported",
            source=nfs,
        ),
        "The NFS server {server} and the mount options of the volume do not go together.",
        "Compare nfsvers in [spec.mountOptions] with /proc/fs/nfsd/versions on the server.",
        about=("volume",),
    ),
    Rule(
        "nfs-stale",
        preparing(errors=(Error.STALE,), source=nfs),
        "The NFS server {server} does not know {path} any more as it was: the directory or its disk was made anew.",
        "Run `exportfs -ra` on the server; restart the node if it still holds the old mount.",
        patience=60,
        outside=True,
        about=("volume", "node"),
    ),
    Rule(
        "nfs-stale",  # met by the kubelet itself when it looks at what is mounted: owners, subPath, unmounting
        preparing(r"stale (?:NFS )?file handle", errors=(Error.STALE,)),
        "The node still holds a mount whose server does not know it any more: {why}.",
        "Run `exportfs -ra` on the server; restart the node, or unmount the path there, so that it is mounted anew.",
        patience=60,
        outside=True,
        about=("volume", "node"),
    ),
    Rule(
        "nfs-unreachable",
        preparing(r"mount", errors=(Error.UNREACHABLE,), source=nfs),
        "The NFS server {server} does not answer the node.",
        "See whether the server runs and the address in [spec.nfs] is right.",
        patience=60,
        outside=True,
        about=("volume",),
    ),
    Rule(
        "csi-driver-missing",
        preparing(_DRIVER),
        "The node has no CSI driver {driver}.",
        "Install the driver, or unset [spec.csi.driver]: the volume is then mounted by the kubelet.",
        patience=20,
        outside=True,
        about=("volume",),
    ),
    Rule(
        "node-slow",
        preparing(r"failed to sync (?P<what>secret|configmap) cache"),
        "The node does not keep up with fetching the pod's {what}s.",
        "See how busy the node and the API server are.",
        patience=120,
        outside=True,
        about=("node",),
    ),
    Rule(
        "volume-not-mounted",
        preparing(r"object \S+ not registered"),
        "The kubelet has not fetched what the pod mounts yet: {why}.",
        "It does so by itself; where it does not, restart the kubelet on the node.",
        patience=120,
        outside=True,
        about=("node",),
    ),
    Rule(
        "service-account-missing",
        preparing(r"failed to fetch token.*|serviceaccounts? \S+ not found"),
        "The node gets no token for the pod's service account: {why}.",
        "See that the service account is there, and how the API server and its key for tokens are.",
        patience=60,
        outside=True,
        about=("serviceAccount", "cluster"),
    ),
    Rule(
        "configuration-missing",
        preparing(_OBJECT),
        "The pod mounts something that is not there: {what}{key}{other}.",
        "Run the deploy play: it makes it. If somebody removes it, find out who.",
        patience=1.5,
        about=("secret",),
    ),
    Rule(
        "nfs-unreachable",  # a CSI driver waits for the mount, and then says that the last try still goes on
        preparing(errors=(Error.TIMED_OUT, Error.BUSY), source=nfs),
        "The volume's driver does not get volume {volume} mounted in time: most likely its NFS server does not answer.",
        "See whether the server runs and the address in [spec.nfs] is right.",
        patience=60,
        outside=True,
        confidence="likely",
        about=("volume",),
    ),
    Rule(
        "volume-not-mounted",
        preparing(r"code = (?:DeadlineExceeded|Aborted)|operation with the given volume"),
        "The volume's driver does not get volume {volume} mounted in time; with NFS, most likely "
        "its server does not answer.",
        "See whether the volume's server and its driver's pod on the node run.",
        patience=60,
        outside=True,
        confidence="likely",
        about=("volume",),
    ),
    Rule(
        "volume-not-mounted",
        preparing(r"hostPath type check failed"),
        "The node has not what the pod mounts from it: {why}.",
        "Correct the path or its type, or choose a node that has it.",
        patience=30,
        about=("volume", "selector"),
    ),
    Rule(
        "volume-not-mounted",
        preparing(r"wrong fs type|bad option|mount option|unrecognized mount", errors=(Error.UNSUPPORTED,)),
        "Volume {volume} cannot be mounted with its options or as this file system: {why}.",
        "Correct [spec.mountOptions] and the volume's file system; dmesg on the node says more.",
        patience=60,
        about=("volume",),
    ),
    Rule(
        "volume-not-mounted",
        preparing(r"."),
        "The kubelet cannot mount volume {volume}.",
        "Read the node's words.",
        patience=120,
        outside=True,
        about=("volume",),
        confidence="likely",
    ),
    Rule(
        "device-not-prepared",
        preparing(reason="FailedPrepareDynamicResources"),
        "The node cannot prepare the devices that the pod claims: {why}.",
        "Look at the pods of that device's driver on the node, and at the pod's ResourceClaims.",
        patience=90,
        outside=True,
        about=("gpu", "node"),
    ),
    Rule(
        "gpu-runtime",
        preparing(
            r"(?P<said>nvidia-container-cli: .+|unresolvable CDI devices .+)",
            "FailedCreatePodSandBox",
            source=lambda said: said.actor is Actor.NVIDIA,
        ),
        "NVIDIA's container runtime cannot give the container its GPU: {said}.",
        "Look at the driver on the node (nvidia-smi) and at the GPU Operator's pods.",
        patience=90,
        outside=True,
        about=("node",),
    ),
    Rule(
        "sandbox-failed",
        preparing(
            r"no runtime for \S+ is configured|RuntimeHandler \S+ not supported|runtime handler \S+ (?:from|not)|"
            r"unknown (?:or invalid )?runtime|failed to find runtime handler",
            "FailedCreatePodSandBox",
        ),
        "The container runtime of the node does not know what the pod's RuntimeClass asks for: {why}.",
        "Configure the handler on the node (NVIDIA's toolkit does: install it, or restart the container runtime after "
        "it), or unset [spec.runtimeClassName].",
        patience=90,
        outside=True,
        about=("runtimeClass", "node"),
    ),
    Rule(
        "sandbox-failed",
        preparing(
            r"pause|sandbox image",
            "FailedCreatePodSandBox",
            errors=(
                Error.UNREACHABLE,
                Error.DENIED,
                Error.TLS,
                Error.UNTRUSTED,
                Error.EXPIRED,
                Error.TIMED_OUT,
                Error.RATE_LIMITED,
                Error.INCOMPLETE,
                Error.MISSING,
                Error.PLATFORM,
            ),
        ),
        "The node lacks the image of the pod sandbox (pause): {why}.",
        "Let the node reach that image's registry, or load it onto the node.",
        patience=90,
        outside=True,
        about=("node",),
    ),
    Rule(
        "node-store-broken",
        preparing(r".", "FailedCreatePodSandBox", errors=(Error.INCOMPLETE,)),
        "The store of the node's container runtime lacks parts of the sandbox's image that it should have: {why}.",
        "Remove that image from the node (crictl rmi), so that all of it is pulled; or restart the runtime.",
        patience=60,
        outside=True,
        about=("node",),
    ),
    Rule(
        "sandbox-failed",
        preparing(r".", "FailedCreatePodSandBox", errors=(Error.NO_SPACE,)),
        "The node has no room left for the pod's sandbox: {why}.",
        "Free disk, memory or kernel limits (what the words name) on the node.",
        patience=60,
        outside=True,
        about=("node",),
    ),
    Rule(
        "sandbox-failed",
        preparing(r".", "FailedCreatePodSandBox", source=lambda said: said.actor is Actor.CNI),
        "The network plugin of the node does not give the pod its network: {why}.",
        "Look at the network plugin's pod on the node, its files in /etc/cni/net.d and its programs in /opt/cni/bin.",
        patience=60,
        outside=True,
        about=("node",),
    ),
    Rule(
        "sandbox-failed",
        preparing(r".", "FailedCreatePodSandBox"),
        "The node cannot set up the pod's network or sandbox.",
        "Look at the network plugin and the container runtime on the node.",
        patience=60,
        outside=True,
        about=("node",),
    ),
)
