# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The role's variables, typed and completed: a key that an operator does not give keeps the default that stands here.

What the values may be is checked before. Here each becomes what its place wants, text, number or truth value, so that
nothing but a leaf can come of it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from .._findings import CollectionError
from .._kubernetes.quantities import QuantityError, canonical_count

Toleration = Mapping[str, str | int]
T = TypeVar("T")


class SettingsError(CollectionError):
    """A variable that cannot be what its place wants."""

    check = "settings.value"


@dataclass(frozen=True)
class Registry:
    """How the image's registry is reached. mirrors: registry name → addresses that answer in its place."""

    plain_http: bool = False
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pull_secret: str = ""


@dataclass(frozen=True)
class Model:
    """A model of the server. revision: a commit, or empty; local: path of its copy on the controller, or empty."""

    model: str
    revision: str = ""
    local: str = ""


@dataclass(frozen=True)
class Hub:
    """The hub that models come from. ca: certificates as PEM text."""

    endpoint: str = ""
    token: str = field(default="", repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: str = ""


@dataclass(frozen=True)
class Volume:
    """The NFS volume that holds the models. driver: of CSI; empty for Kubernetes' own NFS volume."""

    name: str = "portal-stt-models"
    size: str = "10Gi"
    server: str = "192.168.1.127"
    path: str = "/srv/nfs-ssd/portal-stt"
    driver: str = "nfs.csi.k8s.io"
    storage_class: str = "nfs-truenas"
    mount_options: tuple[str, ...] = ("nfsvers=4", "soft", "timeo=30", "retrans=3", "actimeo=5")


@dataclass(frozen=True)
class Gpu:
    """The GPU, and the nodes that have it. count: whole cards or time-slices."""

    resource: str = "nvidia.com/gpu"
    count: int = 1
    node_selector: Mapping[str, str] = field(default_factory=lambda: {"nvidia.com/gpu.present": "true"})
    tolerations: tuple[Toleration, ...] = (
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    )
    priority_class: str = "gpu-workload"
    runtime_class: str = ""


@dataclass(frozen=True)
class GpuMemoryResource:
    """An extended resource that stands for GPU memory. quantity: as Kubernetes gives it back, 5000 as 5k."""

    name: str = ""
    quantity: str = "1500"

    def __post_init__(self) -> None:
        with contextlib.suppress(QuantityError):  # what it may be is checked before
            object.__setattr__(self, "quantity", canonical_count(self.quantity))


@dataclass(frozen=True)
class Source:
    """The Service of what measures the card's memory, as NAMESPACE/NAME:PORT, and what it speaks. url: in its place."""

    service: str = ""
    scheme: str = "http"
    url: str = ""
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class GpuMemory:
    """What measures the card's memory, and by which names. ours_mib: what the server takes at most, 0 if not measured.

    Not all that portal.stt.gpu_memory_info is given: what the account's rights and the alerts are made from.
    """

    prometheus: Source = Source()
    exporter: Source = Source()
    dcgm: Source = Source()
    metrics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    window: str = "7d"
    ours_mib: int = 0


@dataclass(frozen=True)
class Neighbour:
    """Who else is on the card, as NAMESPACE/CONTAINER, and the most that it takes."""

    name: str
    peak_mib: int


@dataclass(frozen=True)
class Alerts:
    """The PrometheusRule. labels: its own; rule_labels: of the alerts; cards: labels of the cards that are meant."""

    enabled: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    rule_labels: Mapping[str, str] = field(default_factory=dict)
    memory: tuple[str, ...] = ("tenants", "card")
    cards: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Synthetic:
    """The CronJob that sends the clip. timeout: seconds."""

    enabled: bool = False
    schedule: str = "*/15 * * * *"
    time_zone: str = "Etc/UTC"
    timeout: int = 120


@dataclass(frozen=True)
class Resources:
    """Requests and limits of the server, as quantities. The memory of `of` counts the models."""

    cpu: str = "200m"
    memory: str = "2Gi"
    memory_limit: str = "4Gi"


@dataclass(frozen=True)
class Network:
    """Who may call."""

    policy: bool = True
    namespaces: tuple[str, ...] = ("portal-assistant",)
    cidrs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verify:
    """How the server is proven. timeout: seconds."""

    max_wer: float = 0.2
    requests: int = 4
    concurrency: int = 1
    warm_factor: float = 1.2
    require_warm: bool = True
    timeout: int = 120


ENVIRONMENT: Mapping[str, str] = {
    # the operator's own
    "STT_MODEL_TTL": "-1",
    "WHISPER__INFERENCE_DEVICE": "cuda",
    "WHISPER__COMPUTE_TYPE": "int8",
    "LOG_LEVEL": "info",
    # warm, quiet and offline (Speaches v0.9.0-rc.3: config.py, executors/silero_vad_v5.py)
    "HF_HUB_CACHE": "/data/hub",
    "HF_HOME": "/data",
    "ENABLE_UI": "false",
    "UNSTABLE_ORT_OPTS__EXCLUDE_PROVIDERS": '["TensorrtExecutionProvider", "CUDAExecutionProvider"]',
    "WARM_LANGUAGE": "en",  # of the warm probe's clip; any text that a model hears in it will do
    "CUDA_CACHE_PATH": "/tmp/cuda",
    "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": "60",
}
"""What the server is told unless the operator says otherwise."""

SCRIPTS = "/opt/portal-stt"
CA = f"{SCRIPTS}/ca.pem"
MARGIN_S = 120
"""A rollout is watched for longer than its models may take to start: it does not fail while a probe still waits."""

# A password may have a slash in it, and a proxy is also read without a scheme (user:password@host:port).
_WITH_CREDENTIALS = re.compile(r"://[^/?#]*@|://[^/?#\s]*:(?!\d{1,5}[/?#])\S*@|^[^\s/@:]+:(?!//)\S*@")
_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|COOKIE|AUTHORIZATION|CONNECTION_?STRING)S?$"
    r"|(^|_)(TOKEN|PASS|PWD|JWT|DSN|AUTH|HEADER|(API|ACCESS|SECRET|PRIVATE|MASTER|SIGNING|ENCRYPTION|ACCOUNT)_?KEY)S?$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"(Bearer|Basic)\s+\S", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """All variables of the role that a manifest or a check is made from, by their names without ``speaches_``.

    environment: the operator's own, not completed (see :meth:`server_environment`).
    startup_seconds: for each of the models.
    """

    namespace: str = "portal-stt"
    name: str = "portal-stt"
    namespace_labels: Mapping[str, str] = field(
        default_factory=lambda: {
            "tier": "2-gpu",
            "istio-injection": "disabled",
            "keel.sh/enrolled": "true",
            "pod-security.kubernetes.io/enforce": "restricted",
        }
    )
    labels: Mapping[str, str] = field(default_factory=lambda: {"app": "portal-stt", "tier": "2-gpu"})
    image: str = "ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda"
    image_pin: str = "digest"
    registry: Registry = Registry()
    models: tuple[Model, ...] = (Model("deepdml/faster-whisper-large-v3-turbo-ct2"),)
    model_source: str = "seeded"
    hub: Hub = Hub()
    volume: Volume = Volume()
    gpu: Gpu = Gpu()
    gpu_memory: GpuMemory = GpuMemory()
    gpu_memory_resource: GpuMemoryResource = GpuMemoryResource()
    neighbours: tuple[Neighbour, ...] = ()
    vram_headroom_mib: int = 1024
    replicas: int = 1
    strategy: str = "Recreate"
    resources: Resources = Resources()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_key: str = field(default="", repr=False)
    startup_seconds: int = 600
    service_annotations: Mapping[str, str] = field(default_factory=dict)
    network: Network = Network()
    alerts: Alerts = Alerts()
    synthetic: Synthetic = Synthetic()
    rollout_seconds: int = 900
    verify: Verify = Verify()

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Settings:
        """The settings that the role's variables say, by their full names; one that is not there has its default.

        ``nfs_export_path``, where it is among them, is the default of the volume's path.
        Raises SettingsError.
        """
        given = {name.removeprefix("speaches_"): (name, value) for name, value in raw.items()}
        if raw.get("nfs_export_path"):
            volume = _mapping("speaches_volume", raw.get("speaches_volume"))
            given["volume"] = ("speaches_volume", {"path": raw["nfs_export_path"], **volume})
        read = _read(cls, given)
        count = max(1, len(read.get("models", cls.models)))
        sized = {"memory": f"{2 * count}Gi", "memory_limit": f"{4 * count}Gi"}
        asked = _mapping("speaches_resources", raw.get("speaches_resources"))
        read["resources"] = _nested(Resources)("speaches_resources", {**sized, **asked})
        if "labels" not in read:
            read["labels"] = {"app": read.get("name", cls.name), "tier": "2-gpu"}
        return cls(**read)

    @property
    def app(self) -> str:
        """The label that selects the server's pods."""
        return self.labels.get("app", self.name)

    @property
    def startup_budget(self) -> int:
        """Seconds from a server's start until it is warm, with all its models."""
        return self.startup_seconds * max(1, len(self.models))

    @property
    def rollout_budget(self) -> int:
        """Seconds that the server's rollout is watched."""
        return max(self.rollout_seconds, self.startup_budget + MARGIN_S)

    def server_environment(self) -> dict[str, str]:
        """What the server is told in clear, by name."""
        told, secrets = {**ENVIRONMENT, **self._offline(), **self.environment}, self.server_secrets()
        return {name: value for name, value in told.items() if name not in secrets}

    def _offline(self) -> dict[str, str]:
        if self.model_source != "hub":
            return {"HF_HUB_OFFLINE": "1"}
        told = {"PRELOAD_MODELS": json.dumps([one.model for one in self.models])}
        if self.hub.ca:
            # Here it stands in the place of the public ones, which only the seed Job's script can add it to.
            told |= {"REQUESTS_CA_BUNDLE": CA, "SSL_CERT_FILE": CA}
        return told

    def server_secrets(self) -> dict[str, str]:
        """The server's variables that come from the Secret: name → key of the Secret."""
        from_hub = {name: f"hub.{name}" for name in self.hub.environment} if self.model_source == "hub" else {}
        own = {name: f"server.{name}" for name, value in self.environment.items() if is_secret(name, value)}
        return {name: key for name, key in from_hub.items() if name not in self.environment} | own

    def secrets(self) -> dict[str, str]:
        """What stands in the Secret: key → value."""
        named = {"api-key": self.api_key, "hub-token": self.hub.token}
        kept = {key: value for key, value in named.items() if value}
        kept |= {f"hub.{name}": value for name, value in self.hub.environment.items()}
        return kept | {f"server.{name}": value for name, value in self.environment.items() if is_secret(name, value)}

    def completed(self) -> dict[str, Any]:
        """Everything as plain data; `environment` is the server's, without what comes from the Secret."""
        plain: dict[str, Any] = _plain(asdict(self))
        del plain["gpu_memory"]  # its tokens are for who asks there
        return {
            **plain,
            "environment": self.server_environment(),
            "startup_budget": self.startup_budget,
            "rollout_budget": self.rollout_budget,
        }


