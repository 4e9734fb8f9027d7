"""What an operator's terminal shows: the steps that do something, and each refusal once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import play

REPORT = {"portal.stt.report": {"title": "Preflight", "results": [{"findings": []}]}, "name": "All is told"}
REFUSED = {
    "portal.stt.cuda_preflight": {"image": {"reference": "a/b:1", "tag": "1"}, "nodes": [{"driver": "x" * 300}]},
    "name": "It would run",
}
TASKS = [
    {"ansible.builtin.set_fact": {"one": 1}, "name": "A value is kept"},
    {"ansible.builtin.set_stats": {"data": {"one": 1}}, "name": "A value is handed over"},
    {"ansible.builtin.assert": {"that": True}, "name": "It is true"},
    {"ansible.builtin.debug": {"msg": "never"}, "name": "It is passed over", "when": False},
    {"ansible.builtin.include_tasks": "more.yml", "name": "More is included"},
    REPORT,
    REFUSED,
]


@pytest.fixture
def shown(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    (tmp_path / "more.yml").write_text(json.dumps([{"ansible.builtin.command": "true", "name": "Something is done"}]))
    site = tmp_path / "site.yml"
    plays = {"A play that only computes": TASKS[:4], "A play": TASKS}
    site.write_text(
        yaml.safe_dump(
            [
                {"hosts": "clusters", "name": name, "gather_facts": False, "tasks": tasks}
                for name, tasks in plays.items()
            ]
        )
    )
    played = play(str(site), *request.param)
    assert played.rc == 2, played.output
    return played.output


@pytest.mark.parametrize("shown", [()], indirect=True)
def test_what_only_computes_does_not_show(shown: str) -> None:
    heads = [line.split("]")[0] for line in shown.splitlines() if line.startswith(("PLAY [", "TASK ["))]
    assert heads == ["PLAY [A play", "TASK [Something is done", "TASK [All is told", "TASK [It would run"]
    assert "skipping" not in shown
    assert "included:" not in shown


@pytest.mark.parametrize("shown", [()], indirect=True)
def test_a_refusal_is_told_once(shown: str) -> None:
    (line,) = (line for line in shown.splitlines() if line.startswith("fatal: [lab]: "))
    said = line.removeprefix("fatal: [lab]: ")[:60]
    assert shown.count(said) == 1
    assert "findings:" not in shown


@pytest.mark.parametrize("shown", [("-v",)], indirect=True)
def test_with_v_everything_shows(shown: str) -> None:
    assert "PLAY [A play that only computes]" in shown
    for name in (
        "A value is kept",
        "A value is handed over",
        "It is true",
        "It is passed over",
        "More is included",
        "Something is done",
    ):
        assert f"TASK [{name}]" in shown
    assert "findings:" in shown
