# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/cuda.md: Speaches' images on the cards that people have, each cell explained.

`python -m tests.vectors.matrix` writes it into the document; a unit test holds the document to it.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from ansible_collections.portal.stt.plugins.module_utils._cuda.verdict import CudaImage, Kind, Terms, Verdict, judge
from ansible_collections.portal.stt.plugins.module_utils._gpu.node import GpuNode, possible_brands

from . import SAMPLE

DOCUMENT = Path(__file__).parents[2] / "docs" / "cuda.md"
BEGIN, END = "<!-- begin of the generated table -->\n", "<!-- end of the generated table -->\n"
DAY = date(2026, 11, 1)
TAG = "0.9.0-rc.3"

_SIGNS = {Kind.NATIVE: "native", Kind.ALLOWED: "*allowed*", Kind.UNKNOWN: "unknown", Kind.REFUSED: "**refused**"}


def card(title: str, product: str, driver: str, cuda: str, capability: str) -> tuple[str, GpuNode]:
    node = GpuNode(
        title,
        product=product,
        brands=possible_brands(product),
        driver=driver,
        cuda=cuda,
        compute_capability=capability,
        architecture="amd64",
    )
    return title, node


def image(variant: str, cuda: str) -> CudaImage:
    """A Speaches image, with the environment of the nvidia/cuda image that it is built on."""
    require = json.loads(SAMPLE.read_text())["require"]
    env = {"CUDA_VERSION": cuda, "NVIDIA_REQUIRE_CUDA": require[cuda]} if cuda else {}
    tag = f"{TAG}-{variant}"
    return CudaImage.from_result(
        {
            "reference": f"ghcr.io/speaches-ai/speaches:{tag}",
            "tag": tag,
            "env": env,
            "platforms": ["linux/amd64"],
            "cuda_compat": ".".join(cuda.split(".")[:2]),  # nvidia/cuda images install cuda-compat of their version
        }
    )


CARDS = dict(
    (
        card("T4, driver 570.195.03", "Tesla-T4", "570.195.03", "12.8", "7.5"),
        card("T4, driver 535.274.02", "Tesla-T4", "535.274.02", "12.2", "7.5"),
        card("RTX 3060, driver 570.195.03", "NVIDIA-GeForce-RTX-3060", "570.195.03", "12.8", "8.6"),
        card("GTX 1070, driver 580.95.05", "NVIDIA-GeForce-GTX-1070", "580.95.05", "13.0", "6.1"),
        card("A100, driver 525.147.05", "NVIDIA-A100-SXM4-80GB", "525.147.05", "12.0", "8.0"),
        card("H100, driver 550.163.01", "NVIDIA-H100-80GB-HBM3", "550.163.01", "12.4", "9.0"),
        card("no label", "", "", "", ""),
    )
)
IMAGES = {
    variant: image(variant, cuda)
    for variant, cuda in (
        ("cuda", "12.9.0"),
        ("cuda-12.6.3", "12.6.3"),
        ("cuda-12.4.1", "12.4.1"),
        ("cpu", ""),
    )
}


def verdict(title: str, variant: str, mode: str) -> Verdict:
    """One cell."""
    return judge(IMAGES[variant], CARDS[title], Terms(mode, DAY, "int8"))


def generated() -> str:
    """The tables and the explanation of every cell, as Markdown."""
    lines: list[str] = []
    for mode, heading in (
        ("legacy", "Runtime in legacy mode: NVIDIA's gate, then the driver"),
        ("cdi", "Runtime in CDI mode: no gate, the driver alone"),
    ):
        lines += [f"### {heading}", "", "| card and driver | " + " | ".join(f"`-{name}`" for name in IMAGES) + " |"]
        lines += ["|---" * (len(IMAGES) + 1) + "|"]
        for title in CARDS:
            cells = [_SIGNS[verdict(title, variant, mode).kind] for variant in IMAGES]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["### Why", ""]
    for title in CARDS:
        lines += [f"**{title}**", ""]
        for variant in IMAGES:
            lines += _explained(variant, verdict(title, variant, "legacy"), verdict(title, variant, "cdi"))
        lines.append("")
    return "\n".join(lines)


def _explained(variant: str, legacy: Verdict, cdi: Verdict) -> list[str]:
    lines = [f"- `-{variant}`: {_SIGNS[legacy.kind]}: {legacy.reason}"]
    if legacy.runtime_message:
        lines.append(f"  The pod's event will have: `{legacy.runtime_message}`.")
    lines += [f"  {note[0].upper()}{note[1:]}" for note in legacy.notes]
    if cdi.kind is not legacy.kind:
        lines.append(f"  In CDI mode {_SIGNS[cdi.kind]}: {cdi.reason}")
    return lines


def document() -> str:
    """The document with the table of today's code."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{generated()}{END}{tail}"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
