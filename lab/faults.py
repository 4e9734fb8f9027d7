"""Faults to inject into a rollout (lab/faults.yml), as manifests."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from lab import images, node
from lab.paths import ROOT
from lab.simulated import Declared

TABLE = ROOT / "lab" / "faults.yml"
SIMULATED = "t4"
"""The simulated node that pods go to which need no real one and have no own one."""

MARK = "lab.portal-stt/fault"
"""Label of a fault's own simulated node; annotation of a pod whose status the stages leave alone."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One entry of the table; lab/faults.yml says what each field means."""

    name: str
    cause: str
    at: Literal["node", "cluster", "replay"]
    sign: str
    signs: int = 1
    final: bool = True
    patience: float = 3
    timeout: int = 60
    serves: bool = False
    outside: bool = False
    pod: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    deployment: dict[str, Any] = field(default_factory=dict)
    objects: list[Manifest] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Any] | None = None
    nfs: dict[str, Any] | None = None
    waiting: dict[str, Any] | None = None
    terminated: dict[str, Any] | None = None

    @property
    def namespace(self) -> str:
        return f"fault-{self.name}"

    @property
    def own_node(self) -> Declared | None:
        if self.nodes is None:
            return None
        return Declared(name=self.namespace, extra_labels={MARK: self.name}, **self.nodes)

    def surroundings(self) -> list[Manifest]:
        """Namespace and objects that are there before the Deployment."""
        labels = {"fault": self.name, **self.labels}
        made: list[Manifest] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        ]
        for one in deepcopy(self.objects):
            if one["kind"] in NAMESPACED:
                one["metadata"]["namespace"] = self.namespace
            made.append(one)
        return [*made, *(self._volume() if self.nfs else [])]

    def _volume(self) -> list[Manifest]:
        assert self.nfs is not None
        common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        volume = {
            **common,
            "capacity": {"storage": "1Gi"},
            "mountOptions": self.nfs.get("options", ["nfsvers=4", "soft", "timeo=30", "retrans=3"]),
            "nfs": {"server": self.nfs["server"], "path": self.nfs["path"]},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.namespace, "name": "models"
            },
        }  # fmt: skip
        claim = {**common, "volumeName": self.namespace, "resources": {"requests": {"storage": "1Gi"}}}
        return [
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.namespace}, "spec": volume},
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "models", "namespace": self.namespace},
                "spec": claim,
            },
        ]

    def healthy(self) -> Manifest:
        """The Deployment as it serves before the fault."""
        return self._made({}, {}, {}, {})

    def faulty(self) -> Manifest:
        """The Deployment with the fault."""
        annotations = {MARK: self.name} if self.waiting or self.terminated else {}
        pod, container = deepcopy(self.pod), deepcopy(self.container)
        if self.nfs:
            pod["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
            container["volumeMounts"] = [{"name": "models", "mountPath": "/data"}]
        return self._made(pod, container, self.deployment, annotations)

    def _made(
        self, pod: dict[str, Any], container: dict[str, Any], spec: dict[str, Any], annotations: dict[str, str]
    ) -> Manifest:
        if self.own_node:
            place = {MARK: self.name}
        else:
            place = {"kubernetes.io/hostname": node.NAME if self.at == "node" else SIMULATED}
        one = {"name": "stt", "image": images.BASE, "resources": {}, **container}
        one["resources"].setdefault("limits", {}).setdefault("nvidia.com/gpu", "1")
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "stt", "namespace": self.namespace},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": {"app": "stt"}},
                "template": {
                    "metadata": {"labels": {"app": "stt"}, "annotations": annotations},
                    "spec": {
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": 1,
                        "nodeSelector": place,
                        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                        "containers": [one],
                        **pod,
                    },
                },
                **spec,
            },
        }

    def status(self, image: str) -> dict[str, Any]:
        """What a kubelet would report of the pod (at: replay)."""
        state = {"waiting": self.waiting} if self.waiting else {"terminated": self.terminated}
        one = {"name": "stt", "image": image, "imageID": "", "ready": False, "restartCount": 0, "started": False}
        return {"phase": "Pending", "containerStatuses": [{**one, "state": state}]}


NAMESPACED = ("PersistentVolumeClaim", "ResourceQuota", "LimitRange", "Pod", "ConfigMap", "Secret")


def table() -> list[Fault]:
    """All faults, in the order of the table."""
    return [Fault(**entry) for entry in yaml.safe_load(TABLE.read_text())]
