# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The objects of the server as plain data, a function each: whatever a value holds, it stays the leaf that it is."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

from .._kubernetes.ownership import MANAGER
from . import alerts, models
from .models import Copy, Found
from .settings import CA, SCRIPTS, Settings

Object = dict[str, Any]

STARTUP_RUN_S = 20
"""The warm probe's script counts on runs that fail after this many seconds."""

CLIP_STARTS_S = 60
"""How long a pod that sends the clip may take to start: its image is there."""

CLIP_WAITS_S = 10
"""For so long it tries anew where nobody listens."""

RULES = "monitoring.coreos.com/v1"

# Pod Security `restricted`; the image's user is `ubuntu`, 1000 by number. No fsGroup: with a CSI driver the kubelet
# would change owner and mode of every file on the export.
_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class Scripts:
    """What is mounted into the pods: the role's scripts as text, and the warm probe's clip of speech."""

    seed: str
    warm: str
    clip: bytes


# ---- what the server stands on


def base(settings: Settings, scripts: Scripts) -> list[Object]:
    """What is there before anything runs, in the order of their needs."""
    return [
        namespace(settings),
        persistent_volume(settings),
        claim(settings),
        config_map(settings, scripts),
        *network_policies(settings),
    ]


def namespace(settings: Settings) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": settings.namespace, "labels": dict(settings.namespace_labels)},
    }


def persistent_volume(settings: Settings) -> Object:
    volume = settings.volume
    if volume.driver:
        source: Object = {
            "csi": {
                "driver": volume.driver,
                "volumeHandle": volume.name,
                "volumeAttributes": {"server": volume.server, "share": volume.path},
            }
        }
    else:
        source = {"nfs": {"server": volume.server, "path": volume.path}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume.name, "labels": {**settings.labels, **marks(settings)}},
        "spec": {
            "capacity": {"storage": volume.size},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": volume.storage_class,
            "mountOptions": list(volume.mount_options),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": settings.namespace,
                "name": volume.name,
            },
            **source,
        },
    }


def claim(settings: Settings) -> Object:
    volume = settings.volume
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(settings, volume.name),
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": volume.storage_class,
            "volumeName": volume.name,
            "resources": {"requests": {"storage": volume.size}},
        },
    }


def config_map(settings: Settings, scripts: Scripts) -> Object:
    data = {"seed.py": scripts.seed, "warm.py": scripts.warm}
    if settings.hub.ca:
        data["ca.pem"] = settings.hub.ca
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(settings, _scripts(settings)),
        "data": data,
        "binaryData": {"warm.wav": _base64(scripts.clip)},
    }


def network_policies(settings: Settings) -> list[Object]:
    """The server's, the seed Job's and the clip's; none where none are wanted."""
    if not settings.network.policy:
        return []
    seed = [_seed_policy(settings)] if settings.model_source != "hub" else []
    return [_server_policy(settings), *seed, *([_clip_policy(settings)] if settings.synthetic.enabled else [])]


def _server_policy(settings: Settings) -> Object:
    """Nothing out: audio stays here. Only a server that asks the hub itself needs a way out."""
    callers: list[Object] = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in settings.network.namespaces
    ]
    callers += [{"ipBlock": {"cidr": cidr}} for cidr in settings.network.cidrs]
    callers += [{"podSelector": {"matchLabels": {"app": _clip(settings)}}}] if settings.synthetic.enabled else []
    return _policy(
        settings,
        settings.name,
        selector={"app": settings.app},
        policyTypes=["Ingress"] if settings.model_source == "hub" else ["Ingress", "Egress"],
        ingress=[{"from": callers, "ports": [{"port": "http", "protocol": "TCP"}]}] if callers else [],
    )


def _seed_policy(settings: Settings) -> Object:
    """It handles public files only: nothing in; out to the hub, wherever that and its proxies and mirrors are."""
    return _policy(
        settings,
        _seed(settings),
        selector={"app": _seed(settings)},
        policyTypes=["Ingress", "Egress"],
        ingress=[],
        egress=[{}] if settings.model_source == "seeded" else [],
    )


def _clip_policy(settings: Settings) -> Object:
    """To the server, and nowhere else: not even to a name server, which it does without."""
    return _policy(
        settings,
        _clip(settings),
        selector={"app": _clip(settings)},
        policyTypes=["Ingress", "Egress"],
        ingress=[],
        egress=[
            {
                "to": [{"podSelector": {"matchLabels": {"app": settings.app}}}],
                "ports": [{"port": 8000, "protocol": "TCP"}],
            }
        ],
    )


