# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a play leaves to whoever comes next: a workflow's later jobs, and the ConfigMap of the last reports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._findings import STOPS, CollectionError, Finding, Status
from ._report.lines import collect, finding_of, summary

REPORT_BYTES = 64 * 1024
"""AWX keeps it in its database with each job, and a ConfigMap of five has to stay far below 1 MiB."""
KEPT = 5
LAST = "verify"
"""The play after which there is nothing left to do."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLAY = re.compile(r"[a-z]{1,20}")
_KEY = re.compile(r"\d{8}T\d{6}Z-[a-z]{1,20}\.json")
_WORST = (Status.REFUSED, Status.UNKNOWN, Status.WARNING, Status.OK)


def hand_over(play: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The value of `portal_stt`: play, verdict, digest, seats, report.

    results: registered results, an empty one for a task that the play never came to. The verdict is the worst status of
    all findings; it is `refused` where the play did not come to its end, whatever was found until then, or where
    there are no results at all. digest: of the
    image, "" where no result has it; seats: None where no result has them. The report is cut to 64 KiB of JSON.
    """
    findings = collect(one for one in results if one)
    if not (results and all(results)) and not any(one.status in STOPS for one in findings):
        findings.append(_unfinished(play))
    every = list(_flat(results))
    seats = next((one["seats"] for one in every if _is_number(one.get("seats"))), None)
    images = [one["image"] for one in every if isinstance(one.get("image"), Mapping)]
    digest = next((one["digest"] for one in images if _DIGEST.fullmatch(str(one.get("digest", "")))), "")
    return {
        "play": play,
        "verdict": _worst(findings).value,
        "digest": str(digest),
        "seats": seats,
        "report": _report(findings),
    }


def handed(given: object) -> dict[str, Any]:
    """What an earlier job has handed over, looked at as what comes from outside. Raises CollectionError."""
    try:
        if not isinstance(given, Mapping) or not _PLAY.fullmatch(str(given["play"])):
            raise ValueError
        findings = [finding_of(one) for one in given["report"]["findings"]]
        Status(str(given["verdict"]))
        if len(json.dumps(given["report"]).encode()) > 2 * REPORT_BYTES:
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise CollectionError(
            "portal_stt",
            "is not what a play of this collection hands over.",
            "Run this after one of them, in a workflow; or give it to a run by hand: -e @FILE.",
        ) from exc
    return {
        "play": str(given["play"]),
        "verdict": str(given["verdict"]),
        "digest": str(given.get("digest", "")),
        "seats": given.get("seats") if _is_number(given.get("seats")) else None,
        "report": {**_report(findings), "summary": str(given["report"].get("summary", ""))},
    }


def is_good(given: Mapping[str, Any]) -> bool:
    """Whether all has been done and proven: the last play has ended, and nothing was refused."""
    return given["play"] == LAST and Status(given["verdict"]) not in STOPS


def kept(given: Mapping[str, Any], before: Mapping[str, Any], now: str) -> dict[str, str]:
    """The data of the ConfigMap with this report in it: the last five, by the time in their names.

    before: its data until now; what is not one of ours is left out. now: `20261127T014106Z`.
    """
    ours = {name: str(text) for name, text in before.items() if _KEY.fullmatch(name)}
    ours[f"{now}-{given['play']}.json"] = json.dumps(given, ensure_ascii=False, indent=1) + "\n"
    return {name: ours[name] for name in sorted(ours)[-KEPT:]}


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


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
