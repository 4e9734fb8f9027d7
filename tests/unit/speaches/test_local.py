"""What root does on the export for local copies stays in it, whoever may write there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

MODEL = "deepdml--faster-whisper-large-v3-turbo-ct2"


@pytest.mark.parametrize("link", ["import", f"import/{MODEL}"])
def test_a_symlink_of_a_client_is_not_followed(tmp_path: Path, link: str) -> None:
    share, victim, copy = (tmp_path / name for name in ("share", "victim", "copy"))
    for folder in (share, victim, copy):
        folder.mkdir()
    (copy / "model.bin").write_text("x")
    (share / link).parent.mkdir(exist_ok=True)
    (share / link).symlink_to(victim)
    before = victim.stat()
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "nfs_export_path": str(share),
        "nfs_export_require_mountpoint": "",
        "speaches_model_source": "local",
        "speaches_model_local": str(copy),
    }
    role = {"ansible.builtin.include_role": {"name": "portal.stt.speaches", "tasks_from": "local"}}
    play = {"hosts": "all", "gather_facts": False, "vars": {**variables, "ansible_become": False}, "tasks": [role]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    played = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "host,", tmp_path / "play.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 2, played.stdout
    assert f"{share / link} is a symlink to {victim}; a symlink is never followed" in " ".join(played.stdout.split())
    assert not list(victim.iterdir())
    assert (victim.stat().st_uid, victim.stat().st_mode) == (before.st_uid, before.st_mode)
