"""How often an NFS host is asked over SSH. Ansible, its SSH connection and the module are real; the ssh is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import play

SSH_STAND_IN = """#!/bin/sh
for last; do :; done
echo "$last" | cut -c1-60 >> {calls}
PATH=/usr/sbin:/usr/bin:/sbin:/bin exec sh -c "$last"
"""


@pytest.mark.parametrize(
    ("playbooks", "most"),
    [
        pytest.param(["playbooks/storage.yml"], 2, id="which Python there is, and the module"),
        pytest.param(["playbooks/preflight.yml"], 2, id="the same for a preflight"),
    ],
)
def test_a_run_asks_the_host_twice(playbooks: list[str], most: int, tmp_path: Path) -> None:
    """The module looks at all, and changes what has to be changed, in one go: what it finds makes no difference here.

    This machine stands for the host, so nothing is changed.
    """
    ssh, calls = tmp_path / "ssh", tmp_path / "calls"
    ssh.write_text(SSH_STAND_IN.format(calls=calls))
    ssh.chmod(0o755)
    host = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_user": "root"}
    host |= {"ansible_ssh_executable": str(ssh), "ansible_remote_tmp": str(tmp_path / "tmp")}
    export = {"nfs_export_path": str(tmp_path / "models"), "nfs_export_require_mountpoint": str(tmp_path)}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"nfs_servers": {"hosts": {"nas": host | export}}, "clusters": {"hosts": {}}}))
    played = play(*playbooks, "-i", str(inventory), "-l", "nas", "--check")
    assert f"{tmp_path}/models on " in played.output, played.output  # the module has spoken
    assert len(calls.read_text().splitlines()) == most, calls.read_text()
