"""Whether an object is still what a run has declared."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._rollout.declared import foreign, template_of
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Target

OURS = {"spec": {"containers": [{"name": "stt", "image": "img:2"}]}}
THEIRS = {"spec": {"containers": [{"name": "stt", "image": "img:3"}]}}
TARGET = Target("Deployment", "n", "stt", uid="d", generation=4)


def manager(name: str, when: str, *, template: bool = True, subresource: str = "") -> dict[str, Any]:
    fields: dict[str, Any] = {"f:spec": {"f:template": {}} if template else {"f:replicas": {}}}
    return {"manager": name, "time": f"2026-11-24T05:00:{when}Z", "fieldsV1": fields, "subresource": subresource}


APPLIED = manager("portal-stt", "10")


def deployment(generation: int, template: dict[str, Any], *managers: dict[str, Any], uid: str = "d") -> dict[str, Any]:
    meta = {"name": "stt", "uid": uid, "generation": generation, "managedFields": [APPLIED, *managers]}
    return {"metadata": meta, "spec": {"template": template}}


CHANGED = "It is no longer what this run declared: {} changed it."


@pytest.mark.parametrize(
    ("raw", "known", "expected"),
    [
        pytest.param(deployment(4, OURS), True, None, id="as declared"),
        pytest.param(deployment(3, OURS), True, None, id="read from a cache that is behind"),
        pytest.param(deployment(5, OURS, manager("hpa", "20", template=False)), True, None, id="scaled"),
        pytest.param(
            deployment(5, THEIRS, manager("keel", "20")),
            True,
            CHANGED.format("somebody else (field manager keel)"),
            id="another image",
        ),
        pytest.param(
            deployment(5, THEIRS), True, CHANGED.format("another run (field manager portal-stt)"), id="another run"
        ),
        pytest.param(
            deployment(5, OURS, manager("keel", "20")),
            False,
            CHANGED.format("somebody else (field manager keel)"),
            id="before the watch began",
        ),
        pytest.param(
            deployment(5, OURS, manager("keel", "05")),
            False,
            CHANGED.format("another run (field manager portal-stt)"),
            id="keel was before us, so it was another run",
        ),
        pytest.param(
            deployment(5, OURS, manager("hpa", "20", template=False)), False, None, id="scaled before the watch began"
        ),
        pytest.param(
            deployment(5, OURS, manager("controller", "20", subresource="status")),
            False,
            CHANGED.format("another run (field manager portal-stt)"),
            id="a status is no change",
        ),
        pytest.param(
            deployment(1, OURS, manager("helm", "30"), uid="e"),
            True,
            "It is no longer what this run declared: somebody else (field manager helm) deleted it and made it anew.",
            id="replaced",
        ),
    ],
)
def test_foreign(raw: dict[str, Any], known: bool, expected: str | None) -> None:
    found = foreign(TARGET, raw, OURS if known else None)
    assert (str(found) if found else None) == expected


def test_who_declares_nothing_expects_nothing() -> None:
    raw = deployment(9, THEIRS, manager("keel", "20"), uid="e")
    assert foreign(Target("Deployment", "n", "stt"), raw, None) is None


@pytest.mark.parametrize(("generation", "expected"), [(4, OURS), (5, None)])
def test_the_template_is_known_where_it_was_read_in_time(generation: int, expected: dict[str, Any] | None) -> None:
    assert template_of(TARGET, deployment(generation, OURS)) == expected