def _policy(settings: Settings, name: str, *, selector: Mapping[str, str], **spec: Any) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(settings, name),
        "spec": {"podSelector": {"matchLabels": dict(selector)}, **spec},
    }


def secret(settings: Settings) -> Object | None:
    """What is secret; None where nothing is.

    Not as stringData: from there a server-side apply removes no key that is not given any more.
    """
    data = {key: _base64(value.encode(errors="surrogatepass")) for key, value in settings.secrets().items()}
    if not data:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(settings, settings.name),
        "type": "Opaque",
        "data": data,
    }


# ---- what is not wanted, or not any more


def unwanted(settings: Settings) -> list[Object]:
    """What another run may have made that these settings do without: named only, and what may go at once."""
    policies = {one["metadata"]["name"] for one in network_policies(settings)}
    return [
        *(one for one in _policy_names(settings) if one["metadata"]["name"] not in policies),
        *([] if settings.synthetic.enabled else [_named(settings, "batch/v1", "CronJob", _clip(settings))]),
        *([] if settings.alerts.enabled else [_named(settings, RULES, "PrometheusRule", settings.name)]),
    ]


def leftover(settings: Settings) -> list[Object]:
    """The same for what goes when the server of these settings serves: until then one of before may need it.

    Not the volume and its claim under another name: they lead to models, and go with teardown alone.
    """
    left = [] if settings.secrets() else [_named(settings, "v1", "Secret", settings.name)]
    if settings.replicas < 2:
        left.append(_named(settings, "policy/v1", "PodDisruptionBudget", settings.name))
    return [*left, *([_seed_jobs(settings)] if settings.model_source == "hub" else [])]


def absent(settings: Settings) -> list[Object]:
    """All that the role makes, named only, in the order in which it goes: a server's volume after the server.

    By name, not with the namespace: others may have something in it. The seed Jobs go by their labels.
    """
    volume = persistent_volume(settings)
    return [
        _named(settings, RULES, "PrometheusRule", settings.name),
        _named(settings, "batch/v1", "CronJob", _clip(settings)),
        _seed_jobs(settings),
        _named(settings, "apps/v1", "Deployment", settings.name),
        _named(settings, "v1", "Service", settings.name),
        _named(settings, "policy/v1", "PodDisruptionBudget", settings.name),
        *_policy_names(settings),
        *fillable(settings),
        _named(settings, "v1", "PersistentVolumeClaim", settings.volume.name),
        {**volume, "spec": {"claimRef": volume["spec"]["claimRef"]}},
    ]


def fillable(settings: Settings) -> list[Object]:
    """Secret and ConfigMaps without their content."""
    return [
        _named(settings, "v1", "Secret", settings.name),
        _named(settings, "v1", "ConfigMap", _scripts(settings)),
        report(settings),
    ]


def report(settings: Settings) -> Object:
    """The ConfigMap of the last reports, without them."""
    return _named(settings, "v1", "ConfigMap", f"{settings.name}-report")


def _seed_jobs(settings: Settings) -> Object:
    """All of them, by their labels."""
    metadata = {"namespace": settings.namespace, "labels": seed_labels(settings)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}


def _policy_names(settings: Settings) -> list[Object]:
    names = (settings.name, _seed(settings), _clip(settings))
    return [_named(settings, "networking.k8s.io/v1", "NetworkPolicy", name) for name in names]


def _named(settings: Settings, version: str, kind: str, name: str) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": _metadata(settings, name)}


# ---- the seed Job


def seed_job(settings: Settings, found: Found, copies: Sequence[Copy], scripts: Scripts) -> Object:
    """A Job cannot be changed: what it does is part of its name."""
    job = _seed_job(settings, found, copies)
    secrets = models.digests(settings, (f"hub.{name}" for name in settings.hub.environment))
    what = [job, [one.digest for one in copies], asdict(settings.volume), scripts.seed, secrets]
    told = json.dumps(what, sort_keys=True).encode()
    job["metadata"]["name"] = f"{_seed(settings)}-{hashlib.sha256(told).hexdigest()[:10]}"
    return job


def seed_labels(settings: Settings) -> dict[str, str]:
    """What all seed Jobs of these settings' server carry."""
    return {"app.kubernetes.io/component": "seed", "app.kubernetes.io/part-of": settings.name}


def _seed_job(settings: Settings, found: Found, copies: Sequence[Copy]) -> Object:
    labels = {"app": _seed(settings), **seed_labels(settings)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "", "namespace": settings.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 3,
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    "restartPolicy": "Never",
                    # On the node of the server, so that its image is there before the old pod goes; without a GPU.
                    **_pod(settings),
                    "affinity": _near_the_server(settings),
                    "containers": [_seed_container(settings, found, copies)],
                    "volumes": _volumes(settings),
                },
            },
        },
    }


