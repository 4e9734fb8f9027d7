"""The account of the plays: no right to more than is named where a name can be given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._speaches import rbac
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import (
    Registry,
    Settings,
    SettingsError,
    Volume,
)

SETTINGS = Settings(
    namespace="stt", name="whisper", volume=Volume(name="models"), registry=Registry(pull_secret="pull")
)
BY_NAME = {
    "configmaps": ["whisper-scripts", "whisper-report"],
    "deployments": ["whisper"],
    "namespaces": ["stt"],
    "networkpolicies": ["whisper", "whisper-seed"],
    "persistentvolumeclaims": ["models"],
    "persistentvolumes": ["models"],
    "poddisruptionbudgets": ["whisper"],
    "secrets": ["whisper", "pull"],
    "services": ["whisper"],
    "services/proxy": ["whisper:http"],
}
"""Resource → the only objects of it that are meant."""

NEVER = {"secrets", "configmaps", "namespaces", "persistentvolumes"}
"""To make one of these at will is to take over something."""


def rules() -> list[dict[str, Any]]:
    return [rule for one in rbac.account(SETTINGS) for rule in one.get("rules", ())]


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
    objects = rbac.account(SETTINGS)
    assert [(one["kind"], one["metadata"]["name"]) for one in objects] == [
        ("ServiceAccount", "whisper-deployer"),
        ("Role", "whisper-deployer"),
        ("RoleBinding", "whisper-deployer"),
        ("ClusterRole", "stt-whisper-deployer"),
        ("ClusterRoleBinding", "stt-whisper-deployer"),
    ]
    for one in objects:
        if "subjects" in one:
            assert one["subjects"] == [{"kind": "ServiceAccount", "name": "whisper-deployer", "namespace": "stt"}]
