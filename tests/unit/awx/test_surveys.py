"""The surveys are the roles' argument specs; AWX takes them, and what is not answered is not sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._settings.check import check
from ansible_collections.portal.stt.plugins.module_utils._settings.rules import ROLES
from werkzeug.test import Client
from werkzeug.wrappers import Request

from tests import surveys
from tests.awx_double import AWX, launched

HEADERS = {"Authorization": "Bearer token"}
SURVEYS = surveys.surveys()


def client() -> tuple[AWX, Client]:
    awx = AWX(["site.yml"])
    return awx, Client(Request.application(awx))


def post(to: Client, path: str, data: object) -> tuple[int, Any]:
    answer = to.post(f"/api/v2/{path}/", json=data, headers=HEADERS)
    return answer.status_code, answer.get_json(silent=True)


def test_the_file_is_what_the_argument_specs_make() -> None:
    assert surveys.FILE.read_text() == surveys.text(), "run: make surveys"
    assert yaml.safe_load(surveys.FILE.read_text()) == {"awx_surveys": SURVEYS}


@pytest.mark.parametrize("name", SURVEYS)
def test_nothing_is_sent_that_nobody_has_answered(name: str) -> None:
    """A default would override the inventory, also an empty one."""
    assert launched(SURVEYS[name], {}) == {}
    assert not [one for one in SURVEYS[name]["spec"] if "default" in one or one["required"]]


@pytest.mark.parametrize("name", SURVEYS)
def test_answers_are_settings_as_awx_sends_them(name: str) -> None:
    """Choices as text, numbers as numbers."""
    given = {"text": "a/b", "integer": 900}
    answers = {
        one["question_name"]: one["choices"][0] if one["type"] == "multiplechoice" else given[one["type"]]
        for one in SURVEYS[name]["spec"]
    }
    places = {"nfs_export_delete_path": "/srv/nfs-ssd/portal-stt", "speaches_verify_url": "http://127.0.0.1:8000",
              "speaches_model_revision": "0" * 40, "preflight_probe_namespace": "default"}  # fmt: skip
    answers |= {variable: places[variable] for variable in places.keys() & answers.keys()}
    sent = launched(SURVEYS[name], {f"{surveys.ANSWER}{variable}": value for variable, value in answers.items()})
    assert {variable.removeprefix(surveys.ANSWER): value for variable, value in sent.items()} == answers
    assert [str(problem) for problem in check(sorted(ROLES), answers)] == []


@pytest.mark.parametrize("variable", ["speaches_api_key", "speaches_hub", "speaches_verify_clips"])
def test_secrets_and_structures_are_not_asked_for(variable: str) -> None:
    with pytest.raises(ValueError, match=f"{variable} is not for a survey"):
        surveys.question(variable, surveys.options()[variable])


QUESTION = {"type": "text", "question_name": "a", "variable": "a", "required": False}


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("credential_types", {"name": "a", "kind": "vault", "inputs": {"fields": []}}, "Must be 'cloud' or 'net'"),
        (
            "credential_types",
            {"name": "a", "kind": "cloud", "inputs": {"fields": []}, "injectors": {
                "file": {"template": "x"}, "env": {"A": "{{ awx.filename }}"}}},
            "awx.filename uses an undefined field",
        ),
        (
            "credential_types",
            {"name": "a", "kind": "net", "inputs": {"fields": []}, "injectors": {"env": {"ANSIBLE_A": "x"}}},
            "ANSIBLE_A is not allowed",
        ),
        ("credentials", {"name": "a", "credential_type": 1, "inputs": {"key": "x"}}, "not allowed ('key')"),
        ("job_templates", {"name": "a", "playbook": "portal.stt.site"}, "Playbook not found for project."),
        ("schedules", {"name": "a", "rrule": "RRULE:FREQ=DAILY;INTERVAL=1"}, "DTSTART required"),
        ("hosts", {"name": "a", "variables": "{"}, "Cannot parse as JSON."),
    ],
)  # fmt: skip
def test_the_double_refuses_what_awx_refuses(kind: str, data: object, said: str) -> None:
    _, to = client()
    status, answer = post(to, kind, data)
    assert status == 400
    assert said in json.dumps(answer)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"spec": []}, "are required in a survey"),
        ({"spec": [{**QUESTION, "type": "bool"}]}, "is not one of the types"),
        ({"spec": [{**QUESTION, "type": "multiplechoice"}]}, "must specify choices"),
        ({"spec": [QUESTION, QUESTION]}, "duplicated"),
        ({"spec": [{"type": "text"}]}, "'question_name' missing"),
    ],
)
def test_the_double_refuses_surveys_that_awx_refuses(spec: dict[str, Any], said: str) -> None:
    awx, to = client()
    post(to, "workflow_job_templates", {"name": "w"})
    number = awx.named("workflow_job_templates")["w"]["id"]
    whole = spec if said.startswith("are") else {"name": "", "description": "", **spec}
    status, answer = post(to, f"workflow_job_templates/{number}/survey_spec", whole)
    assert (status, said in answer["error"]) == (400, True)


def test_the_double_refuses_links_that_awx_refuses() -> None:
    awx, to = client()
    for name in "ab":
        assert post(to, "workflow_job_template_nodes", {"identifier": name, "workflow_job_template": 1})[0] == 201
    a, b = (awx.named("workflow_job_template_nodes")[name]["id"] for name in "ab")
    path = "workflow_job_template_nodes"
    assert post(to, f"{path}/{a}/success_nodes", {"id": b})[0] == 204
    assert post(to, f"{path}/{a}/failure_nodes", {"id": b}) == (400, {"Error": "Relationship not allowed."})
    assert post(to, f"{path}/{b}/always_nodes", {"id": a}) == (400, {"Error": "Cycle detected."})
    assert to.get("/api/v2/projects/").status_code == 401
