"""Faults to inject into a rollout (lab/faults.yml), as manifests."""

from __future__ import annotations

import json
from base64 import b64encode
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from lab import images, node
from lab.certificates import PKI
from lab.paths import ROOT
from lab.simulated import Declared

TABLE = ROOT / "lab" / "faults.yml"
SIMULATED = "t4"
"""The simulated node that pods go to which need no real one and have no own one."""

MARK = "lab.portal-stt/fault"
"""Label of a fault's own simulated node."""

STATUS = "lab.portal-stt/status"
"""Annotation of a pod on a simulated node: the status (JSON) that lab/stages/ gives it instead of a healthy one."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One entry of the table; lab/faults.yml says what each field means."""

    name: str
    cause: str
    at: Literal["node", "cluster", "replay"]
    sign: str
    timeout: int = 60
    signs: int = 1
    final: bool = True
    serves: bool = False
    outside: bool = False
    kind: Literal["Deployment", "Job"] = "Deployment"
    pod: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    objects: list[Manifest] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Any] | None = None
    nfs: dict[str, Any] | None = None
    status: dict[str, Any] | None = None
    meanwhile: list[dict[str, Any]] = field(default_factory=list)
    role: dict[str, Any] | None = None

    @property
    def namespace(self) -> str:
        return f"fault-{self.name}"

    @property
    def own_node(self) -> Declared | None:
        if self.nodes is None:
            return None
        return Declared(name=self.namespace, extra_labels={MARK: self.name}, **self.nodes)

    def surroundings(self) -> list[Manifest]:
        """Namespace and objects that are there before the Deployment or Job."""
        labels = {"fault": self.name, **self.labels}
        made: list[Manifest] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        ]
        for one in deepcopy(self.objects):
            if one["kind"] in NAMESPACED:
                one["metadata"]["namespace"] = self.namespace
            for webhook in one.get("webhooks", ()):
                webhook["clientConfig"]["caBundle"] = b64encode((PKI / "ca.crt").read_bytes()).decode()
            made.append(one)
        return [*made, *(self._volume() if self.nfs else [])]

    def _volume(self) -> list[Manifest]:
        assert self.nfs is not None
        common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        server, path, driver = self.nfs["server"], self.nfs["path"], self.nfs.get("driver")
        attributes = {"server": server, "share": path}
        csi = {"driver": driver, "volumeHandle": self.namespace, "volumeAttributes": attributes}
        volume = {
            **common,
            "capacity": {"storage": "1Gi"},
            "mountOptions": self.nfs.get("options", ["nfsvers=4", "soft", "timeo=30", "retrans=3"]),
            **({"csi": csi} if driver else {"nfs": {"server": server, "path": path}}),
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
        """The Deployment or Job with the fault."""
        annotations = {STATUS: json.dumps(self._reported())} if self.status is not None else {}
        pod, container = deepcopy(self.pod), deepcopy(self.container)
        if self.nfs:
            pod["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
            container["volumeMounts"] = [{"name": "models", "mountPath": "/data"}]
        return self._made(pod, container, self.spec, annotations)

    def _made(
        self, pod: dict[str, Any], container: dict[str, Any], spec: dict[str, Any], annotations: dict[str, str]
    ) -> Manifest:
        if self.own_node:
            place = {MARK: self.name}
        else:
            place = {"kubernetes.io/hostname": node.NAME if self.at == "node" else SIMULATED}
        one = {"name": "stt", "image": images.BASE, "resources": {}, **container}
        if self.at == "node":
            # As the server's: without one, a container that ends after a second has been Ready before.
            probe = {"exec": {"command": ["/bin/sh", "-c", "exit 0"]}, "initialDelaySeconds": 5, "timeoutSeconds": 20}
            one.setdefault("startupProbe", {**probe, "periodSeconds": 1, "failureThreshold": 10})
        one["resources"].setdefault("limits", {}).setdefault("nvidia.com/gpu", "1")
        template = {
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
        }
        if self.kind == "Job":
            template["spec"]["restartPolicy"] = "Never"
        else:
            selector = {"matchLabels": {"app": "stt"}}
            spec = {"replicas": 1, "strategy": {"type": "Recreate"}, "selector": selector, **spec}
        return {
            "apiVersion": "batch/v1" if self.kind == "Job" else "apps/v1",
            "kind": self.kind,
            "metadata": {"name": "stt", "namespace": self.namespace},
            "spec": {**spec, "template": template},
        }

    def _reported(self) -> dict[str, Any]:
        """The status that a kubelet would report of the pod, complete."""
        assert self.status is not None
        one = {"name": "stt", "image": images.BASE, "imageID": "", "ready": False, "restartCount": 0, "started": False}
        containers = [{**one, **told} for told in self.status.get("containerStatuses", ())]
        return {"phase": "Pending", **self.status, **({"containerStatuses": containers} if containers else {})}


NAMESPACED = ("PersistentVolumeClaim", "ResourceQuota", "LimitRange", "Pod", "ConfigMap", "Secret")


def table() -> list[Fault]:
    """All faults, in the order of the table."""
    patient = {"node": 300}  # seconds; an emulated node takes its time
    return [Fault(**{"timeout": patient.get(entry["at"], 60), **entry}) for entry in yaml.safe_load(TABLE.read_text())]
