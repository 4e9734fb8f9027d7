"""Files that are put on an export: what stands there, what a client does meanwhile, and what a kill has left."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.portal.stt.plugins.module_utils._exports import copies, directories
from ansible_collections.portal.stt.plugins.module_utils._exports.copies import Share, Wanted, listed, missing, put
from ansible_collections.portal.stt.plugins.module_utils._exports.directories import Change
from ansible_collections.portal.stt.plugins.module_utils._exports.export import ExportError
from ansible_collections.portal.stt.plugins.modules import nfs_copy

from tests.modules import run_module

FILES = {"model.bin": b"m" * 3_000_000, "config.json": b"{}"}
WRITTEN = "Look at the file system (full, read-only?) and who else writes there, then run again."


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A share, a folder of somebody else's beside it, and the copy that has come to the host."""
    root = Path(os.path.realpath(tmp_path))
    for name in ("share", "victim", "copy"):
        (root / name).mkdir()
    for name, content in FILES.items():
        (root / "copy" / name).write_bytes(content)
    (root / "victim" / "model.bin").write_text("theirs")
    return root


def mine(there: Path) -> Share:
    return Share(str(there / "share"), os.getuid(), os.getgid())


def wanted(there: Path) -> list[Wanted]:
    found = listed(there / "copy", "import/turbo")
    return [Wanted(file.path, file.digest, str(at)) for at, file in found]


def paths(found: tuple[list[Change], list[Wanted]]) -> list[str]:
    changes, needed = found
    return [*(os.path.basename(change.wanted.path) for change in changes), *(file.path for file in needed)]


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


EVERYTHING = ["import", "turbo", "import/turbo/config.json", "import/turbo/model.bin"]


def test_what_is_missing_is_put_and_then_left_alone(there: Path) -> None:
    share, files = mine(there), wanted(there)
    assert paths(missing(share, files)) == EVERYTHING
    assert paths(put(share, files)) == EVERYTHING
    assert contents(there / "share/import/turbo") == FILES
    before = {one: one.stat() for one in (there / "share").rglob("*")}
    assert {one.name: oct(status.st_mode & 0o777) for one, status in before.items()} == {
        "import": "0o755",
        "turbo": "0o755",
        "model.bin": "0o644",
        "config.json": "0o644",
    }
    assert paths(missing(share, files)) == paths(put(share, files)) == []
    assert {one: one.stat().st_ino for one in (there / "share").rglob("*")} == {
        one: status.st_ino for one, status in before.items()
    }


def test_an_export_that_is_not_there_yet_can_be_planned_for(there: Path) -> None:
    share = Share(str(there / "new"), 1000, 1000)
    assert paths(missing(share, wanted(there), to_come=True)) == EVERYTHING
    with pytest.raises(ExportError, match=r"new does not exist, so "):
        missing(share, wanted(there))


def link(path: str, to: str) -> Callable[[Path], None]:
    return lambda there: (there / "share" / path).symlink_to(there / to)


def folder(path: str) -> Callable[[Path], None]:
    return lambda there: (there / "share" / path).mkdir()


def pipe(path: str) -> Callable[[Path], None]:
    return lambda there: os.mkfifo(there / "share" / path)


@pytest.mark.parametrize(
    ("stands", "at", "said"),
    [
        (link("import", "victim"), "import", "is a symlink to {there}/victim; a symlink is never followed"),
        (link("import", "nowhere"), "import", "is a symlink to {there}/nowhere; a symlink is never followed"),
        (link("import/turbo", "victim"), "import/turbo", "is a symlink to {there}/victim; a symlink is never followed"),
        (
            link("import/turbo/model.bin", "victim/model.bin"),
            "import/turbo/model.bin",
            "is a symlink to {there}/victim/model.bin; a symlink is never followed",
        ),
        (folder("import/turbo/model.bin"), "import/turbo/model.bin", "is in the way: it is no file."),
        (pipe("import/turbo/model.bin"), "import/turbo/model.bin", "is in the way: it is no file."),
        (pipe("import/turbo"), "import/turbo", "is a file where a directory is expected."),
    ],
)
def test_what_stands_there_is_neither_followed_nor_written_into(
    there: Path, stands: Callable[[Path], None], at: str, said: str
) -> None:
    (there / "share" / at).parent.mkdir(parents=True, exist_ok=True)
    stands(there)
    for tried in (missing, put):
        with pytest.raises(ExportError) as refused:
            tried(mine(there), wanted(there))
        assert f"{there / 'share' / at} {said.format(there=there)}" in str(refused.value)
    assert contents(there / "victim") == {"model.bin": b"theirs"}


