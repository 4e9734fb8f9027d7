"""What root does on the export for local copies stays in it, whoever may write there."""

from __future__ import annotations

import hashlib
import sys
import threading
from pathlib import Path

import pytest
import yaml

from tests.conftest import Played, play

MODEL = "deepdml--faster-whisper-large-v3-turbo-ct2"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A share, somebody else's folder beside it, and a model's copy."""
    for name in ("share", "victim", "copy"):
        (tmp_path / name).mkdir()
    (tmp_path / "copy" / "model.bin").write_text("x")
    return tmp_path


def played(there: Path, *args: str) -> Played:
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "nfs_export_path": str(there / "share"),
        "nfs_export_require_mountpoint": "",
        "speaches_model_source": "local",
        "speaches_model_local": str(there / "copy"),
    }
    role = {"ansible.builtin.include_role": {"name": "portal.stt.speaches", "tasks_from": "local"}}
    run = {"hosts": "clusters", "gather_facts": False, "vars": {**variables, "ansible_become": False}, "tasks": [role]}
    (there / "play.yml").write_text(yaml.safe_dump([run]))
    return play(str(there / "play.yml"), *args)


def test_it_is_seen_beforehand_put_there_and_then_left_alone(there: Path) -> None:
    tried = played(there, "--check", "--diff")
    assert (tried.rc, tried.changed, list((there / "share").iterdir())) == (0, 1, [])
    digest = hashlib.sha256(b"x").hexdigest()
    assert f"+import/{MODEL}/model.bin sha256:{digest}" in tried.output.splitlines()
    assert [(one.rc, one.changed) for one in (played(there), played(there), played(there, "--check"))] == [
        (0, 1), (0, 0), (0, 0),
    ]  # fmt: skip
    put = there / "share" / "import" / MODEL / "model.bin"
    status = put.stat()
    assert (put.read_text(), status.st_uid, status.st_gid, status.st_mode & 0o777) == ("x", 1000, 1000, 0o644)
    assert {(one.stat().st_uid, one.stat().st_mode & 0o777) for one in put.parents[:2]} == {(1000, 0o755)}


def test_a_fresh_host_is_planned_for(there: Path) -> None:
    (there / "share").rmdir()
    tried = played(there, "--check")
    assert (tried.rc, tried.changed) == (0, 1)


@pytest.mark.parametrize("link", ["import", f"import/{MODEL}", f"import/{MODEL}/model.bin"])
def test_a_symlink_of_a_client_is_not_followed(there: Path, link: str) -> None:
    (there / "share" / link).parent.mkdir(parents=True, exist_ok=True)
    (there / "share" / link).symlink_to(there / "victim")
    before = (there / "victim").stat()
    refused = played(there)
    assert refused.rc == 2
    said = f"{there / 'share' / link} is a symlink to {there / 'victim'}; a symlink is never followed"
    assert said in " ".join(refused.output.split())
    assert not list((there / "victim").iterdir())
    after = (there / "victim").stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


def test_a_symlink_that_comes_under_way_is_not_followed(there: Path) -> None:
    """A client waits until the folder is as it is wanted, and puts a link in its place."""
    folder, over = there / "share" / "import", threading.Event()

    def wait_and_put_a_link() -> None:
        while not over.wait(0.001):
            if folder.is_dir() and (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (1000, 0o755):
                folder.rename(there / "share" / "away")
                folder.symlink_to(there / "victim")
                return

    client = threading.Thread(target=wait_and_put_a_link)
    client.start()
    ended = played(there)
    over.set()
    client.join()
    assert ended.rc in (0, 2)
    assert not list((there / "victim").iterdir()), ended.output
