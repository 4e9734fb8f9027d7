"""Sets a machine up for the project: Debian packages, virtual environment. Run by the system's Python, before all else.

    python3 -m lab.bootstrap

Standard library only. A second run changes nothing and takes no time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".ready"
REQUIREMENTS = ROOT / "requirements-dev.txt"
UV = "uv==0.13.9"
PYTHON = (3, 11)

PACKAGES = {
    # Debian package: (what shows that it is there, what for). None of them starts a service.
    "python3-venv": ("ensurepip", "the project's virtual environment"),
    "qemu-system-x86": ("qemu-system-x86_64", "the machine that is the lab's node and NFS host"),
    "mmdebstrap": ("mmdebstrap", "that machine's file system and the images' base"),
    "arch-test": ("arch-test", "mmdebstrap's own check of the processor"),
    "e2fsprogs": ("mkfs.ext4", "that machine's disk"),
    "iproute2": ("ip", "the lab's network namespace"),
    "openssh-client": ("ssh", "Ansible's way to the NFS host"),
}


class BootstrapError(Exception):
    """What is missing, and how to get it."""


def missing() -> list[str]:
    """Debian packages that are not there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [
        package
        for package, (sign, _) in PACKAGES.items()
        if not (importlib.util.find_spec(sign) if sign == "ensurepip" else shutil.which(sign, path=path))
    ]


def install(packages: list[str]) -> None:
    """The packages are installed. Raises BootstrapError with what to type where that is not possible."""
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    wanted = "\n".join(f"  {package:<16} for {PACKAGES[package][1]}" for package in packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BootstrapError(f"Missing Debian packages:\n{wanted}\nInstall them as root: {' '.join(command)}")
    say(f"installing Debian packages {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in (["apt-get", "update", "--quiet"], command):
        run(argv, environment)


def fingerprint() -> str:
    """Changes with the pinned versions, this Python and this file."""
    parts = [REQUIREMENTS.read_bytes(), Path(__file__).read_bytes(), platform.python_version().encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def environment() -> None:
    """The virtual environment has the pinned versions; `python -m lab` works in it from any folder."""
    python = VENV / "bin" / "python"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (VENV / "lib" / f"python{version}").is_dir() or not python.exists():
        say("making the virtual environment .venv")
        run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    say("installing the pinned tools and libraries (half a minute)")
    quiet = ["--quiet", "--disable-pip-version-check"]
    run([str(python), "-m", "pip", "install", *quiet, UV])
    # Compiled: else each of some hundred ansible-playbooks of the tests would do it where Python may not write.
    command = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    run([*command, "-r", str(REQUIREMENTS)])
    found = VENV / "lib" / f"python{version}" / "site-packages" / "portal-stt.pth"
    found.write_text(f"{ROOT}\n{ROOT}/.collections\n")


def run(argv: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise BootstrapError(f"{' '.join(argv)} failed:\n{said}\nAre the package sources reachable? Then try again.")


def say(text: str) -> None:
    print(f"bootstrap: {text}", flush=True)


def main() -> int:
    """The machine is ready for the project; exit status."""
    began = time.monotonic()
    try:
        if sys.version_info < PYTHON:
            needed = ".".join(map(str, PYTHON))
            raise BootstrapError(f"Python {needed} or newer is needed, this is {platform.python_version()}.")
        install(missing())
        if not STAMP.exists() or STAMP.read_text() != fingerprint():
            environment()
            STAMP.write_text(fingerprint())
            say(f"ready after {time.monotonic() - began:.0f} s")
        STAMP.touch()
    except BootstrapError as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
