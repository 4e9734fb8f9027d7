"""What the plays need of the controller: the verdict, and that it is told before anything else."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils import _controller
from ansible_collections.portal.stt.plugins.module_utils._controller import Seen, judge

from tests.conftest import ROOT
from tests.environments import collections, environment

FINE = Seen(
    core="2.19.14",
    collections={"kubernetes.core": "6.2.0"},
    libraries={"kubernetes": "37.0.2", "requests": "2.34.2", "jiwer": "4.0", "prometheus-client": "0.26.0"},
    interpreter="/usr/bin/python3",
)
ENVIRONMENT = "the execution environment: "
CHOOSE = "Choose an execution environment that has it: execution-environment.yml makes one (docs/awx.md)."
TLS = "whoever answers at the API server's address gets the token."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, [], id="all there"),
        pytest.param({"core": "2.21.5rc1", "libraries": {**FINE.libraries, "jiwer": "4"}}, [], id="newer"),
        pytest.param({"collections": {"kubernetes.core": "*"}}, [], id="a checkout"),
        pytest.param(
            {"core": "2.15.13", "in_environment": True},
            [f"{ENVIRONMENT}ansible-core is 2.15.13, and at least 2.19 is needed. {CHOOSE}"],
            id="AWX's own environment",
        ),
        pytest.param(
            {"core": "2.18.9"},
            [
                "this machine: ansible-core is 2.18.9, and at least 2.19 is needed. Install it: "
                "pip install 'ansible-core>=2.19' (Python 3.11 or newer)."
            ],
            id="an old core",
        ),
        pytest.param(
            {"collections": {}},
            [
                "this machine: the collection kubernetes.core is not there. Install it: "
                "ansible-galaxy collection install 'kubernetes.core:>=6.2.0,<8.0.0'"
            ],
            id="no collection",
        ),
        pytest.param(
            {"collections": {"kubernetes.core": "8.0.0"}},
            [
                "this machine: the collection kubernetes.core is 8.0.0, and at least 6.2.0, below 8.0.0, is needed. "
                "Install it: ansible-galaxy collection install 'kubernetes.core:>=6.2.0,<8.0.0'"
            ],
            id="a collection that is too new",
        ),
        pytest.param(
            {"libraries": {**FINE.libraries, "kubernetes": "35.1", "jiwer": ""}, "in_environment": True},
            [
                f"{ENVIRONMENT}the Python library kubernetes is 35.1, and at least 36 is needed (/usr/bin/python3). "
                f"{CHOOSE}",
                f"{ENVIRONMENT}the Python library jiwer is not there (/usr/bin/python3). {CHOOSE}",
            ],
            id="libraries",
        ),
        pytest.param(
            {"verify_ssl": "False", "in_environment": True},
            [
                f"K8S_AUTH_VERIFY_SSL: is False: {TLS} Give the credential the cluster's certificate authority: AWX's "
                'own type turns the check off without one, with "Verify SSL" ticked, too. A kubeconfig has it '
                "(docs/awx.md)."
            ],
            id="AWX's credential without a CA",
        ),
        pytest.param(
            {"verify_ssl": "no"},
            [
                f"K8S_AUTH_VERIFY_SSL: is no: {TLS} Unset it, and name the cluster's certificate authority in "
                "K8S_AUTH_SSL_CA_CERT, or use a kubeconfig."
            ],
            id="no check of certificates",
        ),
        pytest.param({"verify_ssl": "True"}, [], id="a check of certificates"),
    ],
)
def test_verdict(changes: dict[str, object], said: list[str]) -> None:
    assert [str(one) for one in judge(dataclasses.replace(FINE, **changes))] == said  # type: ignore[arg-type]


def test_what_is_needed_is_what_the_packages_say() -> None:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert dict(line.split(">=") for line in lines) == _controller.LIBRARIES
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    assert galaxy == {name: f">={least},<{above}" for name, (least, above) in _controller.COLLECTIONS.items()}
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]
    assert runtime == f">={_controller.CORE}.0"


PLAYBOOKS = ["site.yml", *(f"playbooks/{path.name}" for path in sorted((ROOT / "playbooks").glob("*.yml")))]


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_it_comes_first_and_cluster_plays_become_nobody(playbook: str) -> None:
    """`--become`, which a tick in AWX adds, would end progress lines, and fail where there is no sudo."""
    plays = yaml.safe_load((ROOT / playbook).read_text())
    first = plays[0].get("ansible.builtin.import_playbook", playbook)
    assert first in ("controller.yml", "playbooks/preflight.yml", "playbooks/controller.yml")
    become = {play["name"]: play.get("become") for play in plays if "clusters" in play.get("hosts", "")}
    assert become == dict.fromkeys(become, False)


def played(core: str, playbook: str, tmp_path: Path, **variables: str) -> str:
    """What a playbook says in an environment that has ansible-core and nothing else."""
    home = collections(tmp_path / "collections")
    done = subprocess.run(
        [str(environment(core) / "ansible-playbook"), "-i", "inventory/example", "-l", "clusters", playbook],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1", **variables},
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout + done.stderr


OLD = "2.15.13" if sys.version_info < (3, 12) else "2.18.9"  # 2.15 does not run on newer ones


@pytest.mark.parametrize("playbook", [name for name in PLAYBOOKS if name != "playbooks/storage.yml"])
def test_an_old_core_is_told_so_and_nothing_else_runs(playbook: str, tmp_path: Path) -> None:
    """AWX's own execution environment has ansible-core 2.15.13 and no kubernetes.core."""
    output = played(f"ansible-core=={OLD}", playbook, tmp_path, AWX_PRIVATE_DATA_DIR="/tmp/awx_1_x")
    assert re.findall(r"^TASK \[(.*)\]", output, re.MULTILINE) == [
        "The ansible-core, the collections and the Python libraries are there"
    ]
    assert f"{ENVIRONMENT}ansible-core is {OLD}, and at least 2.19 is needed. {CHOOSE}" in output
    assert f"{ENVIRONMENT}the collection kubernetes.core is not there. {CHOOSE}" in output


@pytest.mark.parametrize("playbook", ["site.yml", "playbooks/deploy.yml", "playbooks/teardown.yml"])
def test_what_is_missing_is_told_before_a_file_that_needs_it_is_read(playbook: str, tmp_path: Path) -> None:
    output = played("ansible-core==2.19.14", playbook, tmp_path)
    assert "couldn't resolve" not in output
    assert "this machine: the collection kubernetes.core is not there. Install it: ansible-galaxy" in output
