# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What every variable of every role may be: the one table. Its names are the variables that there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._kubernetes.ownership import MARKS
from . import grammar
from .grammar import Wrong
from .shapes import Choice, Dictionary, File, Items, Keys, Number, OneOrMore, Scalar, Shape, Text, Truth, Whole

WEEK = 7 * 24 * 3600
NO_KEY = 'For a server without a key write "".'

_SET_BY_ROLE = "Remove it: the role sets it itself."
_SECRET = "Use {0}, which is kept in a Secret."
_WARM = dict.fromkeys(("WARM_MODELS", "WARM_CLIP", "WARM_BUDGET_S", "WARM_RUN_S", "WARM_HOST"), _SET_BY_ROLE)
_BOTH = {
    **_WARM,
    "API_KEY": _SECRET.format("speaches_api_key"),
    "HF_TOKEN": _SECRET.format("speaches_hub.token"),
    "HUGGING_FACE_HUB_TOKEN": _SECRET.format("speaches_hub.token"),
    "HF_ENDPOINT": "Use speaches_hub.endpoint.",
    "NVIDIA_VISIBLE_DEVICES": "Remove it: which card a pod gets is told by Kubernetes (speaches_gpu).",
}
SERVER_RESERVED: Mapping[str, str] = _BOTH
HUB_RESERVED: Mapping[str, str] = {
    **_BOTH,
    **dict.fromkeys(("SEED_MODELS", "HF_HUB_CACHE", "HF_HOME", "HF_HUB_DISABLE_XET"), _SET_BY_ROLE),
    "SEED_CA": "Use speaches_hub.ca.",
    "SEED_RESULT": _SET_BY_ROLE,
}
_LABEL_RESERVED = {"pod-template-hash": "Remove it: Kubernetes sets it itself."}
_NAMESPACE_RESERVED = {"kubernetes.io/metadata.name": "Remove it: Kubernetes sets it itself."}

_label_text = Text(grammar.label_value, empty=True, null='Write "" for an empty value.')
_labels = Dictionary(grammar.qualified, _label_text, _LABEL_RESERVED)
_ENVIRONMENT_BYTES = 256 * 1024
"""Of all variables: a Secret holds 1 MiB, of which server and hub have a part each."""
_ANNOTATION_BYTES = 255 * 1024
"""Kubernetes takes 256 KiB of an object's annotations, keys included; cloud controllers add their own."""

_annotation = Text(grammar.annotation_value, empty=True, null='Write "" for an empty value.')
_environment_value = Scalar(grammar.environment_value)
_none = 'Write "" for none, or remove the line to have the default.'
_wer = Number(0, 1)
_local = Text(grammar.source_path, empty=True, null=_none)
_revision = Text(grammar.revision, empty=True, null=_none)


def _toleration(given: Mapping[str, Any]) -> Wrong | None:
    """As the API server judges one (Kubernetes pkg/apis/core/validation, ValidateTolerations)."""
    operator = given.get("operator", "Equal")
    if not given.get("key") and operator != "Exists":
        return Wrong("has no key.", "Give it the taint's key, or operator: Exists for every taint.")
    if operator == "Exists" and given.get("value"):
        return Wrong("has a value, which operator Exists does not look at.", "Remove the value, or write Equal.")
    if "tolerationSeconds" in given and given.get("effect") != "NoExecute":
        return Wrong("has tolerationSeconds without effect NoExecute.", "Write effect: NoExecute, or remove them.")
    return None


def _same_toleration(given: Mapping[str, Any]) -> object:
    return (given.get("key"), given.get("operator", "Equal"), given.get("value", ""), given.get("effect"))


def _mount_options(given: list[str]) -> Wrong | None:
    names = [one.partition("=")[0] for one in given]
    twice = {"vers": "nfsvers"}
    plain = [twice.get(name, name) for name in names]
    for name in plain:
        if plain.count(name) > 1:
            return Wrong(f"sets {name} more than once.", "Keep one of them.")
    if not {"soft", "softerr"} & set(names):
        return Wrong(
            "does not say soft, and a hard mount hangs pods for minutes when the NFS host is away.",
            "Add soft, with timeo and retrans.",
        )
    return None


def _models(given: list[Mapping[str, Any]]) -> Wrong | None:
    """As many as the seed Job's last words can tell of (seed.py, MODELS_RESULT)."""
    if sum(len(one["model"]) + 130 for one in given) <= 3000:
        return None
    return Wrong(f"has {len(given)} models, more than one server and its seed Job can have.", "Shorten it.")


_source = Keys(
    {
        "service": Text(grammar.service_port, empty=True, null=_none),
        "scheme": Choice(("http", "https")),
        "url": Text(grammar.url, empty=True, null=_none),
        "path": Text(grammar.url_path, empty=True, null=_none),
        "token": Text(grammar.header, empty=True, secret=True, null=_none),
        "ca_cert": Text(grammar.file_path, empty=True, null=_none),
        "tenant": Text(grammar.header, empty=True, null=_none),
    }
)
_metrics = Items(Text(grammar.metric))
_metric_labels = Items(Text(grammar.metric_label))
_ALERT_RESERVED = dict.fromkeys(("alertname", "namespace", "server", "tenant", "about"), _SET_BY_ROLE)
_MARKS_RESERVED = dict.fromkeys(MARKS, _SET_BY_ROLE)

