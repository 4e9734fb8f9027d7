# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a play leaves to whoever comes next: a workflow's later jobs, and the ConfigMap of the last reports."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ._findings import STOPS, CollectionError, Finding, Status
from ._report.lines import collect, finding_of, summary
from ._report.text import name as named
from ._report.text import shown

REPORT_BYTES = 64 * 1024
"""AWX keeps it in its database with each job, and a ConfigMap of five has to stay far below 1 MiB."""
SEATS = 50
"""So many of those who sit in the cards' memory are handed over, the largest."""
NAME = 253
MIB = 10**9
"""A figure of a seat above it is none."""
KEPT = 5
KEPT_BYTES = 900_000
"""A ConfigMap takes 1 MiB."""
LAST = "verify"
"""The play after which there is nothing left to do."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLAY = re.compile(r"[a-z]{1,20}")
_KEY = re.compile(r"(\d{8}T\d{6}Z-[a-z]{1,20})\.(json|html)")
_CLEAN: dict[str, Callable[[str], str]] = {
    "check": named, "status": named, "subject": named, "message": shown, "remedy": shown, "evidence": shown,
}  # fmt: skip
_WORST = (Status.REFUSED, Status.UNKNOWN, Status.WARNING, Status.OK)


def hand_over(play: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The value of `portal_stt`: play, verdict, digest, seats, report.

    results: registered results, an empty one for a task that the play never came to. The verdict is the worst status of
    all findings; it is `refused` where the play did not come to its end, whatever was found until then, or where
    there are no results at all. digest: of the image, "" where no result has it. seats: who sits in the cards' memory,
    the largest first, 50 at most; None where that is not known. The report is cut to 64 KiB of JSON.
    """
    findings = collect(one for one in results if one)
    if not (results and all(results)) and not any(one.status in STOPS for one in findings):
        findings.append(_unfinished(play))
    every = list(_flat(results))
    readings = [one["reading"] for one in every if isinstance(one.get("reading"), Mapping)]
    images = [one["image"] for one in every if isinstance(one.get("image"), Mapping)]
    digest = next((one["digest"] for one in images if _DIGEST.fullmatch(str(one.get("digest", "")))), "")
    return {
        "play": play,
        "verdict": _worst(findings).value,
        "digest": str(digest),
        "seats": next((_largest(one["seats"]) for one in readings if one.get("known")), None),
        "report": _report(findings),
    }


def handed(given: object) -> dict[str, Any]:
    """What an earlier job has handed over, looked at as what comes from outside. Raises CollectionError."""
    try:
        if not isinstance(given, Mapping) or not _PLAY.fullmatch(str(given["play"])):
            raise ValueError
        findings = [finding_of(_written(one)) for one in given["report"]["findings"]]
        Status(str(given["verdict"]))
        if len(json.dumps(given, default=str).encode()) > 2 * REPORT_BYTES:
            raise ValueError
        seats = None if given.get("seats") is None else [_sound(_seat(one)) for one in given["seats"]][:SEATS]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as exc:
        raise CollectionError(
            "portal_stt",
            "is not what a play of this collection hands over.",
            "Run this after one of them, in a workflow; or give it to a run by hand: -e @FILE.",
        ) from exc
    digest, report = _text(given.get("digest")), _report(findings)
    return {
        "play": str(given["play"]),
        "verdict": str(given["verdict"]),
        "digest": digest if _DIGEST.fullmatch(digest) else "",
        "seats": seats,
        "report": {
            **report,
            "summary": named(_text(given["report"].get("summary"))),
            "cut": report["cut"] or named(_text(given["report"].get("cut"))),
        },
    }


def is_good(given: Mapping[str, Any]) -> bool:
    """Whether all has been done and proven: the last play has ended, and nothing was refused."""
    said = [given["verdict"], *(one["status"] for one in given["report"]["findings"])]
    return given["play"] == LAST and not any(Status(one) in STOPS for one in said)


