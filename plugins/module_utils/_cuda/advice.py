# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The verdicts for an operator: as a table, as findings, with the variant to take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._findings import Finding, Status
from .._gpu.node import GpuNode, named
from .verdict import ORDER, CudaImage, Group, Kind, Terms, judge_all, sort_key

_STATUS = {
    Kind.NATIVE: Status.OK,
    Kind.ALLOWED: Status.WARNING,
    Kind.UNKNOWN: Status.UNKNOWN,
    Kind.REFUSED: Status.REFUSED,
}


@dataclass(frozen=True)
class Advice:
    """A published variant and its worst verdict on the target nodes."""

    image: CudaImage
    kind: Kind

    def as_result(self) -> dict[str, str]:
        """The advice as a module returns it."""
        return {
            "reference": self.image.reference,
            "tag": self.image.tag,
            "cuda": self.image.cuda,
            "verdict": self.kind.value,
        }


def advise(variants: Iterable[CudaImage], nodes: Sequence[GpuNode], terms: Terms) -> list[Advice]:
    """The variants that would run on all nodes that the pod can be put on: native before allowed, newest CUDA first."""
    targets = [node for node in nodes if node.target]
    judged = []
    for variant in variants:
        kinds = [group.verdict.kind for group in judge_all(variant, targets, terms)]
        judged.append(Advice(variant, max(kinds, key=ORDER.index, default=Kind.UNKNOWN)))
    good = [advice for advice in judged if advice.kind in (Kind.NATIVE, Kind.ALLOWED)]
    newest = sorted(good, key=lambda advice: sort_key(advice.image.cuda), reverse=True)
    return sorted(newest, key=lambda advice: ORDER.index(advice.kind))


def matrix(
    image: CudaImage, variants: Iterable[CudaImage], groups: Sequence[Group], terms: Terms
) -> list[dict[str, object]]:
    """The image and its variants, each with its verdict for each group of like nodes, as a module returns it."""
    every = {one.tag: one for one in (image, *variants)}
    return [
        {
            "reference": one.reference,
            "tag": one.tag,
            "cuda": one.cuda,
            "verdicts": [judge_all(one, group.nodes[:1], terms)[0].verdict.kind.value for group in groups],
        }
        for one in every.values()
    ]


def findings(
    image: CudaImage,
    groups: Sequence[Group],
    variants: Sequence[CudaImage],
    terms: Terms,
    *,
    accept_unknown: bool = False,
) -> list[Finding]:
    """The table, then one finding a group of nodes, with the variant to take where the image is not native.

    accept_unknown: what cannot be told is then a warning.
    """
    found = []
    targets = [group for group in groups if group.target]
    nodes = [node for group in groups for node in group.nodes]
    if nodes:
        compared = f"compared with {len(nodes)} GPU {'node' if len(nodes) == 1 else 'nodes'}:"
        found.append(
            Finding("cuda.nodes", Status.OK, f"image {image.reference}", compared, evidence=tuple(table(groups)))
        )
    if not targets:
        found.append(
            Finding(
                "cuda.requirement",
                Status.REFUSED,
                f"image {image.reference}",
                "there is no GPU node that its pod could be put on.",
                "Look at what portal.stt.gpu_node_info found, or name another label_selector for it.",
            )
        )
    everywhere = advise(variants, nodes, terms)
    others = any(group.verdict.kind in (Kind.NATIVE, Kind.ALLOWED) for group in targets)
    for group in groups:
        if not group.target:
            found.append(
                Finding(
                    "cuda.requirement",
                    Status.OK,
                    f"image {image.reference} on {named(list(group.nodes))} ({group.nodes[0].card})",
                    f"left out, since {group.left_out}; it would be {group.verdict.kind.value}: {group.verdict.reason}",
                )
            )
            continue
        verdict = group.verdict
        take = _take(image, verdict.kind, everywhere, advise(variants, group.nodes[:1], terms))
        remedy = verdict.remedy
        leave = "Leave these nodes out by the node selector" if others and verdict.kind is Kind.REFUSED else ""
        ways = [way.rstrip(".") for way in (take, remedy, leave) if way]
        remedy = "; or ".join([*ways[:1], *(f"{way[0].lower()}{way[1:]}" for way in ways[1:])]) + "." * bool(ways)
        if verdict.assumed and _STATUS[verdict.kind] is not Status.OK:
            remedy = f"{remedy} Where you know the runtime's mode, set [runtime_mode].".lstrip()
        accepted = accept_unknown and verdict.kind is Kind.UNKNOWN
        said = f"the runtime would end with: {verdict.runtime_message}" if verdict.runtime_message else ""
        found.append(
            Finding(
                "cuda.requirement",
                Status.WARNING if accepted else _STATUS[verdict.kind],
                f"image {image.reference} on {named(list(group.nodes))} ({group.nodes[0].card})",
                f"{verdict.kind.value}: {verdict.reason}",
                remedy,
                tuple(line for line in (said, *verdict.notes) if line),
            )
        )
    return found


def _take(image: CudaImage, kind: Kind, everywhere: Sequence[Advice], here: Sequence[Advice]) -> str:
    """The variant that is better than a verdict: one for all target nodes if there is one, else one for these."""
    for advice, where in ((everywhere, "on every target node"), (here, "there, though not on every target node")):
        for one in advice:
            if one.image.tag != image.tag and ORDER.index(one.kind) < ORDER.index(kind):
                return f"Take {one.image.tag} (CUDA {one.image.cuda}), {one.kind.value} {where}"
    return ""


def table(groups: Sequence[Group]) -> list[str]:
    """Lines for a terminal: a heading, then one line a group of like nodes."""
    rows = [("nodes", "card", "driver", "CUDA", "verdict", "by")]
    for group in groups:
        first = group.nodes[0]
        more = f" and {len(group.nodes) - 1} more" if len(group.nodes) > 1 else ""
        rows.append(
            (
                f"{first.pool}: {len(group.nodes)}" if first.pool else f"{first.name}{more}",
                first.product or "?",
                first.driver or "?",
                first.cuda or "?",
                group.verdict.kind.value,
                group.verdict.rule if group.target else f"{group.verdict.rule} (left out)",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
