"""The account of the plays: no right to more than is named where a name can be given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._speaches import rbac
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import (
    Alerts,
    GpuMemory,
    Registry,
    Settings,
    SettingsError,
    Source,
    Synthetic,
    Volume,
)

SETTINGS = Settings(
    namespace="stt",
    name="whisper",
    volume=Volume(name="models"),
    registry=Registry(pull_secret="pull"),
    gpu_memory=GpuMemory(
        prometheus=Source("monitoring/prometheus-server:80"), exporter=Source("nvidia/exporter:http", "https")
    ),
    alerts=Alerts(enabled=True),
    synthetic=Synthetic(enabled=True),
)
PLAIN = replace(SETTINGS, gpu_memory=GpuMemory(), alerts=Alerts(), synthetic=Synthetic())
BY_NAME = {
    "cronjobs": ["whisper-clip"],
    "configmaps": ["whisper-scripts", "whisper-report"],
    "deployments": ["whisper"],
    "namespaces": ["stt"],
    "networkpolicies": ["whisper", "whisper-seed", "whisper-clip"],
    "persistentvolumeclaims": ["models"],
    "persistentvolumes": ["models"],
    "poddisruptionbudgets": ["whisper"],
    "prometheusrules": ["whisper"],
    "secrets": ["whisper", "pull"],
    "services": ["whisper"],
    "services/proxy": ["whisper:http", "prometheus-server:80", "https:exporter:http"],
}
"""Resource → the only objects of it that are meant."""

NEVER = {"secrets", "configmaps", "namespaces", "persistentvolumes"}
"""To make one of these at will is to take over something."""


def rules() -> list[dict[str, Any]]:
    return [rule for one in every(SETTINGS) for rule in one.get("rules", ())]


def every(settings: Settings) -> list[dict[str, Any]]:
    return [*rbac.account(settings), *rbac.sources(settings)]


def test_no_rule_is_a_wildcard_or_names_nothing() -> None:
    assert len(rules()) > 20
    for rule in rules():
        for part, values in rule.items():
            assert values, f"{part} of {rule} is empty"
            assert all(isinstance(value, str) and "*" not in value for value in values), rule
            assert all(values) or part == "apiGroups", rule


def test_what_can_be_named_is_named() -> None:
    for rule in rules():
        changing = set(rule["verbs"]) - {"create", "list", "watch"}
        for resource in rule["resources"]:
            if resource in BY_NAME and (changing or resource == "services/proxy"):
                assert set(rule["resourceNames"]) <= set(BY_NAME[resource]), rule


def test_nothing_is_made_at_will_that_takes_over_others() -> None:
    for rule in rules():
        if NEVER & set(rule["resources"]):
            assert not {"create", "list", "watch", "update", "deletecollection"} & set(rule["verbs"]), rule
            assert rule["resourceNames"]


def test_verbs_are_those_of_the_plays() -> None:
    used = {verb for rule in rules() for verb in rule["verbs"]}
    assert used == {"get", "list", "watch", "create", "patch", "delete"}
    resources = {resource for rule in rules() for resource in rule["resources"]}
    for never in ("roles", "rolebindings", "clusterroles", "serviceaccounts", "serviceaccounts/token", "pods/exec"):
        assert never not in resources


@pytest.mark.parametrize(
    ("changed", "variable"),
    [
        ({"volume": Volume(name="")}, "speaches_volume.name"),
        ({"name": ""}, "speaches_name"),
        ({"namespace": ""}, "speaches_namespace"),
    ],
)
def test_an_empty_name_is_refused(changed: dict[str, Any], variable: str) -> None:
    """`resourceNames: []` would be every object there is."""
    with pytest.raises(SettingsError) as refused:
        rbac.account(replace(SETTINGS, **changed))
    assert str(refused.value) == (
        f"{variable}: is empty, and an account would have rights to all objects. Set it to a name."
    )


def test_without_a_pull_secret_only_the_own_secret_is_meant() -> None:
    own = [
        rule["resourceNames"]
        for one in rbac.account(replace(SETTINGS, registry=Registry()))
        for rule in one.get("rules", ())
        if "secrets" in rule["resources"]
    ]
    assert own == [["whisper"]]


def test_the_bindings_are_of_this_account() -> None:
    objects = every(SETTINGS)
    assert [(one["kind"], one["metadata"]["name"]) for one in objects] == [
        ("ServiceAccount", "whisper-deployer"),
        ("Role", "whisper-deployer"),
        ("RoleBinding", "whisper-deployer"),
        ("ClusterRole", "stt-whisper-deployer"),
        ("ClusterRoleBinding", "stt-whisper-deployer"),
        ("Role", "stt-whisper-deployer"),
        ("RoleBinding", "stt-whisper-deployer"),
        ("Role", "stt-whisper-deployer"),
        ("RoleBinding", "stt-whisper-deployer"),
    ]
    assert [one["metadata"].get("namespace", "") for one in objects] == [
        *["stt"] * 3, "", "", *["monitoring"] * 2, *["nvidia"] * 2,
    ]  # fmt: skip
    for one in objects:
        if "subjects" in one:
            assert one["subjects"] == [{"kind": "ServiceAccount", "name": "whisper-deployer", "namespace": "stt"}]


def rules_of(settings: Settings, namespace: str) -> list[dict[str, Any]]:
    return [
        rule
        for one in every(settings)
        if one["kind"] == "Role" and one["metadata"]["namespace"] == namespace
        for rule in one["rules"]
    ]


def test_what_measures_is_asked_through_the_one_service_that_is_named() -> None:
    given = {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]}
    assert rules_of(SETTINGS, "monitoring") == [{**given, "resourceNames": ["prometheus-server:80"]}]
    assert rules_of(SETTINGS, "nvidia") == [{**given, "resourceNames": ["https:exporter:http"]}]
    assert rbac.sources(PLAIN) == []


@pytest.mark.parametrize(
    "source",
    [
        Source("monitoring/prometheus:80", token="t"),  # by port-forward
        Source("monitoring/prometheus:80", url="https://metrics.example.org"),
        Source("prometheus:80"),
        Source("a/b/c:80"),
        Source("a/*:80"),
        Source("kube-system/:80"),
    ],
)
def test_no_right_elsewhere_without_a_service_that_is_asked_by_proxy(source: Source) -> None:
    settings = replace(PLAIN, gpu_memory=GpuMemory(prometheus=source, exporter=source, dcgm=source))
    assert rbac.elsewhere(settings) == {}


def test_two_sources_in_one_namespace_are_one_role() -> None:
    memory = GpuMemory(prometheus=Source("monitoring/prometheus:80"), dcgm=Source("monitoring/dcgm:9400"))
    assert [one["resourceNames"] for one in rules_of(replace(PLAIN, gpu_memory=memory), "monitoring")] == [
        ["prometheus:80"], ["dcgm:9400"],
    ]  # fmt: skip


@pytest.mark.parametrize("resource", ["cronjobs", "prometheusrules"])
def test_what_is_not_asked_for_may_only_be_removed(resource: str) -> None:
    def verbs(settings: Settings) -> set[str]:
        return {verb for rule in rules_of(settings, "stt") if resource in rule["resources"] for verb in rule["verbs"]}

    assert verbs(PLAIN) == {"get", "delete"}
    assert verbs(SETTINGS) == {"get", "delete", "create", "patch"}