def kept(given: Mapping[str, Any], before: Mapping[str, Any], now: str, cluster: str = "") -> dict[str, str]:
    """The data of the ConfigMap with this report in it, as data and as a page: the last five, fewer of large ones.

    before: its data until now; what is not one of ours is left out. now: `20261127T014106Z`. cluster: its host's name.
    """
    # Here, because every run loads the collection's filters, and this is a tenth of what its start costs.
    from ._report.document import Run, document
    from ._report.page import page

    ours = {name: str(text) for name, text in before.items() if _KEY.fullmatch(name)}
    run = Run(cluster, given["play"], now, [{"findings": given["report"]["findings"]}])
    ours[f"{now}-{given['play']}.json"] = json.dumps(given, ensure_ascii=False, indent=1) + "\n"
    ours[f"{now}-{given['play']}.html"] = page(document(run))
    by_run: dict[str, dict[str, str]] = {}
    for name in sorted(ours, reverse=True):
        by_run.setdefault(name.rpartition(".")[0], {})[name] = ours[name]
    found: dict[str, str] = {}
    for texts in list(by_run.values())[:KEPT]:
        if found and sum(len(text.encode()) for text in (*found.values(), *texts.values())) > KEPT_BYTES:
            break
        found |= texts
    return dict(sorted(found.items()))


def _written(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as it was handed over, without what a terminal would obey.

    AWX marks all text in extra variables as unsafe, and ansible-core 2.19 and newer reads such text as YAML reads what
    has no quotes: nothing where it is empty, a number where it looks like one.
    """
    return {
        name: [shown(_text(one)) for one in value] if isinstance(value, (list, tuple)) else _CLEAN[name](_text(value))
        for name, value in entry.items()
        if name in _CLEAN
    }


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _report(findings: Sequence[Finding]) -> dict[str, Any]:
    """As data: what is refused first, so that it is not what is cut."""
    ordered = sorted(findings, key=lambda one: _WORST.index(one.status))
    report: dict[str, Any] = {"summary": summary(findings), "findings": [], "cut": ""}
    room = REPORT_BYTES - len(json.dumps(report)) - 200  # the words of the cut
    for done, finding in enumerate(ordered):
        entry = finding.as_result()
        room -= len(json.dumps(entry)) + 2
        if room < 0:
            left = len(ordered) - done
            report["cut"] = f"{left} of {len(ordered)} findings are left out: the job's own output has them."
            break
        report["findings"].append(entry)
    return report


def _largest(seats: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of the seats of a reading (gpu_memory_info), in MiB."""
    ordered = sorted(seats, key=lambda one: -max(one["now"], one["peak"] or 0))
    return [
        _seat({"name": f"{one['namespace']}/{one['container']}", "card": one["uuid"], "mib": one["now"],
               "peak_mib": one["peak"]})
        for one in ordered[:SEATS]
    ]  # fmt: skip


def _seat(given: Mapping[str, Any]) -> dict[str, Any]:
    """One that is handed over. Raises KeyError, TypeError or ValueError for what is none."""
    peak = given["peak_mib"]
    return {
        "name": named(_text(given["name"]))[:NAME],
        "card": named(_text(given["card"]))[:NAME],
        "mib": int(given["mib"]),
        "peak_mib": None if peak is None else int(peak),
    }


def _sound(seat: dict[str, Any]) -> dict[str, Any]:
    """The seat. Raises ValueError where it has a figure that no card can show."""
    if not all(0 <= figure <= MIB for figure in (seat["mib"], seat["peak_mib"] or 0)):
        raise ValueError
    return seat


def _worst(findings: Sequence[Finding]) -> Status:
    return min((one.status for one in findings), key=_WORST.index, default=Status.OK)


def _unfinished(play: str) -> Finding:
    return Finding("run", Status.REFUSED, play, "did not come to its end.", "See the job's own output.")


def _flat(results: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Results, and those of their loops."""
    for one in results:
        yield one
        loop = one.get("results")
        if isinstance(loop, (list, tuple)):
            yield from _flat([inner for inner in loop if isinstance(inner, Mapping)])
