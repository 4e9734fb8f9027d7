"""Programs of Debian packages, unpacked into the cache and not installed: no service of the machine is touched."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.console import LabError, say
from lab.paths import CACHE


def program(package: str, name: str) -> Path:
    """The program `name` of a package: the machine's own, else unpacked from the package, which is fetched once."""
    if installed := shutil.which(name):
        return Path(installed)
    found = CACHE / package / "usr/bin" / name
    if not found.exists():
        say(f"fetching Debian's {package}")
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch).chmod(0o755)  # apt fetches as another user
            _run(package, "apt-get", "--quiet", "download", package, cwd=scratch)
            fetched = next(Path(scratch).glob("*.deb"))
            _run(package, "dpkg-deb", "--extract", fetched.name, str(CACHE / package), cwd=scratch)
    return found


def _run(package: str, *argv: str, cwd: str) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(
            f"{package} could not be fetched: {' '.join(argv)}: {done.stderr.strip()}\n"
            f"Try apt-get update, or install the Debian package {package}."
        )
