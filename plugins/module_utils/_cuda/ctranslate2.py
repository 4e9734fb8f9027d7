# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What CTranslate2, which runs the model, needs of a card beyond what the CUDA image does.

Code in its wheels: read from the fat binaries of ctranslate2 4.5.0 (in Speaches 0.9.0-rc.3) and 4.8.5, which are
alike. Compute types: docs/quantization.md and src/types.cc; 8-bit integers on Blackwell: OpenNMT/CTranslate2#1865 and
pull request 1937 (4.6.2).
"""

from __future__ import annotations

from dataclasses import dataclass

COMPUTE_TYPES = (
    *("default", "auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16"),
    *("int16", "float16", "bfloat16", "float32"),
)

_BINARY = ((5, 3), (6, 0), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6))
_PTX = (8, 6)
_PTX_CUDA = (12, 2)


@dataclass(frozen=True)
class Fit:
    """refusal: why it cannot work on the card, empty when it can. doubt: what may keep it from working, with some of
    CTranslate2's versions. note: what to know even so."""

    refusal: str = ""
    note: str = ""
    doubt: str = ""


def fit(compute_type: str, capability: str, driver_cuda: str) -> Fit:
    """Whether CTranslate2 works with a compute type (of COMPUTE_TYPES) on a card.

    capability: compute capability (``7.5``), driver_cuda: the driver's CUDA version (``12.8``); both may be empty,
    and then nothing is refused.
    """
    if not capability:
        return Fit()
    card = _pair(capability)
    if not any(major == card[0] and minor <= card[1] for major, minor in _BINARY):
        if card < _PTX:
            return Fit(f"CTranslate2's wheels have no code for compute capability {capability}: it begins at 5.3.")
        if driver_cuda and _pair(driver_cuda) < _PTX_CUDA:
            return Fit(
                f"for compute capability {capability} CTranslate2's wheels have only PTX of CUDA 12.2, which a driver "
                f"of CUDA {driver_cuda} does not compile (cudaErrorUnsupportedPtxVersion)."
            )
    unsupported = f"Requested {compute_type} compute type, but the target device or backend do not support efficient"
    if not _supports(compute_type, card):
        return Fit(
            f"CTranslate2 ends with ValueError: {unsupported} {compute_type} computation, at compute capability "
            f"{capability}."
        )
    without = (
        f"without 8-bit integers at compute capability {capability}: up to 4.6.1 the first request ends in "
        "CUBLAS_STATUS_NOT_SUPPORTED"
    )
    if card[0] == 12 and compute_type.startswith("int8"):
        return Fit(f"CTranslate2 is {without}, from 4.6.2 on the start in ValueError: {unsupported} {compute_type}.")
    return Fit(
        note=f"CTranslate2 compiles its code for compute capability {capability} at the first start (PTX)."
        if card[0] > _BINARY[-1][0]
        else "",
        doubt=f"CTranslate2 is {without} with compute type {compute_type}, which takes them; float16 works"
        if card[0] == 12 and compute_type in ("auto", "default")
        else "",
    )


def _supports(compute_type: str, card: tuple[int, int]) -> bool:
    int8 = card >= (7, 0) or card == (6, 1)
    float16, bfloat16 = card >= (7, 0), card >= (8, 0)
    return {
        "int8": int8,
        "int8_float32": int8,
        "int8_float16": int8 and float16,
        "int8_bfloat16": int8 and bfloat16,
        "int16": False,
        "float16": float16,
        "bfloat16": bfloat16,
    }.get(compute_type, True)


def _pair(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor.split(".")[0] or "0")