def _seed_container(settings: Settings, found: Found, copies: Sequence[Copy]) -> Object:
    places = {one.model: f"/data/import/{one.imported}" for one in copies}
    wanted = [
        {"model": one.model, "revision": one.revision} | ({"local": places[one.model]} if one.model in places else {})
        for one in settings.models
    ]
    own = {
        "SEED_MODELS": json.dumps(wanted),
        "HF_HUB_CACHE": "/data/hub",
        "HF_HOME": "/tmp/hf",
        "HF_HUB_DISABLE_XET": "1",
        "NVIDIA_VISIBLE_DEVICES": "void",
    }
    after = {
        name: value
        for name, value in (("SEED_CA", settings.hub.ca and CA), ("HF_ENDPOINT", settings.hub.endpoint))
        if value
    }
    env = [_value(name, value) for name, value in own.items()]
    env += [
        _from_secret(settings, name, f"hub.{name}")
        for name in _sorted(settings.hub.environment)
        if name not in own and name not in after
    ]
    env += [_value(name, value) for name, value in after.items()]
    env += [_from_secret(settings, "HF_TOKEN", "hub-token")] if settings.hub.token else []
    return {
        "name": "seed",
        "image": _image(settings, found),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{SCRIPTS}/seed.py"],
        "env": env,
        "resources": {"requests": {"cpu": settings.resources.cpu, "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": deepcopy(_CONTAINER_SECURITY),
        "volumeMounts": [{"name": "models", "mountPath": "/data"}, *deepcopy(_SCRIPTS_AND_TMP)],
    }


# ---- the server


def server(settings: Settings, found: Found) -> list[Object]:
    """The server and what stands around it, in order."""
    return [
        service(settings),
        *([pod_disruption_budget(settings)] if settings.replicas > 1 else []),
        deployment(settings, found),
        *([clip(settings, found)] if settings.synthetic.enabled else []),
        *([prometheus_rule(settings)] if settings.alerts.enabled else []),
    ]


def service(settings: Settings) -> Object:
    metadata = _metadata(settings, settings.name)
    if settings.service_annotations:
        metadata["annotations"] = dict(settings.service_annotations)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": settings.app},
            "ports": [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def pod_disruption_budget(settings: Settings) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(settings, settings.name),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": settings.app}}},
    }


def deployment(settings: Settings, found: Found) -> Object:
    metadata = _metadata(settings, settings.name)
    metadata["annotations"] = {"portal-stt/image": settings.image}
    strategy: Object = {"type": settings.strategy}
    if settings.strategy == "RollingUpdate":
        # Named, so that they go with the strategy: Kubernetes' own defaults would stay, and refuse Recreate.
        strategy["rollingUpdate"] = {"maxSurge": 1, "maxUnavailable": 0}
    template: Object = {"metadata": {"labels": dict(settings.labels)}, "spec": _server_pod(settings, found)}
    if annotations := _pod_annotations(settings, found):
        template["metadata"]["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": settings.replicas,
            "revisionHistoryLimit": 3,
            # Kubernetes' own 600 s would end a rollout that still has time.
            "progressDeadlineSeconds": settings.rollout_budget,
            "strategy": strategy,
            "selector": {"matchLabels": {"app": settings.app}},
            "template": template,
        },
    }


def _pod_annotations(settings: Settings, found: Found) -> dict[str, str]:
    """What restarts the server when it changes: it reads its key and its environment once."""
    annotations = {}
    if settings.api_key:
        annotations["portal-stt/key"] = models.digest(settings, settings.api_key)
    if told := models.digests(settings, settings.server_secrets().values()):
        annotations["portal-stt/environment"] = told
    if settings.model_source != "hub":
        annotations[models.MODELS] = " ".join(f"{one.model}@{one.revision}" for one in models.served(settings, found))
    for number, one in enumerate(models.pinned(settings, found)):
        annotations[f"portal-stt/revision-{number}"] = one.revision
    return annotations


def _server_pod(settings: Settings, found: Found) -> Object:
    pod: Object = {
        **_pod(settings),
        # What has begun gets uvicorn's 60 s; a transcription that is under way then holds its thread some time longer.
        "terminationGracePeriodSeconds": 75,
        "priorityClassName": settings.gpu.priority_class,
        "containers": [_server_container(settings, found)],
        "volumes": _volumes(settings, *_revision_volumes(settings, found)),
    }
    if settings.gpu.runtime_class:
        pod["runtimeClassName"] = settings.gpu.runtime_class
    if settings.replicas > 1:
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": settings.app}},
            }
        ]
    return pod


