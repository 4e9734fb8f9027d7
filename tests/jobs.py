"""Jobs as AWX 24.6.1 runs them: a copy of the project, its layout of folders, its environment, by ansible-runner."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runner
import yaml

from tests.conftest import ROOT

NAMES = yaml.load((ROOT / "awx/names.yml").read_text().replace("!unsafe ", ""), yaml.SafeLoader)
TEMPLATES: dict[str, dict[str, Any]] = NAMES["awx_templates"]
_ABOUT = {
    "job_id": 7, "job_template_id": 3, "job_template_name": "", "job_launch_type": "manual", "inventory_id": 2,
    "inventory_name": "portal-stt", "project_revision": "0" * 40, "project_scm_branch": "main", "user_id": 1,
    "user_name": "admin", "user_email": "", "user_first_name": "", "user_last_name": "", "workflow_job_id": 6,
    "workflow_job_name": "portal-stt", "parent_job_schedule_name": "portal-stt nightly verify",
}  # fmt: skip
"""What AWX tells each job of itself, under `awx_` and `tower_`."""
_numbers = itertools.count()


@dataclass(frozen=True)
class Job:
    """A finished job: status of ansible-runner, output, what set_stats has left (artifacts), events as JSON."""

    status: str
    output: str
    artifacts: dict[str, Any]
    events: str

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


@dataclass(frozen=True)
class Launch:
    """What one launch has otherwise than the template. ssh_key: of the machine credential. cancel: asked with the job's
    folder until the job has ended. environment: AWX's setting "Extra Environment Variables" (AWX_TASK_ENV)."""

    timeout: int = 0
    cancel: Callable[[Path], bool] | None = None
    job_type: str = ""
    limit: str = ""
    verbosity: int = 0
    ssh_key: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def launch(
    template: str,
    project: Path,
    folder: Path,
    inventory: Mapping[str, Any],
    extra: Mapping[str, Any],
    kubeconfig: str,
    how: Launch,
) -> Job:
    """One job of a template of awx/names.yml.

    inventory: as `ansible-inventory --list` prints it; AWX hands it over as a program that prints it.
    """
    private = folder / f"awx_{next(_numbers)}_job"
    for name in ("inventory", "env", "artifacts", "requirements_collections", "requirements_roles"):
        (private / name).mkdir(parents=True)
    shutil.copytree(project, private / "project", symlinks=True)
    script = private / "inventory" / "hosts"
    script.write_text(f"#!/usr/bin/env python3\nprint({json.dumps(json.dumps(inventory))})\n")
    script.chmod(0o700)
    credential = private / "env" / "tmp_kubeconfig"
    credential.write_text(Path(kubeconfig).read_text())
    credential.chmod(0o600)
    about = {f"{prefix}_{name}": value for prefix in ("awx", "tower") for name, value in _ABOUT.items()}
    about |= {"awx_job_template_name": template, "tower_job_template_name": template}
    (private / "env" / "extravars").write_text(dumped({**about, **extra}))
    (private / "env" / "cmdline").write_text(" ".join(_arguments(template, how)))
    # AWX asks every 5 s whether a job is to end; here nobody has so much time.
    settings = {"job_timeout": how.timeout, "suppress_ansible_output": True, "pexpect_timeout": 0.2}
    (private / "env" / "settings").write_text(json.dumps(settings))
    cancel = how.cancel
    run = ansible_runner.run(
        private_data_dir=str(private), ident="7", playbook=TEMPLATES[template]["playbook"], quiet=True,
        envvars={**_environment(private, credential), **how.environment}, ssh_key=how.ssh_key or None,
        cancel_callback=(lambda: cancel(private)) if cancel else None,
    )  # fmt: skip
    events = list(run.events)
    stats = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    artifacts = stats[-1].get("artifact_data") or {} if stats else {}
    return Job(run.status, run.stdout.read(), artifacts, json.dumps(events, ensure_ascii=False))


def _arguments(template: str, how: Launch) -> list[str]:
    """As AWX puts them together (jobs.py: build_args)."""
    job_type = how.job_type or TEMPLATES[template].get("job_type", "run")
    return [
        "-u", "root",
        *(["--check"] if job_type == "check" else []),
        *(["--diff"] if template == "plan" else []),
        *([f"-{'v' * how.verbosity}"] if how.verbosity else []),
        *(["-l", how.limit] if how.limit else []),
    ]  # fmt: skip


class _Unsafe(yaml.SafeDumper):
    def represent_data(self, data: Any) -> yaml.Node:
        if isinstance(data, str):
            return self.represent_scalar("!unsafe", data)
        return super().represent_data(data)


def dumped(extra: Mapping[str, Any]) -> str:
    """Extra variables as AWX writes them: answers, prompts and artifacts are no templates, keys neither."""
    return "".join(yaml.dump({name: value}, Dumper=_Unsafe, default_flow_style=False) for name, value in extra.items())


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
