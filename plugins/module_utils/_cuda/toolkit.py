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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .._text import plain
from .requirement import RequirementError, major_minor

# After CUDA_VERSION: packages of nvidia/cuda images, whose first two numbers are CUDA's own.
_PACKAGES = ("NV_CUDA_LIB_VERSION", "NV_CUDA_CUDART_VERSION")
_LABEL = "com.nvidia.cuda.version"
_VERSION = re.compile(r"v?([1-9]\d{0,2})\.(\d{1,2})(?:[.-][0-9A-Za-z.+~-]*)?")
_RULE = re.compile(r"(?:^|[ ,])cuda>=?([1-9]\d{0,2}(?:\.\d{1,2})?)(?=$|[ ,.])", re.IGNORECASE)
_WHEEL = re.compile(
    r"nvidia-(?:cublas|cuda-runtime|cuda-nvrtc)(?:-cu(?P<major>\d{1,2}))?"
    r"(?:(?P<how>[=~<>]=)(?P<version>\d{1,3}\.\d{1,3})[0-9.]*)?"
)
_PYTORCH = re.compile(r"(?:torch==.+\+|.*/whl/(?:\w+/)?)cu(\d{1,2})(\d)|pytorch-cuda=(\d{1,2})\.(\d{1,2})")
_PYTORCH_WITHOUT = re.compile(r"(?:torch==.+\+|.*/whl/(?:\w+/)?)(?:cpu|rocm[0-9.]*|xpu)")


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
    packages = _with_cuda(wheels)
    found = [told for told in map(_of_wheel, packages) if told]
    named = ", ".join(packages[:3])
    if found:
        inner = max(pair for pair, _ in found)
        open_ended = [one for one, told in zip(packages, map(_of_wheel, packages), strict=True) if told and not told[1]]
        doubt = f"{open_ended[0]} may have brought a newer one" if open_ended else ""
        if not base.version or inner > _pair(base.version):
            version = ".".join(map(str, inner))
            note = f"CUDA {version} comes with Python packages ({named}), newer than the base image's"
            notes = (*base.notes, f"{note} CUDA {base.version or 'of no stated version'}.")
            return Toolkit(version, base.doubt or doubt, notes)
        return Toolkit(base.version, base.doubt or doubt, base.notes)
    if packages:
        return _from_elsewhere(base, f"; Python packages ({named}) bring CUDA's libraries", labels)
    # The runtime and devel images of nvidia/cuda hold cuBLAS, and say so; their base image does not.
    lean = "NV_CUDA_CUDART_VERSION" in env and not any(name.startswith("NV_LIBCUBLAS") for name in env)
    if not lean:
        return base
    return _from_elsewhere(base, ", which holds no cuBLAS: that comes from Python packages as a rule", labels)


def _from_elsewhere(base: Toolkit, what: str, labels: Mapping[str, str]) -> Toolkit:
    """The base image's CUDA, where the libraries that the program loads are not the base image's."""
    said = [
        f"{name} {plain(labels[f'org.opencontainers.image.{name}'], 60)}"
        for name in ("version", "revision")
        if labels.get(f"org.opencontainers.image.{name}")
    ]
    also = f"; the image calls itself {', '.join(said)}" if said else ""
    note = f"CUDA_VERSION is the base image's{what}, of a version that "
    return Toolkit(
        base.version,
        base.doubt or "what it loads besides the base image's CUDA is not told",
        (*base.notes, f"{note}the image's configuration does not tell{also}."),
    )


def _stated(env: Mapping[str, str], labels: Mapping[str, str]) -> Toolkit:
    stated = env.get("CUDA_VERSION", "")
    notes: list[str] = []
    rounded = ""
    try:
        if "." in stated:
            return Toolkit(major_minor(stated))
        rounded = major_minor(stated) if stated else ""
    except RequirementError:
        notes.append(f"CUDA_VERSION {plain(stated, 60)!r} is no version that the runtime can read.")
    for name, value in (
        ("CUDA_VERSION", stated),
        *((name, env.get(name, "")) for name in _PACKAGES),
        (f"the label {_LABEL}", labels.get(_LABEL, "")),
    ):
        match = _VERSION.fullmatch(value)
        if match:
            version = f"{match[1]}.{int(match[2])}"
            return Toolkit(version, notes=(*notes, f"The image's CUDA {version} is read from {name}."))
    if rounded:
        return Toolkit(rounded, f"CUDA_VERSION {plain(stated, 60)} names no minor version: it may be any")
    rule = _RULE.search(env.get("NVIDIA_REQUIRE_CUDA", ""))
    if rule:
        doubt = f"{rule[1]} is only the lowest CUDA that its rule asks for: which one it holds is not told"
        return Toolkit(rule[1], doubt, tuple(notes))
    return Toolkit(notes=tuple(notes))


def _with_cuda(wheels: Iterable[str]) -> list[str]:
    """The packages that bring CUDA: not a PyTorch for processors alone."""
    packages = list(dict.fromkeys(wheels))
    without = any(_PYTORCH_WITHOUT.fullmatch(one) for one in packages)
    return [
        one
        for one in packages
        if not _PYTORCH_WITHOUT.fullmatch(one) and not (without and one.startswith("torch==") and "+" not in one)
    ]


def _of_wheel(wheel: str) -> tuple[tuple[int, ...], bool] | None:
    """The CUDA version that a package's name tells, and whether it is that one and no newer; None where it tells none.

    A package without a pinned version is the newest of its major version at the time when the image was built.
    """
    pytorch = _PYTORCH.fullmatch(wheel)
    if pytorch:
        return (int(pytorch[1] or pytorch[3]), int(pytorch[2] or pytorch[4])), True
    match = _WHEEL.fullmatch(wheel)
    if not match or not (match["major"] or match["version"]):
        return None
    if match["how"] in ("==", "~=", ">="):
        return _pair(match["version"]), match["how"] == "=="
    return _pair(match["major"] or match["version"]), False


def _pair(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in f"{version}.0".split(".")[:2])
