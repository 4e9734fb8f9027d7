# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors of NVIDIA's own evaluator: what it answered, to be answered alike.

A file holds `require` (NVIDIA_REQUIRE_CUDA by CUDA version), `dsl_vectors` (one expression on one host) and
`image_matrix` (one of the `require` on one host). `brand: null` means that no GPU is visible.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.portal.stt.plugins.module_utils._cuda.requirement import (
    Device,
    Host,
    RequirementError,
    evaluate,
)

SAMPLE = Path(__file__).parent / "cuda_vectors.json"


@dataclass(frozen=True)
class Vector:
    """One question and NVIDIA's answer (``PASS`` or ``FAIL: `` and the runtime's text)."""

    name: str
    expression: str
    host: Host
    result: str

    def answer(self) -> str:
        """What our evaluator answers."""
        try:
            outcome = evaluate(self.expression, self.host)
        except RequirementError as exc:
            return f"FAIL: {exc}"
        return "PASS" if outcome.satisfied else f"FAIL: {outcome.message}"


def load(path: Path) -> Iterator[Vector]:
    """Every vector of a file; where it has no `require`, the sample's are meant.

    Raises OSError when it cannot be read, ValueError with what is wrong in it.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    try:
        for case in content.get("dsl_vectors", []):
            yield _vector(repr(case["expr"]), case["expr"], case)
        require = content.get("require") or json.loads(SAMPLE.read_text(encoding="utf-8"))["require"]
        for case in content.get("image_matrix", []):
            yield _vector(f"image {case['image']}", require[case["image"]], case)
    except KeyError as exc:
        raise ValueError(f"a vector lacks {exc}, or names an image that `require` has not") from exc
    except (AttributeError, TypeError) as exc:
        raise ValueError(f"not a file of vectors: {exc}") from exc


def _vector(name: str, expression: str, case: dict[str, str | None]) -> Vector:
    brand, arch = case.get("brand"), case.get("arch") or "7.5"
    host = Host(case["cuda"], case["driver"], Device(arch, brand) if brand is not None else None)
    return Vector(f"{name} on {brand} {host.driver}, CUDA {host.cuda}", expression, host, str(case["result"]))
