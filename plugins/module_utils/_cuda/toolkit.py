# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Which CUDA an image holds, as far as its configuration tells: asked of each that could know it, in turn.

The runtime's gate has a reading of its own (requirement.py): what it cannot read is often plain to see. NGC images have
CUDA_VERSION=12.3.2.001 (nvcr.io/nvidia/pytorch), beside a rule that is far too low (cuda>=9.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .._text import plain
from .requirement import RequirementError, major_minor

# After CUDA_VERSION: packages of nvidia/cuda images, whose first two numbers are CUDA's own.
_PACKAGES = ("NV_CUDA_LIB_VERSION", "NV_CUDA_CUDART_VERSION")
_LABEL = "com.nvidia.cuda.version"
_VERSION = re.compile(r"v?([1-9]\d{0,2})\.(\d{1,2})(?:[.-][0-9A-Za-z.+~-]*)?")
_RULE = re.compile(r"(?:^|[ ,])cuda>=?([1-9]\d{0,2}(?:\.\d{1,2})?)(?=$|[ ,.])", re.IGNORECASE)
_WHEEL = re.compile(r"nvidia-(?:cublas|cuda-runtime|cuda-nvrtc)(?:-cu(\d{1,2}))?(?:[=~<>]=(\d{1,3}\.\d{1,3})[0-9.]*)?")


@dataclass(frozen=True)
class Toolkit:
    """version: ``12.9``, empty where nothing tells. doubt: why it may be another one, in words that end a sentence;
    empty where the image states it. notes: what it rests on, where that is not CUDA_VERSION alone."""

    version: str = ""
    doubt: str = ""
    notes: tuple[str, ...] = ()


def toolkit(env: Mapping[str, str], labels: Mapping[str, str], wheels: Iterable[str] = ()) -> Toolkit:
    """The CUDA of an image with this environment and labels. wheels: CUDA's Python packages that its history names."""
    base = _stated(env, labels)
    packages = list(dict.fromkeys(wheels))
    inner = max((_pair(version) for version in _of_wheels(packages)), default=())
    if inner and (not base.version or inner > _pair(base.version)):
        version = ".".join(map(str, inner))
        note = f"CUDA {version} comes with Python packages ({', '.join(packages[:3])}), newer than the base image's"
        return Toolkit(version, base.doubt, (*base.notes, f"{note} CUDA {base.version or 'of no stated version'}."))
    if packages and not inner:
        return _from_elsewhere(base, f"Python packages ({', '.join(packages[:3])})", labels)
    # The runtime and devel images of nvidia/cuda hold cuBLAS, and say so; their base image does not.
    lean = "NV_CUDA_CUDART_VERSION" in env and not any(name.startswith("NV_LIBCUBLAS") for name in env)
    return _from_elsewhere(base, "Python packages as a rule", labels) if lean and not packages else base


def _from_elsewhere(base: Toolkit, whence: str, labels: Mapping[str, str]) -> Toolkit:
    """The base image's CUDA, where the libraries that the program loads are not the base image's."""
    said = [
        f"{name} {plain(labels[f'org.opencontainers.image.{name}'], 60)}"
        for name in ("version", "revision")
        if labels.get(f"org.opencontainers.image.{name}")
    ]
    also = f"; the image calls itself {', '.join(said)}" if said else ""
    note = f"CUDA_VERSION is the base image's, which holds no cuBLAS: that comes from {whence}, of a version that "
    return Toolkit(
        base.version,
        base.doubt or "what it loads besides the base image's CUDA is not told",
        (*base.notes, f"{note}the image's configuration does not tell{also}."),
    )


def _stated(env: Mapping[str, str], labels: Mapping[str, str]) -> Toolkit:
    stated = env.get("CUDA_VERSION", "")
    try:
        if stated:
            return Toolkit(major_minor(stated))
    except RequirementError:
        pass
    notes = [f"CUDA_VERSION {plain(stated, 60)!r} is no version that the runtime can read."] if stated else []
    for name, value in (
        ("CUDA_VERSION", stated),
        *((name, env.get(name, "")) for name in _PACKAGES),
        (f"the label {_LABEL}", labels.get(_LABEL, "")),
    ):
        match = _VERSION.fullmatch(value)
        if match:
            version = f"{match[1]}.{int(match[2])}"
            return Toolkit(version, notes=(*notes, f"The image's CUDA {version} is read from {name}."))
    rule = _RULE.search(env.get("NVIDIA_REQUIRE_CUDA", ""))
    if rule:
        doubt = f"{rule[1]} is only the lowest CUDA that its rule asks for: which one it holds is not told"
        return Toolkit(rule[1], doubt, tuple(notes))
    return Toolkit(notes=tuple(notes))


def _of_wheels(wheels: Iterable[str]) -> Iterator[str]:
    for wheel in wheels:
        match = _WHEEL.fullmatch(wheel)
        if match and (match[2] or match[1]):
            yield match[2] or f"{match[1]}.0"


def _pair(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in f"{version}.0".split(".")[:2])
