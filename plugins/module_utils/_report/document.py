# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""From registered results to report.json: bounded, plain, and all that its page is made from.

Its schema is docs/report.schema.json. What results hold beside what stands here, arguments and secrets among it, is
left behind: each value is taken by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from .._findings import STOPS, Finding, Status
from . import memory, numbers, rollout, speech, text
from .lines import collect, summary

VERSION = 1
SCHEMA = "https://raw.githubusercontent.com/portal-stt/portal.stt/main/docs/report.schema.json"
MOST_FINDINGS = 500
MOST_EVIDENCE = 60
MOST_GROUPS = 20
MOST_VARIANTS = 40
MOST_CHANGES = 100

_WORST = (Status.REFUSED, Status.UNKNOWN, Status.WARNING, Status.OK)


class Said(TypedDict):
    """A finding. play: in which play it was found."""

    play: str
    check: str
    status: str
    subject: str
    message: str
    remedy: str
    evidence: list[str]


class Group(TypedDict):
    """Nodes that are alike. target: whether the pod can be put there."""

    nodes: str
    product: str
    driver: str
    cuda: str
    target: bool


class Variant(TypedDict):
    """A variant of the image, and its verdict for each group. own: it is the one that is deployed."""

    reference: str
    tag: str
    cuda: str
    own: bool
    verdicts: list[str]


class Images(TypedDict):
    """Which variant would run where."""

    groups: list[Group]
    variants: list[Variant]


class Image(TypedDict):
    """What is deployed."""

    reference: str
    digest: str


class Document(TypedDict):
    """report.json. at: when it was written, UTC; cut: what is left out of it, in words."""

    version: int
    cluster: str
    play: str
    at: str
    verdict: str
    summary: str
    collection: str
    ansible: str
    image: Image | None
    findings: list[Said]
    memory: list[memory.Memory]
    speech: list[speech.Proof]
    rollouts: list[rollout.Rollout]
    images: list[Images]
    changes: list[rollout.Change]
    cut: list[str]


@dataclass(frozen=True)
class Run:
    """What a report is of. results: of this play, an empty one for a task that it never came to. earlier: play →
    results of the plays of the same run before it. at: `2026-11-27T01:41:06Z`. collection, ansible: versions."""

    cluster: str
    play: str
    at: str
    results: Sequence[Mapping[str, Any]]
    earlier: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    collection: str = ""
    ansible: str = ""


def _found_of(run: Run) -> list[Finding]:
    """What the play itself found, and that it did not come to its end, where nothing else says why."""
    found = collect(one for one in run.results if one)
    if not all(run.results) and not any(one.status in STOPS for one in found):
        found.append(Finding("run", Status.REFUSED, run.play, "did not come to its end.", "See the run's own output."))
    return found


def document(run: Run) -> Document:
    """The report of a run."""
    own = _found_of(run)
    plays = {**run.earlier, run.play: run.results}
    said = [(play, one) for play, results in run.earlier.items() for one in collect(one for one in results if one)]
    said = [*((run.play, one) for one in own), *(pair for pair in said if pair[1] not in own)]
    said.sort(key=lambda pair: _WORST.index(pair[1].status))
    flat = {play: list(_flat(results)) for play, results in plays.items()}
    every = [one for results in flat.values() for one in results]
    changed = _unique(change for one in every for change in rollout.changes(one))
    return {
        "version": VERSION,
        "cluster": text.name(run.cluster),
        "play": text.name(run.play),
        "at": text.name(run.at),
        "verdict": min((one.status for one in own), key=_WORST.index, default=Status.OK).value,
        "summary": summary(own),
        "collection": text.name(run.collection),
        "ansible": text.name(run.ansible),
        "image": next(_images_of(every), None),
        "findings": [_said(text.name(play), one) for play, one in said[:MOST_FINDINGS]],
        "memory": [one for play, results in flat.items() for one in memory.memories(text.name(play), results)],
        "speech": [proof for one in every for proof in speech.proofs(one)],
        "rollouts": [found for one in every for found in rollout.rollouts(one)],
        "images": [_judged(one) for one in every if _is_judged(one)],
        "changes": changed[:MOST_CHANGES],
        "cut": [*_cut(len(said), MOST_FINDINGS, "findings"), *_cut(len(changed), MOST_CHANGES, "changes")],
    }


def _cut(there: int, most: int, what: str) -> list[str]:
    return [f"{there - most} of {there} {what} are left out: the run's own output has them."] if there > most else []


def _unique(found: Iterable[rollout.Change]) -> list[rollout.Change]:
    """What is planned first and done later is one change."""
    return list({one["name"]: one for one in found}.values())


def _said(play: str, finding: Finding) -> Said:
    evidence = [text.shown(fact) for fact in finding.evidence[:MOST_EVIDENCE]]
    if len(finding.evidence) > MOST_EVIDENCE:
        evidence.append(f"and {len(finding.evidence) - MOST_EVIDENCE} more lines")
    return {
        "play": play,
        "check": text.name(finding.check),
        "status": finding.status.value,
        "subject": text.shown(finding.subject, text.SHORT),
        "message": text.shown(finding.message),
        "remedy": text.shown(finding.remedy),
        "evidence": evidence,
    }


def _flat(results: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Results, and those of their loops; without skipped ones."""
    for one in results:
        if isinstance(one, Mapping) and not one.get("skipped"):
            yield one
            yield from _flat(numbers.mappings(one.get("results")))


def _images_of(every: Iterable[Mapping[str, Any]]) -> Iterator[Image]:
    """Of a look for each architecture, the first."""
    for one in every:
        image = numbers.mapping(one.get("image"))
        if image.get("reference"):
            yield {"reference": text.name(image["reference"]), "digest": text.name(image.get("digest", ""))}


def _is_judged(result: Mapping[str, Any]) -> bool:
    return bool(numbers.mappings(result.get("verdicts")) and numbers.mappings(result.get("variants")))


def _judged(result: Mapping[str, Any]) -> Images:
    groups = numbers.mappings(result["verdicts"])[:MOST_GROUPS]
    variants = numbers.mappings(result["variants"])[:MOST_VARIANTS]
    return {
        "groups": [
            {
                "nodes": _nodes(group),
                "product": text.name(group.get("product", "")),
                "driver": text.name(group.get("driver", "")),
                "cuda": text.name(group.get("cuda", "")),
                "target": bool(group.get("target", True)),
            }
            for group in groups
        ],
        "variants": [
            {
                "reference": text.name(variant.get("reference", "")),
                "tag": text.name(variant.get("tag", "")),
                "cuda": text.name(variant.get("cuda", "")),
                "own": not number,
                "verdicts": [text.name(one) for one in numbers.items(variant.get("verdicts"))[: len(groups)]],
            }
            for number, variant in enumerate(variants)
        ],
    }


def _nodes(group: Mapping[str, Any]) -> str:
    names = [text.name(one) for one in numbers.items(group.get("nodes"))[:1]]
    count = len(numbers.items(group.get("nodes")))
    if group.get("pool"):
        return f"{text.name(group['pool'])}: {count}"
    return f"{names[0]} and {count - 1} more" if count > 1 else "".join(names)
