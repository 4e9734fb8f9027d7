"""The tree as AWX looks at it: what it offers as playbooks and inventories, and what jobs say of files."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.portal.stt.plugins.module_utils._here import here

from tests.conftest import ROOT, play

PLAYBOOKS = {"site.yml", *(f"playbooks/{name}.yml" for name in (
    "deploy", "preflight", "rbac", "report", "storage", "teardown", "verify"
))}  # fmt: skip

# AWX 24.6.1, awx/main/utils/ansible.py and Project.playbooks: any .yml or .yaml with such a line, at any depth of YAML.
_LOOKS_LIKE_A_PLAYBOOK = re.compile(r"\s*-?\s*(hosts|(ansible\.builtin\.)?(include|import_playbook)):")


def offered() -> Iterator[str]:
    """Tracked files that AWX goes through: not in roles, tasks, group_vars, host_vars or below a dot."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
                            check=True)  # fmt: skip
    for name in listed.stdout.splitlines():
        folders = Path(name).parent.parts
        hidden = any(part.startswith(".") for part in folders)
        if not hidden and not {"roles", "tasks", "group_vars", "host_vars"} & {*folders} and (ROOT / name).is_file():
            yield name


def looks_like_a_playbook(name: str) -> bool:
    lines = (ROOT / name).read_text(encoding="utf-8", errors="ignore").splitlines()
    vaulted = bool(lines) and lines[0].startswith("$ANSIBLE_VAULT;")
    return name.endswith((".yml", ".yaml")) and (vaulted or any(map(_LOOKS_LIKE_A_PLAYBOOK.match, lines)))


def test_the_list_of_playbooks_has_those_that_are_meant() -> None:
    assert {name for name in offered() if looks_like_a_playbook(name)} == PLAYBOOKS


def test_an_inventory_file_is_suggested() -> None:
    """By their names: hosts, inventory, *.ini; and what can be executed."""
    suggested = {
        name
        for name in offered()
        if Path(name).name in ("hosts", "inventory") or name.endswith(".ini") or os.access(ROOT / name, os.X_OK)
    }
    assert suggested == {"inventory/awx/hosts", "lab/node/rootfs/etc/hosts"}  # the latter is the lab's node's own


def test_no_requirements_shadow_the_execution_environment() -> None:
    """AWX would install them beside it, where the organization has a Galaxy credential."""
    names = ("requirements.yml", "requirements.yaml")
    assert [name for name in offered() if Path(name).name in names] == []


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, "on this machine"),
        ({"AWX_ISOLATED_DATA_DIR": "/home/me/project/artifacts/1"}, "on this machine"),
        ({"AWX_ISOLATED_DATA_DIR": "/runner/artifacts/1"}, "in the execution environment that runs this job"),
        ({"AWX_PRIVATE_DATA_DIR": "/tmp/awx_7_x"}, "in the execution environment that runs this job"),
    ],
    ids=["by hand", "ansible-runner", "ansible-navigator", "AWX"],
)
def test_where_files_are_looked_for(environment: dict[str, str], place: str) -> None:
    assert here(environment).place == place


CLIP = '[{"path": "/home/me/kitchen.wav", "text": "light"}]'


def test_a_file_that_only_the_operator_has_is_asked_for_where_the_job_looks() -> None:
    played = play(
        "playbooks/verify.yml", "-e", f'{{"speaches_verify_clips": {CLIP}}}',
        environment={"AWX_PRIVATE_DATA_DIR": "/tmp/awx_7_x"},
    )  # fmt: skip
    assert (
        "there is no such file in the execution environment that runs this job: /home/me/kitchen.wav. Put it into the "
        "project, the environment's image or a credential, and set its path there."
    ) in " ".join(played.output.split())


@pytest.mark.parametrize("extra", [{}, {"speaches_replicas": "none"}], ids=["no cluster", "settings refused"])
def test_skipped_results_do_not_reach_the_report(extra: dict[str, str]) -> None:
    """ansible-core 2.21 prints deprecations of `skipped_reason` inside the report when they are copied."""
    played = play(
        "playbooks/preflight.yml", "-v", "-l", "clusters",
        "-e", f"speaches_image=127.0.0.1:1/a/b:c {' '.join(f'{name}={value}' for name, value in extra.items())}",
        environment={"K8S_AUTH_KUBECONFIG": "/nonexistent"},
    )  # fmt: skip
    kept = played.output.partition("TASK [portal.stt.preflight : The findings are kept")[2].partition("\nPLAY [")[0]
    assert "findings:" in kept
    assert "skipped: true" not in kept
    assert "reason" not in kept
    assert "DEPRECATION" not in played.output
