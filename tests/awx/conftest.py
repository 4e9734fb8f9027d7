"""The collection awx.awx, and the double of AWX that its modules talk to."""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.awx_double import AWX, serving
from tests.conftest import ROOT, Played
from tests.environments import awx_collection
from tests.unit.awx.test_project import PLAYBOOKS

Configure = Callable[..., Played]


@pytest.fixture(scope="session")
def collections_path() -> Path:
    """Where awx.awx is: with the project's `ansible` (12.3.0), or of that package's own archive."""
    site = Path(next(iter(importlib.import_module("ansible_collections.kubernetes").__path__))).parents[1]
    return site if (site / "ansible_collections" / "awx").exists() else awx_collection()


@pytest.fixture
def awx() -> AWX:
    return AWX(PLAYBOOKS)


@pytest.fixture
def configure(awx: AWX, collections_path: Path, tmp_path: Path) -> Iterator[Configure]:
    """Runs a playbook of awx/ with the example's variables, against the double."""
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".kube" / "portal-stt-deployer").write_text("apiVersion: v1\nkind: Config\n")
    (tmp_path / ".ssh" / "portal-stt").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    with serving(awx) as address:

        def run(playbook: str, *arguments: str, **environment: str) -> Played:
            done = subprocess.run(
                ["ansible-playbook", f"awx/{playbook}.yml", "-e", "@awx/vars.example.yml", *arguments],
                cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                env={**os.environ, "HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": str(collections_path),
                     "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0", "CONTROLLER_HOST": address,
                     "CONTROLLER_OAUTH_TOKEN": awx.token, **environment},
            )  # fmt: skip
            return Played(done.returncode, done.stdout + done.stderr)

        yield run
