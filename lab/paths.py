"""Where the lab keeps what. Several labs run side by side under different names ($PORTAL_STT_LAB)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = os.environ.get("PORTAL_STT_LAB", "lab")
"""Name of this lab: part of its network namespace's name and of its state folder."""

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

CACHE = Path(os.environ.get("PORTAL_STT_CACHE", Path.home() / ".cache" / "portal-stt"))
"""What is expensive to make and safe to keep: binaries, disk images, weights. Shared by all labs."""

STATE = Path(os.environ.get("PORTAL_STT_STATE", "/run/portal-stt")) / NAME
"""What one running lab needs: certificates, kubeconfig, logs, process ids. Gone after `down`."""


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process of this machine at a time."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