SPEACHES: Mapping[str, Shape] = {
    "speaches_namespace": Text(grammar.namespace),
    "speaches_name": Text(grammar.server_name),
    "speaches_namespace_labels": Dictionary(grammar.qualified, _label_text, _NAMESPACE_RESERVED),
    "speaches_labels": _labels,
    "speaches_kubeconfig": Text(grammar.file_path, empty=True, null=_none),
    "speaches_context": Text(grammar.line, empty=True, null=_none),
    "speaches_image": Text(grammar.image),
    "speaches_image_pin": Choice(("digest", "tag")),
    "speaches_registry": Keys(
        {
            "plain_http": Truth(),
            "mirrors": Dictionary(grammar.registry, OneOrMore(Text(grammar.url))),
            "pull_secret": Text(grammar.subdomain, empty=True, null=_none),
        }
    ),
    "speaches_model": Text(grammar.model),
    "speaches_model_revision": _revision,
    "speaches_model_local": _local,
    "speaches_models": Items(
        Keys({"model": Text(grammar.model), "revision": _revision, "local": _local}, required=("model",)),
        least=1,
        same=lambda one: one["model"].lower(),  # the volume's file system may hold them to be one
        also=_models,
        null="Name at least one model, or remove the line.",
    ),
    "speaches_model_source": Choice(("seeded", "local", "hub")),
    "speaches_hub": Keys(
        {
            "endpoint": Text(grammar.url, empty=True, null=_none),
            "token": Text(grammar.header, empty=True, secret=True, null='For no token write "", or remove the line.'),
            "environment": Dictionary(grammar.variable_name, _environment_value, HUB_RESERVED, most=_ENVIRONMENT_BYTES),
            "ca": Text(grammar.certificates, empty=True, secret=True, null=_none),
        }
    ),
    "speaches_volume": Keys(
        {
            "name": Text(grammar.subdomain),
            "size": Text(grammar.memory),
            "server": Text(grammar.host),
            "path": Text(grammar.path),
            "driver": Text(grammar.driver, empty=True, null='Write "" for Kubernetes\' own NFS volume.'),
            "storage_class": Text(grammar.subdomain, empty=True, null='Write "" for no class.'),
            "mount_options": Items(Text(grammar.mount_option), also=_mount_options),
        }
    ),
    "speaches_gpu": Keys(
        {
            "resource": Text(grammar.resource),
            "count": Whole(1),
            "node_selector": Dictionary(grammar.qualified, _label_text),
            "tolerations": Items(
                Keys(
                    {
                        "key": Text(grammar.qualified, empty=True),
                        "operator": Choice(("Equal", "Exists")),
                        "value": _label_text,
                        "effect": Choice(("NoSchedule", "PreferNoSchedule", "NoExecute")),
                        "tolerationSeconds": Whole(0),
                    },
                    also=_toleration,
                ),
                same=_same_toleration,
            ),
            "priority_class": Text(grammar.subdomain, empty=True, null='Write "" for none.'),
            "runtime_class": Text(grammar.subdomain, empty=True, null='Write "" for the node\'s default.'),
        }
    ),
    "speaches_gpu_memory": Keys(
        {
            "source": Choice(("auto", "prometheus", "exporter", "dcgm", "none")),
            "prometheus": _source,
            "exporter": _source,
            "dcgm": _source,
            "metrics": Keys(dict.fromkeys(("seats", "used", "free", "total", "reserved"), _metrics)),
            "labels": Keys(dict.fromkeys(("namespace", "pod", "container", "node", "uuid", "product"), _metric_labels)),
            "window": Text(grammar.window),
            "ours_mib": Whole(0),
        }
    ),
    "speaches_gpu_memory_resource": Keys(
        {"name": Text(grammar.resource, empty=True, null=_none), "quantity": Text(grammar.count)}
    ),
    "speaches_neighbours": Items(
        Keys({"name": Text(grammar.tenant), "peak_mib": Whole(0)}, required=("name", "peak_mib")),
        same=lambda one: one["name"],
    ),
    "speaches_vram_headroom_mib": Whole(0),
    "speaches_replicas": Whole(1),
    "speaches_strategy": Choice(("Recreate", "RollingUpdate")),
    "speaches_resources": Keys(
        {"cpu": Text(grammar.cpu), "memory": Text(grammar.memory), "memory_limit": Text(grammar.memory)}
    ),
    "speaches_environment": Dictionary(
        grammar.variable_name, _environment_value, SERVER_RESERVED, most=_ENVIRONMENT_BYTES
    ),
    "speaches_api_key": Text(grammar.header, empty=True, secret=True, null=NO_KEY),
    "speaches_startup_seconds": Whole(1, 24 * 3600),
    "speaches_service_annotations": Dictionary(grammar.annotation_key, _annotation, most=_ANNOTATION_BYTES),
    "speaches_network": Keys(
        {
            "policy": Truth(),
            "namespaces": Items(Text(grammar.label)),
            "cidrs": Items(Text(grammar.network)),
        }
    ),
    "speaches_alerts": Keys(
        {
            "enabled": Truth(),
            "labels": Dictionary(grammar.qualified, _label_text, {**_LABEL_RESERVED, **_MARKS_RESERVED}),
            "rule_labels": Dictionary(grammar.metric_label, Text(grammar.line), _ALERT_RESERVED, most=4096),
            "memory": Items(Choice(("tenants", "card"))),
            "cards": Dictionary(grammar.metric_label, Text(grammar.line), most=4096),
        }
    ),
    "speaches_synthetic": Keys(
        {
            "enabled": Truth(),
            "schedule": Text(grammar.schedule),
            "time_zone": Text(grammar.time_zone),
            "timeout": Whole(10, 3600),
        }
    ),
    "speaches_verify": Keys(
        {
            "max_wer": _wer,
            "requests": Whole(2, 1000),
            "concurrency": Whole(1, 1000),
            "warm_factor": Number(1, 1000),
            "require_warm": Truth(),
            "timeout": Whole(1, 24 * 3600),
        }
    ),
    "speaches_verify_clips": Items(
        Keys(
            {
                "path": File(grammar.file_path),
                "text": Text(grammar.words),
                "name": Text(grammar.line),
                "language": Text(grammar.language),
                "prompt": Text(grammar.line, empty=True),
                "response_format": Choice(("json", "text", "verbose_json", "srt", "vtt")),
                "max_wer": _wer,
            },
            required=("path", "text"),
        )
    ),
    "speaches_verify_url": Text(grammar.url, empty=True, null=_none),
    "speaches_take_over": Items(Text(grammar.line)),
    "speaches_seed_seconds": Whole(1, WEEK),
    "speaches_rollout_seconds": Whole(1, WEEK),
    "speaches_rollout_progress": Truth(),
    "speaches_rollback": Truth(),
}

