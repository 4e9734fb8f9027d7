"""Virtual environments beside the project's own, made by uv from the package registry and kept in the cache."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.paths import CACHE, alone

UV = Path(sys.executable).parent / "uv"


def environment(*requirements: str, arguments: Sequence[str] = ()) -> Path:
    """The bin folder of an environment of this Python with `requirements` and nothing else; made once."""
    parts = [sys.version, sys.executable, *arguments, *requirements]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    folder = CACHE / f"environment-{name}"
    with alone(CACHE / "environments.lock"):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--python", sys.executable, str(folder))
            _uv("pip", "install", "--python", str(folder / "bin" / "python"), *arguments, *requirements)
            (folder / "ready").touch()
    return folder / "bin"


def collections(folder: Path, *names: str) -> Path:
    """A collections path with the named collections of the project's environment, and no others."""
    found = importlib.import_module("ansible_collections.kubernetes")
    site = Path(next(iter(found.__path__))).parent
    for name in names:
        (folder / "ansible_collections").mkdir(parents=True, exist_ok=True)
        os.symlink(site / name, folder / "ansible_collections" / name)
    return folder


def _uv(*arguments: str) -> None:
    done = subprocess.run([str(UV), *arguments, "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"uv {' '.join(arguments)}: {done.stderr}"


def awx_collection() -> Path:
    """A collections path with awx.awx 24.6.1, which newer packages `ansible` do not have, out of that of 12.3.0."""
    folder = CACHE / "awx-24.6.1"
    with alone(CACHE / "environments.lock"):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as unpacked:
                _uv("pip", "install", "--no-deps", "--only-binary=:all:", "--target", unpacked, "ansible==12.3.0")
                (folder / "ansible_collections").mkdir(parents=True)
                shutil.move(Path(unpacked, "ansible_collections", "awx"), folder / "ansible_collections" / "awx")
            (folder / "ready").touch()
    return folder
