"""The settings of the role speaches: read from what was given; their defaults are those that its documents state."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import (
    Alerts,
    Gpu,
    GpuMemory,
    GpuMemoryResource,
    Hub,
    Model,
    Neighbour,
    Network,
    Registry,
    Resources,
    Settings,
    SettingsError,
    Source,
    Synthetic,
    Verify,
    Volume,
    is_secret,
)

from tests.conftest import ROOT

ROLE = ROOT / "roles" / "speaches"
SPECS: dict[str, Any] = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
OPTIONS: dict[str, Any] = SPECS["argument_specs"]["main"]["options"]
NESTED: dict[str, Any] = {
    "registry": Registry,
    "hub": Hub,
    "volume": Volume,
    "gpu": Gpu,
    "gpu_memory_resource": GpuMemoryResource,
    "resources": Resources,
    "network": Network,
    "alerts": Alerts,
    "synthetic": Synthetic,
    "verify": Verify,
}
PER_MODEL = {"memory", "memory_limit"}


def plain(settings: Any) -> Any:
    """As the documents write it."""
    if isinstance(settings, (list, tuple)):
        return [plain(one) for one in settings]
    return dict(settings) if hasattr(settings, "keys") else settings


@pytest.mark.parametrize("name", NESTED)
def test_defaults_are_those_of_the_argument_specs(name: str) -> None:
    documented = OPTIONS[f"speaches_{name}"]["options"]
    default = NESTED[name]()
    assert {one.name for one in fields(NESTED[name])} == set(documented)
    stated = {key: option["default"] for key, option in documented.items() if "default" in option}
    assert {key: plain(getattr(default, key)) for key in stated} == stated
    unstated = set(documented) - set(stated) - PER_MODEL
    assert all(documented[key]["type"] in ("list", "dict") for key in unstated)


def test_defaults_are_those_of_the_role() -> None:
    """What Ansible fills in, which then is given, is what would be taken without it."""
    given = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    given["speaches_labels"] = given["speaches_labels"] | {"app": given["speaches_name"]}
    given["speaches_models"] = [{"model": given["speaches_model"], "revision": "", "local": ""}]
    assert Settings.of(given) == Settings.of({}) == Settings()
    for one in fields(Settings):
        stated = OPTIONS[f"speaches_{one.name}"].get("default")
        if stated and one.name not in NESTED:
            assert plain(getattr(Settings(), one.name)) == stated


@pytest.mark.parametrize(
    ("raw", "right"),
    [
        ({"speaches_volume": {"path": "/a"}, "nfs_export_path": "/b"}, {"volume": Volume(path="/a")}),
        ({"nfs_export_path": "/b"}, {"volume": Volume(path="/b")}),
        ({"nfs_export_path": ""}, {}),
        ({"speaches_neighbours": [{"name": "a/b", "peak_mib": "5"}]}, {"neighbours": (Neighbour("a/b", 5),)}),
        (
            {"speaches_gpu_memory": {"dcgm": {"service": "a/b:1", "tenant": "x"}, "metrics": {"free": ["m"]}}},
            {"gpu_memory": GpuMemory(dcgm=Source("a/b:1"), metrics={"free": ("m",)})},
        ),
        (
            {"speaches_alerts": {"enabled": "yes", "memory": ["card"]}, "speaches_synthetic": {"timeout": "30"}},
            {"alerts": Alerts(enabled=True, memory=("card",)), "synthetic": Synthetic(timeout=30)},
        ),
        ({"speaches_name": "x"}, {"name": "x", "labels": {"app": "x", "tier": "2-gpu"}}),
        (
            {"speaches_models": [{"model": "a"}, {"model": "b", "revision": None}]},
            {"models": (Model("a"), Model("b")), "resources": Resources("200m", "4Gi", "8Gi")},
        ),
        ({"speaches_resources": {"memory": "1Gi", "cpu": 2}}, {"resources": Resources("2", "1Gi", "4Gi")}),
        ({"speaches_replicas": "2", "speaches_startup_seconds": 60}, {"replicas": 2, "startup_seconds": 60}),
        ({"speaches_network": {"policy": "no", "cidrs": ["::/0"]}}, {"network": Network(False, cidrs=("::/0",))}),
        (
            {"speaches_gpu": {"node_selector": {1: True}, "tolerations": []}},
            {"gpu": Gpu(node_selector={"1": "true"}, tolerations=())},
        ),
        (
            {"speaches_registry": {"mirrors": {"ghcr.io": ["https://m"]}}},
            {"registry": Registry(mirrors={"ghcr.io": ("https://m",)})},
        ),
        ({"speaches_api_key": None, "speaches_gpu": None, "unknown": 1}, {}),
    ],
)
def test_what_is_given_is_completed(raw: dict[str, Any], right: dict[str, Any]) -> None:
    assert Settings.of(raw) == Settings(**right)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"speaches_replicas": "many"}, "speaches_replicas: is not a whole number. Set speaches_replicas to a whole"),
        ({"speaches_gpu": {"count": []}}, "speaches_gpu.count: is not a whole number."),
        ({"speaches_gpu": "none"}, "speaches_gpu: is not a dict."),
        ({"speaches_models": {"model": "a"}}, "speaches_models: is not a list."),
        ({"speaches_models": ["a"]}, "speaches_models: is not a dict."),
        ({"speaches_network": {"policy": "perhaps"}}, "speaches_network.policy: is not true or false."),
        ({"speaches_verify": {"max_wer": "low"}}, "speaches_verify.max_wer: is not a number."),
        ({"speaches_gpu": {"tolerations": [{"tolerationSeconds": "x"}]}}, "tolerationSeconds: is not a whole number."),
    ],
)
def test_what_cannot_be_what_its_place_wants(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.of(raw)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("HTTPS_PROXY", "http://user:pass@proxy:3128", True),
        ("HTTPS_PROXY", "http://token@proxy", True),
        ("HTTPS_PROXY", "http://proxy:3128/a@b", False),
        ("HTTPS_PROXY", "http://user:pa/ss@proxy:3128", True),
        ("HTTPS_PROXY", "http://user:pa#ss@proxy", True),
        ("HTTPS_PROXY", "user:pass@proxy:3128", True),
        ("HTTPS_PROXY", "http://[::1]:3128", False),
        ("NO_PROXY", "10.0.0.0/8,.cluster.local:8000", False),
        ("PGPASSWORD", "x", True),
        ("DB_PASSWD", "x", True),
        ("API_KEYS", "x", True),
        ("LITELLM_MASTER_KEY", "x", True),
        ("AZURE_STORAGE_CONNECTION_STRING", "x", True),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=x", True),
        ("UPSTREAM", "Bearer x", True),
        ("SESSION_COOKIE", "x", True),
        ("PWD_HINT", "x", False),
        ("WHISPER__COMPUTE_TYPE", "int8", False),
        ("CHAT_COMPLETION_API_KEY", "x", True),
        ("HF_TOKEN", "x", True),
        ("STT_MODEL_TTL", "-1", False),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("KEYBOARD", "x", False),
    ],
)
def test_what_carries_a_credential(name: str, value: str, right: bool) -> None:
    assert is_secret(name, value) is right


def test_secrets_are_not_in_a_representation() -> None:
    hub = Hub(token="sesame", environment={"A": "sesame"})
    assert "sesame" not in repr(Settings(api_key="sesame", hub=hub, environment={"B": "sesame"}))


def test_what_is_shown_of_the_settings_has_no_token() -> None:
    given = {"speaches_gpu_memory": {"prometheus": {"service": "a/b:1", "token": "sesame"}}}
    assert "sesame" not in f"{Settings.of(given)!r}{Settings.of(given).completed()}"