def is_secret(name: str, value: str) -> bool:
    """Whether a variable of the environment carries a credential: in an address, in a header, or by its name."""
    return bool(_WITH_CREDENTIALS.search(value) or _SECRET_VALUE.match(value) or _SECRET_NAME.search(name))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


# ---- from whatever was given to what the place wants; `name`: the variable, for the error


def text(value: Any) -> str:
    """As a plain str: nothing for null, true and false as YAML writes them."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(name: str, value: Any) -> str:
    return text(value)


def _number(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(name, "a whole number") from None


def _fraction(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _wrong(name, "a number") from None


def _flag(name: str, value: Any) -> bool:
    if (word := text(value).lower()) in ("true", "yes", "on", "1", "1.0", "y", "t"):
        return True
    if word in ("false", "no", "off", "0", "0.0", "n", "f"):
        return False
    raise _wrong(name, "true or false")


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _wrong(name, "a dict")
    return {text(key): value[key] for key in value}


def _texts(name: str, value: Any) -> tuple[str, ...]:
    return tuple(text(one) for one in _list(name, value))


def _list(name: str, value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise _wrong(name, "a list")
    return value


def _text_map(name: str, value: Any) -> dict[str, str]:
    return {key: text(one) for key, one in _mapping(name, value).items()}


def _mirrors(name: str, value: Any) -> dict[str, tuple[str, ...]]:
    """A single one may stand without a list."""
    found = {key: [one] if isinstance(one, str) else one for key, one in _mapping(name, value).items()}
    return {key: _texts(f"{name}.{key}", one) for key, one in found.items()}


def _tolerations(name: str, value: Any) -> tuple[Toleration, ...]:
    return tuple(_toleration(name, _mapping(name, one)) for one in _list(name, value))


def _toleration(name: str, raw: Mapping[str, Any]) -> Toleration:
    found: dict[str, str | int] = {
        key: text(raw[key]) for key in ("key", "operator", "value", "effect") if raw.get(key) is not None
    }
    if raw.get("tolerationSeconds") is not None:
        found["tolerationSeconds"] = _number(f"{name}.tolerationSeconds", raw["tolerationSeconds"])
    return found


def _wrong(name: str, what: str) -> SettingsError:
    return SettingsError(name, f"is not {what}.", f"Set {name} to {what}.")


def _models(name: str, value: Any) -> tuple[Model, ...]:
    return tuple(_nested(Model)(name, {"model": "", **_mapping(name, one)}) for one in _list(name, value))


def _neighbours(name: str, value: Any) -> tuple[Neighbour, ...]:
    return tuple(
        _nested(Neighbour)(name, {"name": "", "peak_mib": 0, **_mapping(name, one)}) for one in _list(name, value)
    )


def _nested(kind: type[T]) -> Callable[[str, Any], T]:
    """Reads a dict of the operator's as a dataclass; a key that is not given, or null, keeps its default."""
    return lambda name, value: kind(
        **_read(kind, {key: (f"{name}.{key}", one) for key, one in _mapping(name, value).items()})
    )


def _read(kind: Any, given: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a dataclass that are given; `given`: field → the variable's name and its value."""
    named = {one.name: str(one.type) for one in fields(kind)}
    return {key: _READERS[of](*given[key]) for key, of in named.items() if key in given and given[key][1] is not None}


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "str": _text,
    "int": _number,
    "float": _fraction,
    "bool": _flag,
    "tuple[str, ...]": _texts,
    "tuple[Toleration, ...]": _tolerations,
    "tuple[Model, ...]": _models,
    "tuple[Neighbour, ...]": _neighbours,
    "Mapping[str, str]": _text_map,
    "Mapping[str, tuple[str, ...]]": _mirrors,
    **{
        kind.__name__: _nested(kind)
        for kind in (
            Alerts,
            Gpu,
            GpuMemory,
            GpuMemoryResource,
            Hub,
            Network,
            Registry,
            Resources,
            Source,
            Synthetic,
            Verify,
            Volume,
        )
    },
}
"""How a field is read, by the text of its type."""
