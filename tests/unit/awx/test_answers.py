"""What a survey was answered comes before the inventory; what it was not does not, whatever AWX sends for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, play
from tests.jobs import dumped

INVENTORY = {
    "clusters": {
        "hosts": {"a": {"speaches_model_revision": "of a"}, "b": {"speaches_model_revision": "of b"}},
        "vars": {"speaches_image": "of the group", "speaches_replicas": 2},
    }
}
SAYS = """
- name: What the settings are
  hosts: clusters
  gather_facts: false
  connection: local
  tasks:
    - name: What the settings are
      ansible.builtin.debug:
        msg: >-
          says {{ [speaches_image, speaches_model_revision, speaches_replicas | string, answered | default('')]
                  | to_json }}
"""


def settings(tmp_path: Path, extra: dict[str, Any]) -> list[list[str]]:
    """Image, revision, replicas and a variable that is not ours, host by host, as roles see them."""
    (tmp_path / "inventory.json").write_text(json.dumps(INVENTORY))
    (tmp_path / "extravars").write_text(dumped(extra) or "{}")
    (tmp_path / "play.yml").write_text(f"- name: First\n  import_playbook: {ROOT / 'playbooks/controller.yml'}\n{SAYS}")
    done = subprocess.run(
        ["ansible-playbook", "-i", str(tmp_path / "inventory.json"), str(tmp_path / "play.yml"),
         "-f", "1", "-e", f"@{tmp_path / 'extravars'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.oneline"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line.partition('"msg": ')[2].rstrip("}") for line in done.stdout.splitlines() if "says [" in line]
    return [json.loads(json.loads(one.strip()).removeprefix("says ")) for one in said]


def answered(**answers: object) -> dict[str, object]:
    return {f"answer_{name}": value for name, value in answers.items()}


OWN = ["of the group", "of a", "2", ""]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        pytest.param({}, OWN, id="no survey"),
        pytest.param(answered(speaches_image="", speaches_model_revision="", speaches_replicas=""), OWN, id="empty"),
        pytest.param(answered(speaches_image=None, speaches_model_revision=None), OWN, id="null"),
        pytest.param(answered(speaches_image="a/b", speaches_replicas=0), ["a/b", "of a", "0", ""], id="some"),
        pytest.param(
            answered(speaches_image="{{ lookup('pipe', 'id') }}"),
            ["{{ lookup('pipe', 'id') }}", *OWN[1:]],
            id="a template is text",
        ),
        pytest.param(
            {**answered(speaches_image="a/b"), "speaches_image": "c/d"}, ["c/d", *OWN[1:]], id="by hand comes first"
        ),
        pytest.param({"answered": "x", "answer_to_all": 42}, [*OWN[:3], "x"], id="of somebody else"),
        pytest.param(answered(speaches__settings="x", nfs_export__settings="x"), OWN, id="the roles' own"),
    ],
)
def test_an_answer_is_a_setting(extra: dict[str, Any], said: list[str], tmp_path: Path) -> None:
    assert settings(tmp_path, extra) == [said, [said[0], "of b", *said[2:]]]


HOSTILE = {
    "speaches_image": "{{ lookup('pipe', 'touch /tmp/x') }}",
    "speaches_model": "a/b\nspeaches_replicas: 9\x1b[2J",
    "speaches_model_revision": "{% for a in range(9) %}x{% endfor %}",
    "speaches_modle": "a/b",
    "speaches_replicas": "!!python/object/apply:os.system ['id']",
    "nfs_export_delete_path": "../../etc",
}


def test_hostile_answers_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "extravars").write_text(dumped(answered(**HOSTILE)))
    played = play("playbooks/teardown.yml", "-l", "clusters", "-e", f"@{tmp_path / 'extravars'}")
    assert played.rc == 2
    assert "6 settings are refused, and nothing was done:" in played.output
    assert [name for name in HOSTILE if f"\n{name} (" not in played.output] == []
    assert "Did you mean speaches_model?" in played.output
    assert "\x1b[2J" not in played.output
    assert "Traceback" not in played.output


def first(tmp_path: Path, extra: str, *options: str) -> tuple[int, str]:
    """What the plays' beginning prints for extra variables, in one line."""
    (tmp_path / "extravars.yml").write_text(extra)
    extravars = f"@{tmp_path / 'extravars.yml'}"
    played = play("playbooks/controller.yml", *options, "-l", "clusters", "-e", extravars)
    return played.rc, " ".join(played.output.split())


@pytest.mark.parametrize("verbosity", ["-v", "-vvv"])
def test_an_answer_is_not_printed(verbosity: str, tmp_path: Path) -> None:
    """One may be the server's key."""
    rc, output = first(tmp_path, dumped(answered(speaches_api_key="sesame", speaches_image="a/b")), verbosity)
    assert rc == 0
    assert "What a survey was answered is a setting" in output
    assert "sesame" not in output


@pytest.mark.parametrize("template", ["{{ nowhere }} caraway", "{{ 'caraway' | nofilter }}", "caraway{{"])
def test_an_answer_that_is_a_broken_template_is_named(template: str, tmp_path: Path) -> None:
    """Where somebody gives it by hand: those of AWX are no templates."""
    extra = f"answer_speaches_replicas: 1\nanswer_speaches_model: {json.dumps(template)}\n"
    rc, output = first(tmp_path, extra)
    assert rc == 2
    assert (
        "answer_speaches_model: it cannot be a setting, because its template cannot be filled in, and nothing was "
        "done. Correct it, or leave it empty;"
    ) in output
    assert "Traceback" not in output
