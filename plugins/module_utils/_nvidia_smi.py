# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Driver and cards as nvidia-smi tells them: what no label can get wrong."""

from __future__ import annotations

import re
from dataclasses import replace

from ._findings import CollectionError
from ._gpu_nodes import ALL_BRANDS, GpuNode, possible_brands

# The compute capability is in the first alone, and unknown to drivers before 510; all else is in the second.
QUERY = ("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
FULL = ("nvidia-smi", "-q")

_CAPABILITY = re.compile(r"^(\d+\.\d+)$", re.MULTILINE)
_FIELD = re.compile(r"^ *(Driver Version|CUDA Version|Product Name|Product Brand) +: (.+?) *$", re.MULTILINE)
_MEMORY = re.compile(r"^ *FB Memory Usage\n *Total +: (\d+) MiB", re.MULTILINE)


class DriverUnreadableError(CollectionError):
    """nvidia-smi did not tell: driver down, no GPU in the container, or no nvidia-smi."""

    check = "gpu.driver"


def read_cards(output: str, node: GpuNode) -> GpuNode:
    """The node with what the output of QUERY followed by that of FULL says of it.

    Raises DriverUnreadableError with nvidia-smi's own words.
    """
    found: dict[str, list[str]] = {}
    for name, value in _FIELD.findall(output):
        found.setdefault(name, []).append(value)
    driver = next(iter(found.get("Driver Version", ())), "")
    names, capabilities, memory = found.get("Product Name", []), _CAPABILITY.findall(output), _MEMORY.findall(output)
    if not driver or not names:
        said = " ".join(output.split())[:300].rstrip(".") or "nothing"
        raise DriverUnreadableError(
            f"node {node.name}",
            f"nvidia-smi gives no driver version or no GPU; it says: {said}.",
            "Look at the kernel's log there (dmesg | grep -i nvrm), and at the driver's pod where the GPU Operator "
            "installs it.",
        )
    cuda = next(iter(found.get("CUDA Version", ())), "")
    brands = found.get("Product Brand", [])
    problems = [problem for problem in node.problems if problem not in ("no_labels", "partial_labels", "stale_labels")]
    if len(set(names)) > 1 or len(set(capabilities)) > 1:
        problems.append("mixed")
    return replace(
        node,
        product=node.product or names[0].replace(" ", "-"),
        brands=(_brand(brands[0]),) if brands else node.brands or possible_brands(names[0].replace(" ", "-")),
        driver=driver,
        cuda=cuda if re.fullmatch(r"\d+\.\d+", cuda) else node.cuda,
        compute_capability=capabilities[0] if capabilities else node.compute_capability,
        memory_mib=int(memory[0]) if memory else node.memory_mib,
        gpus=len(names),
        source="nvidia-smi",
        problems=tuple(problems),
    )


def _brand(text: str) -> str:
    """libnvidia-container's spelling of nvidia-smi's: ``NVIDIA RTX`` is NvidiaRTX."""
    plain = text.replace(" ", "").lower()
    return next((brand for brand in ALL_BRANDS if brand.lower() == plain), "Unknown")