_option_texts = Items(Text(grammar.export_option), least=1)

NFS_EXPORT: Mapping[str, Shape] = {
    "nfs_export_name": Text(grammar.export_name),
    "nfs_export_path": Text(grammar.export_path),
    "nfs_export_clients": Items(
        Keys({"host": Text(grammar.client), "options": _option_texts}, required=("host",)),
        least=1,
        same=lambda one: one["host"],
    ),
    "nfs_export_directories": Items(
        Keys(
            {
                "path": Text(grammar.inner_path),
                "owner": Whole(0, 2**32 - 2),
                "group": Whole(0, 2**32 - 2),
                "mode": Text(grammar.mode),
            },
            required=("path", "owner", "group", "mode"),
        ),
        same=lambda one: one["path"],
    ),
    "nfs_export_require_mountpoint": Text(grammar.mountpoint, empty=True, null='Write "" to require none.'),
    "nfs_export_when_covered": Choice(("declare", "skip", "fail")),
    "nfs_export_allow_world": Truth(),
    "nfs_export_min_free_mib": Whole(0),
    "nfs_export_install_server": Truth(),
    "nfs_export_delete_data": Truth(),
    "nfs_export_delete_path": Text(grammar.path, empty=True, null=_none),
}

PREFLIGHT: Mapping[str, Shape] = {
    "preflight_runtime_mode": Choice(("auto", "legacy", "cdi", "csv")),
    "preflight_accept_unknown": Truth(),
    "preflight_probe_image": Text(grammar.image, empty=True, null='Write "" to probe nothing.'),
    "preflight_probe_namespace": Text(grammar.label),
}

ROLES: Mapping[str, Mapping[str, Shape]] = {
    "nfs_export": NFS_EXPORT,
    "preflight": PREFLIGHT,
    "speaches": SPEACHES,
    "verify": SPEACHES,  # it has none of its own
}
"""Role → the variables that it reads."""

PLAYBOOKS: Mapping[str, Shape] = {
    "portal_stt_report_dir": Text(grammar.file_path, empty=True, null='Write "" for no report, or remove the line.'),
}
"""What the playbooks read, whichever roles they use."""

PREFIXES = ("nfs_export_", "portal_stt_", "preflight_", "speaches_")
KEPT = frozenset(
    {
        "nfs_export_result",
        "nfs_export_server",
        "preflight_cuda",
        "preflight_image",
        "preflight_memory",
        "preflight_memory_budget",
        "preflight_nodes",
        "preflight_objects",
        "preflight_probed",
        "preflight_results",
        "preflight_settings",
    }
)
"""What the roles themselves keep under such names, from one play to the next."""
_INTERNAL = tuple(f"{prefix}_" for prefix in (*PREFIXES, "verify_"))


def is_own(name: str) -> bool:
    """Whether only the roles themselves may set a variable."""
    return name in KEPT or name.startswith(_INTERNAL)
