"""The execution environment: what ansible-builder makes of our files, and that our code finds what it imports there."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.environments import collections, environment

DEFINITION = yaml.safe_load((ROOT / "execution-environment.yml").read_text())
BUILDER = Path(sys.executable).parent / "ansible-builder"


def build(*arguments: str | Path) -> str:
    done = subprocess.run([str(BUILDER), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def introspected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Requirements that ansible-builder finds where this collection and kubernetes.core are installed."""
    folder = collections(tmp_path_factory.mktemp("introspect"), "kubernetes")
    ours = folder / "ansible_collections" / "portal" / "stt"
    (ours / "meta").mkdir(parents=True)
    for name in ("galaxy.yml", "requirements.txt", "meta/execution-environment.yml", "meta/ee-bindep.txt"):
        shutil.copy(ROOT / name, ours / name)
    found: dict[str, list[str]] = yaml.safe_load(build("introspect", folder))
    return {kind: [line.partition("  #")[0] for line in lines] for kind, lines in found.items()}


def test_introspect_finds_what_we_need(introspected: dict[str, list[str]]) -> None:
    ours = ["kubernetes>=36", "requests>=2.32", "jiwer>=4", "prometheus-client>=0.22"]
    assert [line for line in introspected["python"] if line in ours] == ours
    assert introspected["system"][-2:] == ["openssh-clients [platform:rpm]", "openssh-client [platform:dpkg]"]


def test_create_writes_what_is_meant(tmp_path: Path) -> None:
    build("create", "-f", "execution-environment.yml", "-c", tmp_path, "--output-filename", "Containerfile")
    written = tmp_path / "_build"
    assert (written / "requirements.txt").read_text() == (ROOT / "requirements.txt").read_text()
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]
    assert yaml.safe_load((written / "requirements.yml").read_text()) == {
        "collections": [{"name": name, "version": version} for name, version in galaxy.items()]
    }
    assert (written / "bindep.txt").read_text().split() == ["openssh-clients", "[platform:rpm]"]
    assert (written / "exclude-bindep.txt").read_text().split() == ["kubernetes-client", "openshift-clients"]
    packages = 'ARG ANSIBLE_INSTALL_REFS="ansible-core>=2.19,<2.22 ansible-runner>=2.4.3"'
    assert packages in (tmp_path / "Containerfile").read_text().splitlines()


def imported() -> Iterator[str]:
    """What code of ours imports on the controller, at any place of it."""
    for file in sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    yield from (alias.name for alias in names)
                case ast.ImportFrom(module=str(name), level=0):
                    yield name


def test_every_import_is_there(introspected: dict[str, list[str]], tmp_path: Path) -> None:
    known = {*sys.stdlib_module_names, "ansible_collections"}
    names = sorted({name for name in imported() if name.partition(".")[0] not in known})
    assert {"ansible", "jiwer", "kubernetes", "prometheus_client", "requests"} <= {
        name.partition(".")[0] for name in names
    }
    assert missing(introspected, names) == []


def missing(introspected: dict[str, list[str]], names: list[str]) -> list[str]:
    look = "import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if not u.find_spec(n)])"
    python = _environment(introspected) / "python"
    done = subprocess.run([str(python), "-c", look, *names], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_preflight_runs_in_it(introspected: dict[str, list[str]], tmp_path: Path) -> None:
    """To its report: with no cluster, and a registry that is not there."""
    path = collections(tmp_path, "kubernetes")
    done = subprocess.run(
        [str(_environment(introspected) / "ansible-playbook"), "-i", "inventory/awx/hosts", "-l", "clusters",
         "-e", "speaches_image=127.0.0.1:1/a/b:c", "playbooks/preflight.yml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1",
             "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/.collections:{path}", "AWX_PRIVATE_DATA_DIR": str(tmp_path),
             "K8S_AUTH_KUBECONFIG": "/nonexistent/kubeconfig"},
    )  # fmt: skip
    output = " ".join(done.stdout.split())
    assert "Preflight: 2 refused, as reported above" in output, done.stdout + done.stderr
    assert "there is no such file in the execution environment that runs this job." in output


def _environment(introspected: dict[str, list[str]]) -> Path:
    wanted = DEFINITION["dependencies"]
    packages = [wanted[name]["package_pip"] for name in ("ansible_core", "ansible_runner")]
    return environment(*packages, *introspected["python"])
