"""The lab's OCI registry: Debian's docker-registry on plain HTTP, unpacked and not installed as a service."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from lab import processes
from lab.console import LabError, say
from lab.network import HOST
from lab.paths import CACHE, NAME, STATE
from lab.processes import Service, answers

ADDRESS = f"{HOST}:5000"
STORE = CACHE / "registry" / NAME
"""Kept from one `up` to the next, so that only what is new is pushed."""


def find() -> Path:
    """The registry's program, unpacked from the Debian package when the machine has none."""
    if installed := shutil.which("docker-registry"):
        return Path(installed)
    program = CACHE / "docker-registry" / "usr/bin/docker-registry"
    if not program.exists():
        say("fetching Debian's docker-registry")
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch).chmod(0o755)  # apt fetches as another user
            _run("apt-get", "--quiet", "download", "docker-registry", cwd=scratch)
            package = next(Path(scratch).glob("*.deb"))
            _run("dpkg-deb", "--extract", package.name, str(CACHE / "docker-registry"), cwd=scratch)
    return program


def up() -> None:
    """The registry answers on ADDRESS; tags and manifests can be deleted."""
    STORE.mkdir(parents=True, exist_ok=True)
    configuration = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(STORE)}, "delete": {"enabled": True}},
        "http": {"addr": ADDRESS},
    }
    path = STATE / "registry.yml"
    path.write_text(yaml.safe_dump(configuration))
    processes.start([Service("registry", [find(), "serve", path], answers(f"http://{ADDRESS}/v2/"))])


def _run(*argv: str, cwd: str) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(
            f"The registry could not be fetched: {' '.join(argv)}: {done.stderr.strip()}\n"
            "Try apt-get update, or install the Debian package docker-registry."
        )
