# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: the node cannot prepare the pod, most often a volume of it."""

from __future__ import annotations

import re
from dataclasses import replace

from ..rule import Hit, Look, Rule, at, containers_of, essence, in_play
from ..seen import Seen

PREPARED = ("Pulling", "Pulled", "Created", "Started")
"""Events of a pod whose volumes and sandbox are there."""


def preparing(pattern: str, reason: str = "FailedMount") -> Look:
    """The node cannot prepare a pod (its volumes, its sandbox), and has not gone on with it since."""
    told = happened(reason, pattern)

    def look(seen: Seen) -> Hit | None:
        last = {event.uid: event.last for event in seen.events if event.reason == reason}
        over = {e.uid for e in seen.events if e.reason in PREPARED and e.last >= last.get(e.uid, "")}
        over |= {pod.uid for pod, c in containers_of(seen) if c.state not in ("", "waiting") or c.restarts}
        return told(replace(seen, pods=tuple(pod for pod in seen.pods if pod.uid not in over)))

    return look


def happened(reason: str, pattern: str) -> Look:
    """An event about a pod that is not ready yet."""

    def look(seen: Seen) -> Hit | None:
        open_pods = {pod.uid: pod for pod in in_play(seen) if not pod.ready}
        for event in reversed(seen.events):
            if event.reason != reason or event.uid not in open_pods:
                continue
            said = essence(event.message)
            found = re.search(pattern, said, re.IGNORECASE | re.DOTALL)
            if found:
                words = {"volume": _volume(event.message), **_mount(event.message), **found.groupdict("")}
                return Hit(at(open_pods[event.uid]), (f"{event.reason}: {said}",), words, event.count)
        return None

    return look


def _volume(message: str) -> str:
    found = re.search(r'for volume "([^"]+)"|unmounted volumes=\[([^\]]+)\]', message)
    return found[1] or found[2] if found else "?"


def _mount(message: str) -> dict[str, str]:
    found = re.search(r"Mounting arguments:.* (?P<server>[^\s:]+):(?P<path>/\S*) /", message)
    return found.groupdict() if found else {}


RULES: tuple[Rule, ...] = (
    Rule(
        "nfs-directory-missing",
        preparing(r"mount\.nfs\S*: .*No such file or directory"),
        "The NFS server {server} has no directory {path}, or does not export it.",
        "Run the storage play: it makes the directory and exports it.",
    ),
    Rule(
        "nfs-access-denied",
        preparing(r"access denied by server|mount\.nfs\S*: .*(?:permission denied|operation not permitted)"),
        "The NFS server {server} refuses to let the node mount {path}: it is not exported to it, or is not there.",
        "Run the storage play, and compare `exportfs -s` on the server with speaches_volume.",
        times=2,
    ),
    Rule(
        "nfs-version",
        preparing(r"protocol not supported|requested NFS version|incorrect mount option"),
        "The NFS server {server} and the mount options of the volume do not go together.",
        "Compare nfsvers in speaches_volume.mount_options with /proc/fs/nfsd/versions on the server.",
    ),
    Rule(
        "nfs-client-missing",
        preparing(r"bad option|need a /sbin/mount|unknown filesystem type"),
        "The node cannot mount NFS: its mount helper is missing.",
        "Install nfs-common on the node.",
        outside=True,
    ),
    Rule(
        "nfs-stale",
        preparing(r"mount\.nfs\S*: .*stale (?:nfs )?file handle"),
        "The NFS server {server} does not know {path} any more as it was: the directory or its disk was made anew.",
        "Run `exportfs -ra` on the server; restart the node if it still holds the old mount.",
        patience=60,
        outside=True,
    ),
    Rule(
        "nfs-unreachable",
        preparing(
            r"mount(?:\.nfs\S*)?: .*(?:connection refused|no route to host|timed out|network is unreachable|"
            r"host is down|failed to resolve)"
        ),
        "The NFS server {server} does not answer the node.",
        "See whether the server runs and the address in speaches_volume.server is right.",
        patience=60,
    ),
    Rule(
        "csi-driver-missing",
        preparing(r"driver name (?P<driver>\S+) not found in the list of registered CSI drivers"),
        "The node has no CSI driver {driver}.",
        "Install the driver, or unset speaches_volume.driver: the volume is then mounted by the kubelet.",
        patience=20,
    ),
    Rule(
        "csi-driver-missing",  # without the driver's CSIDriver object, the controller waits for an attacher first
        preparing(r"external-attacher of (?P<driver>\S+)", "FailedAttachVolume"),
        "The cluster has no CSI driver {driver}, or its attacher does not run.",
        "Install the driver, or unset speaches_volume.driver: the volume is then mounted by the kubelet.",
        patience=20,
    ),
    Rule(
        "configuration-missing",
        preparing(r"(?P<what>(?:configmap|secret) \"[^\"]+\") not found|(?P<key>references non-existent \S+ key: \S+)"),
        "The pod mounts something that is not there: {what}{key}.",
        "Run the deploy play: it makes it. If somebody removes it, find out who.",
        patience=1.5,
    ),
    Rule(
        "node-slow",
        preparing(r"failed to sync (?P<what>secret|configmap) cache"),
        "The node does not keep up with fetching the pod's {what}s.",
        "See how busy the node and the API server are.",
        patience=120,
        outside=True,
    ),
    Rule(
        "nfs-unreachable",  # a CSI driver waits for the mount, and then says that the last try still goes on
        preparing(r"code = DeadlineExceeded|code = Aborted .*operation with the given volume"),
        "The volume's driver does not get volume {volume} mounted in time: most likely its NFS server does not answer.",
        "See whether the server runs and the address in speaches_volume.server is right.",
        patience=60,
        confidence="likely",
    ),
    Rule(
        "volume-not-mounted",
        preparing(r"."),
        "The kubelet cannot mount volume {volume}.",
        "Read the node's words.",
        patience=90,
    ),
    Rule(
        "sandbox-failed",
        preparing(r".", "FailedCreatePodSandBox"),
        "The node cannot set up the pod's network or sandbox.",
        "Look at the network plugin and the container runtime on the node.",
        patience=60,
        outside=True,
    ),
)
