"""The lab's OCI registry: Debian's docker-registry on plain HTTP, unpacked and not installed as a service."""

from __future__ import annotations

from pathlib import Path

import yaml

from lab import debian, processes
from lab.network import HOST
from lab.paths import CACHE, NAME, STATE
from lab.processes import Service, answers

ADDRESS = f"{HOST}:5000"
STORE = CACHE / "registry" / NAME
"""Kept from one `up` to the next, so that only what is new is pushed."""


def find() -> Path:
    """The registry's program."""
    return debian.program("docker-registry", "docker-registry")


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
