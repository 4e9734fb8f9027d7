"""What the lab says when the machine lacks something, and that it never takes another's process for its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab import binaries, bootstrap, network, processes
from lab.console import LabError, say, step


def test_missing_packages_are_named_with_their_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program, path=None: program in {"ip", "ssh"})
    assert bootstrap.missing() == ["qemu-system-x86", "mmdebstrap", "arch-test", "e2fsprogs"]
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(bootstrap.BootstrapError) as refused:
        bootstrap.install(["mmdebstrap", "e2fsprogs"])
    assert str(refused.value) == (
        "Missing Debian packages:\n"
        "  mmdebstrap       for that machine's file system and the images' base\n"
        "  e2fsprogs        for that machine's disk\n"
        "Install them as root: "
        "apt-get install --yes --quiet --no-install-recommends mmdebstrap e2fsprogs"
    )


def test_nothing_missing_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    bootstrap.install([])


@pytest.mark.parametrize(
    ("says", "usable"),
    [
        ("Kubernetes v1.36.7", True),
        ("Kubernetes v1.35.0", False),
        ("", False),
    ],
)
def test_a_program_of_another_version_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, usable: bool
) -> None:
    program = tmp_path / "kube-scheduler"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setattr(binaries, "_built", lambda name: None)
    assert (binaries._installed("kube-scheduler") == program) == usable


def test_a_lab_with_an_unusable_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "NAME", "My Lab")
    with pytest.raises(LabError) as refused:
        network.up()
    assert str(refused.value) == ("PORTAL_STT_LAB is 'My Lab': take 1 to 20 lower-case letters, digits and dashes.")


def test_a_process_id_with_a_new_owner_is_not_ours() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        ticks = processes._ticks(process.pid)
        assert ticks is not None
        ours = processes.Record("x", process.pid, ticks, [], {}, "")
        before = processes.Record("x", process.pid, ticks - 1, [], {}, "")
        assert (ours.running, before.running) == (True, False)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not ours.running  # a zombie runs no more
    assert not ours.running


def test_a_step_takes_one_line_unless_there_is_more_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    with step("short"):
        pass
    with step("long"):
        say("half way")
    assert capsys.readouterr().out == "  short … 0.0 s\n  long …\n    half way\n  long … 0.0 s\n"