@pytest.mark.parametrize("at", ["import", "import/turbo"])
def test_a_folder_that_becomes_a_link_after_the_look_is_not_followed(
    there: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def then_a_client(changes: list[Change]) -> None:
        made(changes)
        (there / "share" / at).rename(there / "share" / "away")
        (there / "share" / at).symlink_to(there / "victim")

    made = directories.apply
    monkeypatch.setattr(copies, "apply", then_a_client)
    with pytest.raises(ExportError, match="a symlink is never followed"):
        put(mine(there), wanted(there))
    assert contents(there / "victim") == {"model.bin": b"theirs"}


def test_a_file_that_becomes_a_link_after_the_look_is_replaced_itself(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_a_client(handle: int) -> None:
        (there / "share/import/turbo/model.bin").symlink_to(there / "victim/model.bin")

    monkeypatch.setattr(copies, "_sweep", after_a_client)
    put(mine(there), wanted(there))
    assert contents(there / "share/import/turbo") == FILES
    assert not (there / "share/import/turbo/model.bin").is_symlink()
    assert contents(there / "victim") == {"model.bin": b"theirs"}


def test_a_folder_that_comes_after_the_look_is_not_written_into(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def after_a_client(handle: int) -> None:
        (there / "share/import/turbo/model.bin").mkdir()

    monkeypatch.setattr(copies, "_sweep", after_a_client)
    with pytest.raises(ExportError) as refused:
        put(mine(there), wanted(there))
    said = f"{there}/share/import/turbo/model.bin: The file could not be written: Is a directory. {WRITTEN}"
    assert str(refused.value) == said
    assert contents(there / "share/import/turbo/model.bin") == {}
    assert sorted(os.listdir(there / "share/import/turbo")) == ["config.json", "model.bin"]


@pytest.mark.parametrize("content", [b"theirs", FILES["model.bin"]], ids=["other", "same"])
def test_a_file_with_a_second_name_elsewhere_keeps_all_that_it_has(there: Path, content: bytes) -> None:
    """A client can give any file of the disk's a name in the share."""
    theirs = there / "victim" / "model.bin"
    theirs.write_bytes(content)
    theirs.chmod(0o600)
    (there / "share/import/turbo").mkdir(parents=True)
    os.link(theirs, there / "share/import/turbo/model.bin")
    put(mine(there), wanted(there))
    assert contents(there / "share/import/turbo") == FILES
    assert (theirs.read_bytes(), theirs.stat().st_mode & 0o777) == (content, 0o600)


def test_what_a_kill_has_left_is_completed_and_removed(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kill(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Kill

    with monkeypatch.context() as killed:
        killed.setattr(os, "rename", kill)
        killed.setattr(os, "unlink", kill)
        with pytest.raises(Kill):
            put(mine(there), wanted(there))
    turbo = there / "share/import/turbo"
    assert [one.name[:12] for one in turbo.iterdir()] == [".portal-stt-"]
    (turbo / "of others").write_text("x")
    assert paths(put(mine(there), wanted(there))) == ["import/turbo/config.json", "import/turbo/model.bin"]
    assert contents(turbo) == {**FILES, "of others": b"x"}


def test_two_at_once_end_as_one(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first, and finds nothing to do."""
    done: list[list[str]] = []
    second = threading.Thread(target=lambda: done.append(paths(put(mine(there), wanted(there)))))
    made = directories.apply

    def beside(changes: list[Change]) -> None:
        if not second.ident:
            second.start()
        made(changes)

    monkeypatch.setattr(copies, "apply", beside)
    done.append(paths(put(mine(there), wanted(there))))
    second.join()
    assert done == [EVERYTHING, []]
    assert contents(there / "share/import/turbo") == FILES


def test_content_that_changes_under_way_is_refused(there: Path) -> None:
    files = wanted(there)
    (there / "copy" / "config.json").write_text("[]")
    with pytest.raises(ExportError) as refused:
        put(mine(there), files)
    assert str(refused.value) == (
        f"{there}/share/import/turbo/config.json: its content has changed while it was copied. Let the copy on the "
        "controller be written to its end, and run again."
    )
    assert list((there / "share/import/turbo").iterdir()) == []


def test_of_a_folder_its_files_are_listed_also_behind_links(tmp_path: Path) -> None:
    """As a snapshot of the hub's cache has them."""
    (tmp_path / "blob").write_text("x")
    (tmp_path / "turbo" / "folder").mkdir(parents=True)
    (tmp_path / "turbo" / "model.bin").symlink_to(tmp_path / "blob")
    digest = hashlib.sha256(b"x").hexdigest()
    assert listed(tmp_path / "turbo", "import/t") == [
        (tmp_path / "turbo/model.bin", Wanted("import/t/model.bin", digest))
    ]
    assert listed(tmp_path / "blob", "import/t") == [(tmp_path / "blob", Wanted("import/t", digest))]
    with pytest.raises(ExportError) as refused:
        listed(tmp_path / "none", "import/t")
    assert str(refused.value) == (
        f"{tmp_path}/none: cannot be read: No such file or directory. Correct the path, or make it readable for the "
        "user that runs the play."
    )


@pytest.mark.parametrize("dest", ["", "/etc", "../etc", "import/../../etc", "import/./x", "import//x", "import/"])
def test_a_place_that_is_not_in_the_export_is_refused(there: Path, dest: str) -> None:
    place = {"path": str(there / "share"), "src": "/x", "owner": os.getuid(), "group": os.getgid()}
    said = f"{dest}: is no plain path within the export. Write it without '.', '..' and '//'."
    assert run_module(nfs_copy, **place, dest=dest)["msg"] == said


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "import/../../x", "import/./x"])
def test_a_file_that_is_not_in_the_export_is_refused(there: Path, path: str) -> None:
    place = {"path": str(there / "share"), "src": "/x", "owner": os.getuid(), "group": os.getgid(), "dest": "import/t"}
    files = [{"path": path, "sha256": "0" * 64, "source": "/etc/hostname"}]
    said = f"{path}: is no plain path within the export. Write it without '.', '..' and '//'."
    assert run_module(nfs_copy, **place, files=files, put=True)["msg"] == said
