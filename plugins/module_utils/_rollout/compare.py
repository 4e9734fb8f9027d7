# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether going back to an earlier revision can help: computed from both pod templates, not listed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .._kubernetes.objects import Node, Object, below, entries, text
from .diagnosis import Diagnosis

_DECLARED = {"secret", "configMap", "projected", "downwardAPI"}
"""Volumes whose content is an object of the cluster."""

Part = Callable[[Object], object]
"""What of a pod template (its spec) an aspect stands for."""


def _containers(spec: Object) -> list[Object]:
    return [*entries(spec, "initContainers"), *entries(spec, "containers")]


def _each(*fields: str) -> Part:
    """These fields of every container, by its name."""
    return lambda spec: [
        {"name": one.get("name"), **{field: one.get(field) for field in fields if one.get(field)}}
        for one in _containers(spec)
    ]


def _own(*fields: str) -> Part:
    """These fields of the pod."""
    return lambda spec: {field: spec.get(field) for field in fields if spec.get(field)}


def _both(*parts: Part) -> Part:
    return lambda spec: [part(spec) for part in parts]


def images(spec: Object) -> list[str]:
    return [text(one.get("image"), 512) for one in _containers(spec)]


def registry(image: str) -> str:
    """The host of an image reference (distribution/reference: the first part is one if it has a dot, port, or is
    localhost)."""
    host, slash, _ = image.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else "docker.io"


def _resources(*, extended: bool) -> Part:
    """Requests and limits of every container: of extended resources (GPUs), or of the others."""

    def part(spec: Object) -> object:
        found: list[object] = [spec.get("resources")] if not extended else [spec.get("resourceClaims")]
        for one in _containers(spec):
            for kind in ("limits", "requests"):
                amounts = below(one, "resources", kind)
                found.append([(kind, k, v) for k, v in sorted(amounts.items()) if ("/" in k) is extended])
            if extended:
                found.append(below(one, "resources").get("claims"))
        return found

    return part


def _limits(spec: Object) -> object:
    """The limits of the pod's own storage."""
    return [one for one in entries(spec, "volumes") if "emptyDir" in one]


def _volumes(spec: Object) -> object:
    """Volumes that hold data, and where they are mounted."""
    data = [one for one in entries(spec, "volumes") if not _DECLARED & set(one)]
    names = {text(one.get("name")) for one in data}
    mounts = [
        [mount for mount in entries(one, "volumeMounts") if text(mount.get("name")) in names]
        for one in _containers(spec)
    ]
    return [data, mounts, [one.get("volumeDevices") for one in _containers(spec)]]


def _named(spec: Object) -> object:
    """The Secrets and ConfigMaps that are pulled with, mounted, or read, with the keys."""
    mounted = [one for one in entries(spec, "volumes") if _DECLARED & set(one)]
    read = [
        [entries(one, "envFrom"), [env for env in entries(one, "env") if "valueFrom" in env]]
        for one in _containers(spec)
    ]
    return [spec.get("imagePullSecrets"), mounted, read]


ASPECTS: dict[str, tuple[str, Part]] = {
    "image": ("image", images),
    "registry": ("registry", lambda spec: sorted({registry(one) for one in images(spec)})),
    "secret": ("Secrets and ConfigMaps", _named),
    "volume": ("volumes", _volumes),
    "limits": ("requests and limits", _both(_resources(extended=False), _limits)),
    "gpu": ("GPUs", _resources(extended=True)),
    "selector": (
        "node selector, affinity and tolerations",
        _both(
            _own(
                "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "nodeName", "hostNetwork",
                "schedulerName",
            ),
            _each("ports"),
        ),
    ),
    "runtimeClass": ("runtime class", _own("runtimeClassName")),
    "priorityClass": ("priority class", _own("priorityClassName", "preemptionPolicy")),
    "serviceAccount": ("service account", _own("serviceAccountName", "automountServiceAccountToken")),
    "securityContext": (
        "security context",
        _both(_own("securityContext", "hostPID", "hostIPC", "hostUsers", "hostNetwork"), _each("securityContext")),
    ),
    "command": ("command", _each("command", "args", "workingDir", "lifecycle")),
    "settings": ("environment", _each("env", "envFrom")),
    "probe": (
        "probes",
        _both(_each("startupProbe", "livenessProbe", "readinessProbe"), _own("terminationGracePeriodSeconds")),
    ),
    "policy": ("template", dict),
}  # fmt: skip
"""What a cause can be about (`rule.ABOUT`): its name in a sentence, and the part of the template's spec that it is.
`node` and `cluster` are nothing of the pod."""


@dataclass(frozen=True)
class Way:
    """Whether going back can help, and, if it cannot, why."""

    helps: bool
    why: str = ""


def way_back(diagnosis: Diagnosis, failed: Object, earlier: Object, nodes: Iterable[Node] = ()) -> Way:
    """Whether an earlier revision can do better than the one that has failed.

    failed, earlier: pod templates. nodes: those that the pods were on; an image that one of them has needs no registry.
    """
    if not diagnosis.about:
        return Way(not diagnosis.outside, "it would fail in the same way" if diagnosis.outside else "")
    old, new = below(earlier, "spec"), below(failed, "spec")
    about = [one for one in diagnosis.about if one in ASPECTS]
    if any(not _same(ASPECTS[one][1], old, new) for one in about):
        return Way(True)
    if "registry" in about and not _same(images, old, new) and _at_hand(old, nodes):
        return Way(True)
    if not about:
        return Way(False, "the cause is nothing that a revision declares")
    return Way(False, f"it has the same {_joined([ASPECTS[one][0] for one in about])}")


def _same(part: Part, one: Object, other: Object) -> bool:
    return json.dumps(part(one), sort_keys=True, default=str) == json.dumps(part(other), sort_keys=True, default=str)


def _at_hand(spec: Object, nodes: Iterable[Node]) -> bool:
    """Whether a node has all images of a template, and need not ask for them."""
    asks = any(_asks(one) for one in _containers(spec))
    return not asks and any(all(_has(node, image) for image in images(spec)) for node in nodes)


def _asks(container: Object) -> bool:
    """The default depends on the tag (k8s.io/kubernetes pkg/apis/core/v1/defaults.go); the API server fills it in."""
    return container.get("imagePullPolicy") == "Always"


def _has(node: Node, image: str) -> bool:
    return image in node.images or any(name.endswith(f"/{image}") for name in node.images)


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