def _server_container(settings: Settings, found: Found) -> Object:
    budget, health = settings.startup_budget, {"path": "/health", "port": "http"}
    container: Object = {
        "name": settings.name,
        "image": _image(settings, found),
        "imagePullPolicy": "IfNotPresent",
        "env": _server_environment(settings),
        "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": settings.resources.cpu, "memory": settings.resources.memory, **_declared(settings)},
            "limits": {
                settings.gpu.resource: str(settings.gpu.count),
                "memory": settings.resources.memory_limit,
                **_declared(settings),
            },
        },
        "securityContext": deepcopy(_CONTAINER_SECURITY),
        # Ready means warm: the first probe that passes has had a clip of speech turned into text.
        "startupProbe": {
            "exec": {"command": ["python3", f"{SCRIPTS}/warm.py"]},
            # How these make up the budget: see warm.py.
            "periodSeconds": 1,
            "timeoutSeconds": budget + 30,
            "failureThreshold": -(-budget // STARTUP_RUN_S),
        },
        "readinessProbe": {"httpGet": dict(health), "periodSeconds": 15, "timeoutSeconds": 15, "failureThreshold": 4},
        # /health waits behind transcriptions (one pool of 40 threads): slow is not dead.
        "livenessProbe": {
            "httpGet": dict(health),
            "initialDelaySeconds": 30,
            "periodSeconds": 30,
            "timeoutSeconds": 30,
            "failureThreshold": 5,
        },
        "volumeMounts": [
            {"name": "models", "mountPath": "/data", "readOnly": settings.model_source != "hub"},
            *_revision_mounts(settings, found),
            *deepcopy(_SCRIPTS_AND_TMP),
        ],
    }
    if settings.strategy == "RollingUpdate":
        # Calls that are on their way when the pod goes still find it listening.
        container["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "5"]}}}
    return container


def _server_environment(settings: Settings) -> list[Object]:
    from_hub = settings.model_source == "hub"
    own = {
        "WARM_MODELS": json.dumps([one.model for one in settings.models]),
        "WARM_CLIP": f"{SCRIPTS}/warm.wav",
        "WARM_BUDGET_S": str(settings.startup_budget),
        "WARM_RUN_S": str(STARTUP_RUN_S),
        **({"HF_ENDPOINT": settings.hub.endpoint} if from_hub and settings.hub.endpoint else {}),
    }
    keys = {
        **({"HF_TOKEN": "hub-token"} if from_hub and settings.hub.token else {}),
        **({"API_KEY": "api-key"} if settings.api_key else {}),
    }
    told, secrets = settings.server_environment(), settings.server_secrets()
    return [
        *(
            _from_secret(settings, name, secrets[name]) if name in secrets else _value(name, told[name])
            for name in _sorted({**told, **secrets})
            if name not in own and name not in keys
        ),
        *(_value(name, value) for name, value in own.items()),
        *(_from_secret(settings, name, key) for name, key in keys.items()),
    ]


def _revision_mounts(settings: Settings, found: Found) -> list[Object]:
    """refs/main as this pod's annotations have it: the volume's own is of what was seeded last, and it is what counts
    where no revision is known."""
    return [
        {
            "name": f"revision-{number}",
            "mountPath": f"/data/hub/models--{models.folder(one.model)}/refs",
            "readOnly": True,
        }
        for number, one in enumerate(models.pinned(settings, found))
    ]


def _revision_volumes(settings: Settings, found: Found) -> list[Object]:
    fields = [f"metadata.annotations['portal-stt/revision-{n}']" for n, _ in enumerate(models.pinned(settings, found))]
    return [
        {
            "name": f"revision-{number}",
            "downwardAPI": {"items": [{"path": "main", "fieldRef": {"fieldPath": path}}]},
        }
        for number, path in enumerate(fields)
    ]


# ---- what tells when it does not work any more


def clip(settings: Settings, found: Found) -> Object:
    """The CronJob that sends the warm probe's clip, through the Service. How it went, kube-state-metrics tells."""
    labels = {"app": _clip(settings), "app.kubernetes.io/component": "clip", "app.kubernetes.io/part-of": settings.name}
    asked = settings.synthetic
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(settings, _clip(settings)),
        "spec": {
            "schedule": asked.schedule,
            "timeZone": asked.time_zone,
            "concurrencyPolicy": "Forbid",
            # Without one, Kubernetes gives up a CronJob for good that was late a hundred times.
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,  # the alert counts them
            "jobTemplate": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": asked.timeout + CLIP_STARTS_S,
                    "template": {
                        "metadata": {"labels": dict(labels)},
                        "spec": {
                            "restartPolicy": "Never",
                            **_pod(settings),
                            # The Service's address comes with them, so that no name server need be asked.
                            "enableServiceLinks": True,
                            # Where the image is. It takes no GPU.
                            "affinity": _near_the_server(settings),
                            "terminationGracePeriodSeconds": 5,
                            "containers": [_clip_container(settings, found)],
                            "volumes": [_scripts_volume(settings)],
                        },
                    },
                },
            },
        },
    }


