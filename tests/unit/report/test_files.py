"""Where a report is kept, how it gets there, and what a run says of it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._report.files import folder, version, write

from tests import reports
from tests.conftest import ROOT, Played, play


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Inventories in the forms that there are; the working directory is another one."""
    for path in ("site/mine/hosts.yml", "site/mine/group_vars/all.yml", "flat/hosts", "away/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    monkeypatch.chdir(tmp_path / "away")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize(
    ("given", "sources", "cluster", "expected"),
    [
        pytest.param(None, ["site/mine"], "homelab", "site/reports/homelab", id="beside the folder"),
        pytest.param(None, ["site/mine/hosts.yml"], "homelab", "site/reports/homelab", id="beside it for its file"),
        pytest.param(None, ["flat/hosts"], "homelab", "flat/reports/homelab", id="beside the file"),
        pytest.param(None, ["a,b", "/nowhere", "flat/hosts"], "x", "flat/reports/x", id="the first that is there"),
        pytest.param(None, ["a,"], "x", "away/reports/x", id="a list of hosts"),
        pytest.param("~/kept", ["flat/hosts"], "x", "home/kept/x", id="named"),
        pytest.param("kept", ["flat/hosts"], "x", "away/kept/x", id="named, from here"),
        pytest.param(None, ["flat/hosts"], "../../etc", "flat/reports/--..-etc", id="no way out"),
        pytest.param(None, ["flat/hosts"], "..", "flat/reports/-", id="nor by dots"),
        pytest.param(None, ["flat/hosts"], "a/b\0c d", "flat/reports/a-b-c-d", id="strange"),
        pytest.param(None, ["flat/hosts"], "", "flat/reports/-", id="nameless"),
    ],
)
def test_where_it_is(world: Path, given: str | None, sources: list[str], cluster: str, expected: str) -> None:
    there = [str(world / one) if "/" in one and not one.startswith("/") else one for one in sources]
    assert folder(given, there, cluster) == world / expected


def test_it_is_written_for_its_owner_alone_and_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    place = tmp_path / "reports" / "homelab"
    place.mkdir(parents=True)
    (place / "report.html").symlink_to(victim)
    os.umask(0o000)
    try:
        path = write(reports.whole(), place)
    finally:
        os.umask(0o022)
    assert (path, victim.read_text()) == (place / "report.html", "mine")
    assert sorted(one.name for one in place.iterdir()) == ["report.html", "report.json"]
    assert {stat.S_IMODE(one.lstat().st_mode) for one in place.iterdir()} == {0o600}
    assert stat.S_ISREG((place / "report.html").lstat().st_mode)
    found = json.loads((place / "report.json").read_text())
    assert found.pop("$schema") == json.loads((ROOT / "docs" / "report.schema.json").read_text())["$id"]
    assert found == reports.whole()


def test_what_fails_leaves_the_report_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(reports.incident("2026-06-02"), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(reports.whole(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_version_is_that_of_the_collection() -> None:
    assert version() == yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]


def run(folder: Path, *args: str, **more: Any) -> Played:
    """A play of two tasks: one that only writes, as deploy does, and one that shows, writes and fails."""
    bad = reports.memory(reports.on_card(reports.INCIDENTS["2026-08-31"]), ours_mib=1500)
    file = {"directory": more.get("directory", str(folder)), "play": "deploy", "only_failed": True}
    quiet = {"title": "Deploy", "show": False, "results": [reports.IMAGE, *more.get("quiet", [])], "file": file}
    later = {**file, "play": "verify", "earlier": {"deploy": [reports.IMAGE]}}
    loud = {"title": "Verify", "results": bad, "file": later}
    tasks = [{"portal.stt.report": one, "name": f"{one['title']} is told"} for one in (quiet, loud)]
    site = folder.parent / "site.yml"
    site.write_text(yaml.safe_dump([{"hosts": "clusters", "gather_facts": False, "tasks": tasks}]))
    return play(str(site), *args)


def test_a_run_names_its_report_last(tmp_path: Path) -> None:
    played = run(tmp_path / "kept")
    path = tmp_path / "kept" / "lab" / "report.html"
    assert played.rc == 2, played.output
    assert played.output.splitlines()[-1] == f"Report: {path}"
    found = json.loads(path.with_name("report.json").read_text())
    assert (found["play"], found["cluster"], found["verdict"]) == ("verify", "lab", "refused")
    assert [(one["play"], one["status"]) for one in found["findings"]] == [("verify", "refused"), ("deploy", "ok")]
    assert "fatal: [lab]: Verify: 1 refused, as reported above" in played.output


def test_where_nothing_is_refused_only_failed_writes_nothing(tmp_path: Path) -> None:
    played = run(tmp_path / "kept")
    deploy = played.output.split("TASK [Verify is told]")[0]
    assert "Report: " not in deploy
    played = run(tmp_path / "kept", quiet=[{}])  # it was never come to
    deploy = played.output.split("TASK [Verify is told]")[0]
    assert f"Report: {tmp_path}/kept/lab/report.html" in deploy


def test_in_check_mode_none_is_written(tmp_path: Path) -> None:
    played = run(tmp_path / "kept", "--check")
    assert "No report is written in check mode." in played.output
    assert not (tmp_path / "kept").exists()


def test_a_place_that_cannot_be_written_to_changes_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    played = run(tmp_path / "file")
    assert "/file/lab: Not a directory. Set portal_stt_report_dir." in played.output
    assert "fatal: [lab]: Verify: 1 refused, as reported above" in played.output


def test_the_home_of_a_user_whom_nobody_knows_changes_no_verdict(tmp_path: Path) -> None:
    played = run(tmp_path / "kept", directory="~nobody-of-that-name/reports")
    said = "written to ~nobody-of-that-name/reports: Could not determine home directory. Set portal_stt_report_dir."
    assert said in played.output
    assert "fatal: [lab]: Verify: 1 refused, as reported above" in played.output
