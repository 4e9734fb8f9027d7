"""The plays as an operator or AWX meets them: names that resolve, bad input refused, nothing changed by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import ansible_runner
import pytest

from lab import api, node, simulated
from tests.conftest import ROOT, Played, play


def world() -> dict[str, str]:
    """What a refused run must leave as it is: namespaces and volumes of the cluster, exports of the NFS host."""
    kinds = ("namespaces", "persistentvolumes")
    objects = {
        kind: sorted(one["metadata"]["name"] for one in api.call("GET", f"/api/v1/{kind}")["items"]) for kind in kinds
    }
    exports = node.ssh("exportfs -s; ls -laR /etc/exports.d /srv/nfs-ssd; cat /etc/exports").stdout
    return {"cluster": str(objects), "host": exports}


def refused(played: Played) -> str:
    """The output of a run that must have failed in words."""
    assert played.rc != 0, played.output
    assert "Traceback" not in played.output
    return played.output


def test_names_resolve_in_a_checkout() -> None:
    done = subprocess.run(
        ["ansible-doc", "-t", "module", "-l", "portal.stt", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={name: value for name, value in os.environ.items() if name != "ANSIBLE_COLLECTIONS_PATH"},
    )  # fmt: skip
    assert {"portal.stt.oci_image_info", "portal.stt.nfs_export", "portal.stt.report"} <= set(json.loads(done.stdout))


def test_names_resolve_in_a_copy_without_git(tmp_path: Path) -> None:
    """AWX copies a project without .git and runs it with ansible-runner."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    project = tmp_path / "project"
    for name in filter(None, tracked.split("\0")):
        target = project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    (tmp_path / "inventory").mkdir()
    shutil.copytree(ROOT / "inventory" / "lab", tmp_path / "inventory", dirs_exist_ok=True)
    names = ("K8S_AUTH_KUBECONFIG", "LAB_SSH_KEY", "ANSIBLE_SSH_CONTROL_PATH_DIR")
    environment = {name: os.environ[name] for name in names}
    run = ansible_runner.run(
        private_data_dir=str(tmp_path), playbook="playbooks/preflight.yml", envvars=environment, quiet=True
    )
    assert run.status == "successful", run.stdout.read()


@pytest.mark.parametrize(
    ("extra", "environment", "said"),
    [
        pytest.param(
            {"speaches_volume": {"sever": "10.77.0.2"}},
            {},
            [
                "speaches_volume.sever: is read by nobody. Did you mean speaches_volume.server?",
                "The NFS server runs with",
                "√ nfs.mountpoint",
            ],
            id="mistyped-key",
        ),
        pytest.param(
            {"speaches_verify_clips": [{"pth": "kitchen.wav", "text": "light"}]},
            {},
            ["speaches_verify_clips[0].pth: is read by nobody. Did you mean speaches_verify_clips[0].path?"],
            id="mistyped-key-of-a-clip",
        ),
        pytest.param(
            {"speaches_verify_clips": [{"path": "/nowhere/kitchen.wav", "text": "light"}]},
            {},
            ["no such file on this machine: /nowhere/kitchen.wav", "speaches_verify_clips"],
            id="no-clip",
        ),
        pytest.param(
            {"speaches_image": "10.77.0.1:5999/speaches-ai/speaches:0.9.0-rc.3-cuda"},
            {},
            ["10.77.0.1:5999"],
            id="registry-down",
        ),
        pytest.param(
            {"speaches_gpu": {"node_selector": {"nvidia.com/gpu.present": "nowhere"}}},
            {},
            ["nvidia.com/gpu.present=nowhere"],
            id="no-gpu-node",
        ),
        pytest.param({}, {"K8S_AUTH_KUBECONFIG": "/nonexistent"}, ["K8S_AUTH_KUBECONFIG"], id="no-cluster"),
        pytest.param(
            {"ansible_host": "10.77.0.99", "ansible_timeout": 3}, {}, ["gpu-node-1", "cannot reach"], id="no-nfs-host"
        ),
    ],
)
def test_bad_input_is_refused_before_anything_changes(
    extra: dict[str, object], environment: dict[str, str], said: list[str]
) -> None:
    before = world()
    output = refused(play("site.yml", "-e", json.dumps(extra), environment=environment))
    told = " ".join(output.replace("→", " ").split())  # a report has the remedy on a line of its own
    for words in said:
        assert words in told
    assert world() == before


def test_an_nfs_host_that_is_lost_after_preflight_ends_the_run() -> None:
    """Ansible itself goes on with the cluster's hosts."""
    before = world()
    extra = {"ansible_host": "10.77.0.99", "ansible_timeout": 3}
    output = refused(play("playbooks/storage.yml", "playbooks/deploy.yml", "-e", json.dumps(extra)))
    assert "NFS host gpu-node-1 was lost while its export was made" in output
    assert world() == before


def test_data_that_are_not_named_are_not_kept_in_silence() -> None:
    before = world()
    settings = json.dumps({"nfs_export_delete_data": True})
    output = refused(play("playbooks/teardown.yml", "-l", "nfs_servers", "-e", settings))
    assert "Set nfs_export_delete_path to /srv/nfs-ssd/portal-stt to delete all" in " ".join(output.split())
    assert world() == before


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("driver-470", ["driver 470", "cuda>=12.9", "0.9.0-rc.3-cuda"]),
        ("geforce-570", ["GeForce", "driver 570.195.03", "cuda>=12.9", "0.9.0-rc.3-cuda-12.6.3"]),
    ],
)
def test_a_card_that_cannot_run_the_image_is_refused_before_anything_changes(nodes: str, said: list[str]) -> None:
    before = world()
    simulated.replace(ROOT / "lab" / "nodes" / f"{nodes}.yml")
    try:
        selector = {"speaches_gpu": {"node_selector": {"lab.portal-stt/simulated": "true"}}}
        output = refused(play("site.yml", "-e", json.dumps(selector)))
    finally:
        simulated.replace(None)
    for words in said:
        assert words in output
    assert world() == before
