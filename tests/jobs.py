"""Jobs as AWX 24.6.1 runs them: a copy of the project, its layout of folders, its environment, by ansible-runner."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner
import yaml

from tests.conftest import ROOT

NAMES = yaml.load((ROOT / "awx/names.yml").read_text().replace("!unsafe ", ""), yaml.SafeLoader)
TEMPLATES: dict[str, dict[str, Any]] = NAMES["awx_templates"]


@dataclass(frozen=True)
class Job:
    """A finished job: status of ansible-runner, output, and what set_stats has left (AWX's artifacts)."""

    status: str
    output: str
    artifacts: dict[str, Any]

    @property
    def handed(self) -> dict[str, Any]:
        one: dict[str, Any] = self.artifacts["portal_stt"]
        return one


def checked_out(folder: Path) -> Path:
    """The project as AWX fetches it: what git has, without .git."""
    listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True,
                            check=True)  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def launch(
    template: str,
    project: Path,
    folder: Path,
    inventory: Mapping[str, Any],
    extra: Mapping[str, Any],
    kubeconfig: str,
    *,
    timeout: int = 0,
    cancel: Callable[[Path], bool] | None = None,
) -> Job:
    """One job of a template of awx/names.yml. cancel: asked with the job's folder until the job has ended.

    inventory: as `ansible-inventory --list` prints it; AWX hands it over as a program that prints it.
    """
    private = folder / f"awx_{len(list(folder.iterdir()))}_job"
    for name in ("inventory", "env", "artifacts", "requirements_collections", "requirements_roles"):
        (private / name).mkdir(parents=True)
    shutil.copytree(project, private / "project", symlinks=True)
    script = private / "inventory" / "hosts"
    script.write_text(f"#!/usr/bin/env python3\nprint({json.dumps(json.dumps(inventory))})\n")
    script.chmod(0o700)
    credential = private / "env" / "tmp_kubeconfig"
    credential.write_text(Path(kubeconfig).read_text())
    credential.chmod(0o600)
    (private / "env" / "extravars").write_text(
        json.dumps({"awx_job_template_name": template, "awx_job_id": 7, **extra})
    )
    one = TEMPLATES[template]
    checks = ["--check", "--diff"] if one.get("job_type") == "check" else []
    (private / "env" / "cmdline").write_text(" ".join(["-u", "root", *checks]))
    (private / "env" / "settings").write_text(json.dumps({"job_timeout": timeout, "suppress_ansible_output": True}))
    run = ansible_runner.run(
        private_data_dir=str(private), ident="7", playbook=one["playbook"], quiet=True,
        envvars=_environment(private, credential), cancel_callback=(lambda: cancel(private)) if cancel else None,
    )  # fmt: skip
    stats = [event["event_data"] for event in run.events if event["event"] == "playbook_on_stats"]
    return Job(run.status, run.stdout.read(), stats[-1].get("artifact_data") or {} if stats else {})


def _environment(private: Path, credential: Path) -> dict[str, str]:
    """What AWX sets for a job (jobs.py: build_env), and its credential."""
    collections = [private / "requirements_collections", "~/.ansible/collections", "/usr/share/ansible/collections"]
    return {
        "ANSIBLE_FORCE_COLOR": "True",
        "ANSIBLE_HOST_KEY_CHECKING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
        "ANSIBLE_PARAMIKO_RECORD_HOST_KEYS": "False",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_COLLECTIONS_PATH": ":".join(map(str, [collections[0], ".collections", *collections[1:]])),
        "AWX_PRIVATE_DATA_DIR": str(private),
        "INVENTORY_ID": "2",
        "JOB_ID": "7",
        "K8S_AUTH_KUBECONFIG": str(credential),
        "PROJECT_REVISION": "0" * 40,
        "MAX_EVENT_RES": "700000",
    }
