"""What the role speaches declares for given variables, rendered by Ansible, and what it refuses. No cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Played

MODEL, OTHER = "deepdml/faster-whisper-large-v3-turbo-ct2", "Systran/faster-whisper-tiny"
OLD, NEW = "1" * 40, "2" * 40
ROLE = ROOT / "roles" / "speaches"
FOUND = {
    "speaches__image": {"image": {"pinned": "registry.invalid/speaches@sha256:0"}},
    "speaches__clip": {"content": "UklGRg=="},
    "speaches__deployed": {
        "resources": [
            {
                "spec": {
                    "template": {"metadata": {"annotations": {"portal-stt/models": f"{MODEL}@{NEW} {OTHER}@"}}},
                }
            }
        ]
    },
}
"""As the tasks before have registered it."""


def settings(folder: Path, *args: str, then: list[dict[str, Any]] | None = None, **variables: Any) -> Played:
    """The role's own check of its variables, and tasks after it that see them."""
    for part in ("files", "templates"):
        (folder / part).symlink_to(ROLE / part)
    include = {"name": "portal.stt.speaches", "tasks_from": "settings", "public": True}
    tasks = [{"ansible.builtin.include_role": include}, *(then or [])]
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    given = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **FOUND, **variables}
    program = str(Path(sys.executable).parent / "ansible-playbook")
    command = [program, "-i", "localhost,", str(folder / "play.yml"), *args]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        [*command, "-e", json.dumps(given)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return Played(done.returncode, done.stdout + done.stderr)


def rendered(folder: Path, *args: str, **variables: Any) -> dict[str, Any]:
    """The manifests of ConfigMap, seed Job and Deployment by their kind, and the names of finished seed Jobs."""
    names = [f"{name}.yaml.j2" for name in ("configmap", "seed-job", "deployment")]
    shown = "speaches__seed_jobs_finished" if "speaches__seed_jobs" in variables else "[]"
    content = f"{{{{ [query('ansible.builtin.template', *{names}), {shown}] | to_json }}}}"
    write = {"ansible.builtin.copy": {"content": content, "dest": str(folder / "out")}, "check_mode": False}
    played = settings(folder, *args, then=[write], **variables)
    assert played.rc == 0, played.output
    manifests, finished = json.loads((folder / "out").read_text())
    return {one["kind"]: one for one in map(yaml.safe_load, manifests)} | {"finished": finished}


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (one,) = manifest["spec"]["template"]["spec"]["containers"]
    return dict(one)


def environment(manifest: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(manifest)["env"] if "value" in one}


def test_two_models_have_time_and_memory_for_two(tmp_path: Path) -> None:
    """And which seed Jobs are finished: those are removed."""
    models = [{"model": MODEL}, {"model": OTHER}]
    states: dict[str, dict[str, Any]] = {
        "new": {},
        "runs": {"active": 1, "ready": 1},
        "between-tries": {"failed": 1},
        "done": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
        "failed": {"failed": 4, "conditions": [{"type": "Failed", "status": "True"}]},
        "stops": {"active": 1, "conditions": [{"type": "FailureTarget", "status": "True"}]},
    }
    jobs = {"resources": [{"metadata": {"name": name}, "status": status} for name, status in states.items()]}
    made = rendered(tmp_path, speaches_models=models, speaches_startup_seconds=95, speaches__seed_jobs=jobs)
    assert made["finished"] == ["done", "failed"]
    deployment = made["Deployment"]
    server = container(deployment)
    probe = server["startupProbe"]
    # Ten runs of 20 s are not less than the budget of 190 s.
    assert (probe["periodSeconds"], probe["failureThreshold"], probe["timeoutSeconds"]) == (1, 10, 220)
    assert environment(deployment)["WARM_BUDGET_S"] == "190"
    assert server["resources"]["requests"]["memory"] == "4Gi"
    assert server["resources"]["limits"]["memory"] == "8Gi"


HUB = {
    "environment": {"HTTPS_PROXY": "http://proxy:3128"},
    "ca": (ROOT / "tests" / "fixtures" / "ca.pem").read_text(),
}
PROXY = {"HTTPS_PROXY": "http://proxy:3128"}
CA = "/opt/portal-stt/ca.pem"


@pytest.mark.parametrize(
    ("source", "of_job", "of_server"),
    [
        ("seeded", PROXY | {"SEED_CA": CA}, {}),
        ("hub", PROXY | {"SEED_CA": CA}, PROXY | {"REQUESTS_CA_BUNDLE": CA, "SSL_CERT_FILE": CA}),
    ],
)
def test_who_goes_to_the_hub_has_proxy_and_ca(
    tmp_path: Path, source: str, of_job: dict[str, str], of_server: dict[str, str]
) -> None:
    """With `hub` no seed Job is applied; what is rendered of it then does not matter."""
    made = rendered(tmp_path, speaches_model_source=source, speaches_hub=HUB)
    names = ("HTTPS_PROXY", "SEED_CA", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    job, server = environment(made["Job"]), environment(made["Deployment"])
    assert {name: job[name] for name in names if name in job} == of_job
    assert {name: server[name] for name in names if name in server} == of_server
    assert ("PRELOAD_MODELS" in server) == (source == "hub")
    assert made["ConfigMap"]["data"]["ca.pem"] == HUB["ca"]


MODELS = [{"model": OTHER}, {"model": MODEL, "revision": ""}, {"model": "a/new"}, {"model": "b/c", "revision": OLD}]


@pytest.mark.parametrize(
    ("args", "annotation", "pinned"),
    [
        (["--check"], f"{OTHER}@ {MODEL}@{NEW} a/new@ b/c@{OLD}", [NEW, OLD]),
        ([], f"{OTHER}@ {MODEL}@ a/new@ b/c@{OLD}", [OLD]),  # here the seed Job tells; if not, the volume's own counts
    ],
    ids=["plan", "run"],
)
def test_a_plan_keeps_the_revision_that_serves(
    tmp_path: Path, args: list[str], annotation: str, pinned: list[str]
) -> None:
    template = rendered(tmp_path, *args, speaches_models=MODELS)["Deployment"]["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    assert annotations.pop("portal-stt/models") == annotation
    assert list(annotations.values()) == pinned
    assert len([one for one in template["spec"]["volumes"] if one["name"].startswith("revision-")]) == len(pinned)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"speaches_api_key": "sesame\n"}, "speaches_api_key: has a blank, a line break"),
        ({"speaches_hub": {"token": "sesame é"}}, "speaches_hub.token: has a blank, a line break"),
        ({"speaches_hub": {"ca": "/etc/sesame.pem"}}, "speaches_hub.ca: is no certificate in PEM form. Give the text"),
    ],
)
def test_settings_that_are_refused_and_not_shown(tmp_path: Path, variables: dict[str, Any], said: str) -> None:
    refused = settings(tmp_path, "-vvv", **variables)
    assert refused.rc != 0
    assert said in " ".join(refused.output.split())
    assert "sesame" not in refused.output


def test_the_scripts_need_no_library_of_ours() -> None:
    """They run with the Python of the server's image."""
    for name in ("seed", "warm"):
        done = subprocess.run(
            [
                "/usr/bin/python3",
                "-I",
                "-S",
                "-c",
                f"import runpy; runpy.run_path({str(ROLE / 'files' / name)!r} + '.py')",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