def _clip_container(settings: Settings, found: Found) -> Object:
    told = {
        "NVIDIA_VISIBLE_DEVICES": "void",
        "WARM_BUDGET_S": str(settings.synthetic.timeout),
        "WARM_CLIP": f"{SCRIPTS}/warm.wav",
        "WARM_HOST": f"$({_service_host(settings)})",
        "WARM_LANGUAGE": settings.server_environment().get("WARM_LANGUAGE", ""),
        "WARM_MODELS": json.dumps([one.model for one in settings.models]),
        "WARM_RUN_S": str(CLIP_WAITS_S),
    }
    key = [_from_secret(settings, "API_KEY", "api-key")] if settings.api_key else []
    return {
        "name": "clip",
        "image": _image(settings, found),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{SCRIPTS}/warm.py"],
        "env": [*(_value(name, value) for name, value in told.items()), *key],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": deepcopy(_CONTAINER_SECURITY),
        "volumeMounts": [{"name": "scripts", "mountPath": SCRIPTS, "readOnly": True}],
    }


def _service_host(settings: Settings) -> str:
    """The variable with the address of the server's Service (Kubernetes pkg/kubelet/envvars)."""
    return f"{settings.name.upper().replace('-', '_')}_SERVICE_HOST"


def prometheus_rule(settings: Settings) -> Object:
    """The alerts, for a Prometheus operator. Raises SettingsError for a metric or label whose name is none."""
    metadata = _metadata(settings, settings.name)
    metadata["labels"] = {**settings.labels, **settings.alerts.labels, **marks(settings)}
    return {
        "apiVersion": RULES,
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": alerts.groups(settings, _clip(settings))},
    }


# ---- what they share


_SCRIPTS_AND_TMP = (
    {"name": "scripts", "mountPath": SCRIPTS, "readOnly": True},
    {"name": "tmp", "mountPath": "/tmp"},
)


def _pod(settings: Settings) -> Object:
    """What the server's pods and the seed Job's have in common."""
    pod: Object = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "nodeSelector": dict(settings.gpu.node_selector),
        "tolerations": [dict(one) for one in settings.gpu.tolerations],
        "securityContext": deepcopy(_POD_SECURITY),
    }
    if settings.registry.pull_secret:
        pod["imagePullSecrets"] = [{"name": settings.registry.pull_secret}]
    return pod


def _near_the_server(settings: Settings) -> Object:
    """On its node, where that can be: the image is there."""
    near = {
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": settings.app}},
        },
    }
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [near]}}


def _volumes(settings: Settings, *more: Object) -> list[Object]:
    return [
        {"name": "models", "persistentVolumeClaim": {"claimName": settings.volume.name}},
        *more,
        _scripts_volume(settings),
        {"name": "tmp", "emptyDir": {}},
    ]


def _scripts_volume(settings: Settings) -> Object:
    return {"name": "scripts", "configMap": {"name": _scripts(settings)}}


def _image(settings: Settings, found: Found) -> str:
    """The image as the pods name it: what the registry said it is, unless the tag is asked for."""
    return settings.image if settings.image_pin == "tag" or not found.image else found.image


def _metadata(settings: Settings, name: str) -> Object:
    return {"name": name, "namespace": settings.namespace, "labels": {**settings.labels, **marks(settings)}}


def marks(settings: Settings) -> dict[str, str]:
    """What says that an object is ours, and of these settings' server."""
    return {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/part-of": settings.name}


def _declared(settings: Settings) -> dict[str, str]:
    """The share of GPU memory that the scheduler sees."""
    own = settings.gpu_memory_resource
    return {own.name: own.quantity} if own.name else {}


def _scripts(settings: Settings) -> str:
    return f"{settings.name}-scripts"


def _seed(settings: Settings) -> str:
    return f"{settings.name}-seed"


def _clip(settings: Settings) -> str:
    return f"{settings.name}-clip"


def _value(name: str, value: str) -> Object:
    return {"name": name, "value": value}


def _from_secret(settings: Settings, name: str, key: str) -> Object:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": settings.name, "key": key}}}


def _sorted(names: Mapping[str, object]) -> list[str]:
    return sorted(names, key=str.lower)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
