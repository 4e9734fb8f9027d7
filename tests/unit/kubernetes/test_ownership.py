"""Whose an object is."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.ownership import (
    evidence,
    foreign,
    keys_of_others,
    managers,
)

MARKS = {"app.kubernetes.io/managed-by": "portal-stt", "app.kubernetes.io/part-of": "stt"}
OURS = {"manager": "portal-stt", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}
MARKED = {"manager": "portal-stt", "operation": "Update", "fieldsV1": {"f:metadata": {}}}
THEIRS = {"manager": "kubectl-create", "operation": "Update", "fieldsV1": {"f:data": {"f:b": {}}}}
CONTROLLER = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"}


def live(*entries: dict[str, Any], kind: str = "ConfigMap", **metadata: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "stt", "labels": MARKS, "managedFields": list(entries), **metadata}}


WANTED = live()


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        pytest.param(live(OURS), "", id="ours"),
        pytest.param(live(OURS, THEIRS, CONTROLLER), "", id="others-write-into-it"),
        pytest.param(live(OURS, labels={}), "", id="of-an-earlier-version"),
        pytest.param(live(OURS, labels=None), "", id="without-labels"),
        pytest.param(live(THEIRS), "was not made by us", id="theirs"),
        pytest.param(live(MARKED), "was not made by us", id="annotated-by-us-only"),
        pytest.param(live({**OURS, "subresource": "status"}), "was not made by us", id="status-only"),
        pytest.param({"kind": "ConfigMap", "metadata": {"name": "stt"}}, "was not made by us", id="nobody-knows"),
        pytest.param(
            live(OURS, labels={**MARKS, "app.kubernetes.io/managed-by": "Helm"}),
            "carries the label app.kubernetes.io/managed-by=Helm",
            id="helm",
        ),
        pytest.param(
            live(OURS, labels={**MARKS, "app.kubernetes.io/part-of": "tts"}),
            "carries the label app.kubernetes.io/part-of=tts",
            id="another-installation",
        ),
        pytest.param(
            live(OURS, ownerReferences=[{"controller": True, "kind": "Certificate", "name": "x"}]),
            "belongs to Certificate x",
            id="controlled",
        ),
    ],
)
def test_whose(found: dict[str, Any], reason: str) -> None:
    assert foreign(found, WANTED) == reason


def volume(namespace: str, name: str) -> dict[str, Any]:
    reference = {"namespace": namespace, "name": name} if name else None
    return {**live(OURS, kind="PersistentVolume"), "spec": {"claimRef": reference} if reference else {}}


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (("stt", "models"), ""),
        (("stt", "others"), "is for the claim stt/others"),
        (("elsewhere", "models"), "is for the claim elsewhere/models"),
        (("", ""), "is for any claim"),
    ],
)
def test_a_volume_is_its_claims(held: tuple[str, str], reason: str) -> None:
    assert foreign(volume(*held), volume("stt", "models")) == reason


def test_who_has_set_something_is_told_without_controllers() -> None:
    found = live(OURS, THEIRS, CONTROLLER, {**THEIRS, "manager": "keel"}, THEIRS, labels={"b": "2", "a": "1"})
    assert managers(found) == ["kubectl-create", "keel"]
    assert evidence(found) == ("fields are set by kubectl-create, keel", "labels: a=1, b=2")


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({"data": {"a": "1"}}, []),
        ({"data": {"a": "1", "b": "2"}}, ["b"]),
        ({"binaryData": {"a": "MQ=="}}, ["a"]),
        ({}, []),
    ],
)
def test_what_others_have_put_into_a_secret(content: dict[str, Any], keys: list[str]) -> None:
    assert keys_of_others({**live(OURS, THEIRS), **content}) == keys
