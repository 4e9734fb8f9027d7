# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Driver and cards as nvidia-smi tells them: what no label can get wrong."""

from __future__ import annotations

import re
from dataclasses import replace

from .._findings import CollectionError
from .._text import plain
from .node import ALL_BRANDS, Card, GpuNode, possible_brands, readable, unlike

# The compute capability is in the first alone, and unknown to drivers before 510; all else is in the second.
QUERY = ("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
FULL = ("nvidia-smi", "-q")

_CAPABILITY = re.compile(r"^(\d{1,3}\.\d{1,2})$", re.MULTILINE)
_FIELD = re.compile(r"^ *(Driver Version|CUDA Version|Product Name|Product Brand) +: (.+?) *$", re.MULTILINE)
_GPU = re.compile(r"^(?= *Product Name +:)", re.MULTILINE)  # where each GPU's fields begin
_MEMORY = re.compile(r"^ *FB Memory Usage\n *Total +: (\d{1,9}) MiB", re.MULTILINE)


class DriverUnreadableError(CollectionError):
    """nvidia-smi did not tell: driver down, no GPU in the container, or no nvidia-smi."""

    check = "gpu.driver"


def read_cards(output: str, node: GpuNode) -> GpuNode:
    """The node with what the output of QUERY followed by that of FULL says of it.

    Raises DriverUnreadableError with nvidia-smi's own words.
    """
    head, *gpus = (dict(_FIELD.findall(part)) for part in _GPU.split(output))
    driver, cuda = readable(head.get("Driver Version", "")), head.get("CUDA Version", "")
    capabilities, memory = _CAPABILITY.findall(output), _MEMORY.findall(output)
    if not driver or not gpus:
        said = plain(" ".join(output[:4096].split())).rstrip(".") or "nothing"
        raise DriverUnreadableError(
            f"node {node.name}",
            f"nvidia-smi gives no driver version or no GPU; it says: {said}.",
            "Look at the kernel's log there (dmesg | grep -i nvrm), and at the driver's pod where the GPU Operator "
            "installs it.",
        )
    if len(capabilities) != len(gpus):
        capabilities = [""] * len(gpus)
    cards = [_card(*one) for one in zip(gpus, capabilities)]
    kinds = unlike(cards)
    answered = ("no_labels", "partial_labels", "stale_labels", "mixed")
    problems = [problem for problem in node.problems if problem not in answered]
    return replace(
        node,
        product=node.product or cards[0].product,
        brands=cards[0].brands if "Product Brand" in gpus[0] else node.brands or cards[0].brands,
        driver=driver,
        cuda=cuda if re.fullmatch(r"\d{1,3}\.\d{1,2}", cuda) else node.cuda,
        compute_capability=cards[0].compute_capability or node.compute_capability,
        memory_mib=int(memory[0]) if memory else node.memory_mib,
        gpus=len(gpus),
        cards=kinds,
        source="nvidia-smi",
        problems=(*problems, "mixed") if kinds else tuple(problems),
    )


def _card(fields: dict[str, str], capability: str) -> Card:
    product, brand = plain(fields["Product Name"], 100).replace(" ", "-"), fields.get("Product Brand")
    return Card(product, (_brand(brand),) if brand else possible_brands(product), capability)


def _brand(text: str) -> str:
    """libnvidia-container's spelling of nvidia-smi's: ``NVIDIA RTX`` is NvidiaRTX."""
    plain = text.replace(" ", "").lower()
    return next((brand for brand in ALL_BRANDS if brand.lower() == plain), "Unknown")
