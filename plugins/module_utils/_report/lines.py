# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""From registered results to the lines of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._findings import STOPS, Finding, Status

SIGNS = {Status.OK: "√", Status.WARNING: "‼", Status.UNKNOWN: "?", Status.REFUSED: "×"}
WORDS = {
    Status.OK: "fine",
    Status.WARNING: "to know",
    Status.UNKNOWN: "cannot tell",
    Status.REFUSED: "refused",
}


@dataclass(frozen=True)
class Line:
    """One line of text, and the status that colours it (None: plain)."""

    text: str
    status: Status | None = None


def collect(results: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """The findings of all results, in order, each once; a failure without findings becomes one itself."""
    found: dict[Finding, None] = {}
    for result in results:
        if not isinstance(result, Mapping) or result.get("skipped"):
            continue
        if "findings" in result:
            for entry in result["findings"]:
                found[finding_of(entry)] = None
        elif "results" in result:
            found.update(dict.fromkeys(collect(result["results"])))
        elif any(result.get(sign) for sign in ("unreachable", "failed", "failed_when_suppressed_exception")):
            found[_failure(result)] = None
    return list(found)


def is_failed(results: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run failed, or did not come to its end: then a result is empty. All are where it had nothing to do."""
    return any(results) and (not all(results) or any(one.status in STOPS for one in collect(results)))


def render(title: str, findings: Iterable[Finding]) -> list[Line]:
    """The report for a terminal: a line a finding, evidence and remedy below it where something is off."""
    findings = list(findings)
    width = max((len(finding.check) for finding in findings), default=0)
    lines = [Line(title), Line("-" * len(title))]
    for finding in findings:
        head = f"{SIGNS[finding.status]} {finding.check:<{width}}  {finding.subject}: {finding.message}"
        lines.append(Line(head, finding.status))
        indent = " " * (width + 4)
        lines += [Line(f"{indent}{fact}") for fact in finding.evidence]
        if finding.remedy:
            lines.append(Line(f"{indent}→ {finding.remedy}"))
        if finding.status is not Status.OK:
            lines.append(Line(f"{indent}  {place(finding.check)}"))
    return [*lines, Line(summary(findings))]


def place(check: str) -> str:
    """Where the docs say more about a check."""
    return f"docs/checks.md#{check.replace('.', '-').replace('_', '-')}"


def verdict(title: str, findings: Iterable[Finding]) -> tuple[bool, str]:
    """Whether the report fails, and one line for the task's own message: the report has told the rest."""
    findings = list(findings)
    failed = any(finding.status in STOPS for finding in findings)
    return failed, f"{title}: {summary(findings)}" + (", as reported above" if failed else "")


def summary(findings: Iterable[Finding]) -> str:
    """How many there are of each kind, in one line."""
    findings = list(findings)
    counts = [f"{sum(finding.status is status for finding in findings)} {word}" for status, word in WORDS.items()]
    return ", ".join(count for count in counts if not count.startswith("0 ")) or "nothing was looked at"


def finding_of(entry: Mapping[str, Any]) -> Finding:
    """A finding, from a result. Raises KeyError or ValueError where it is none."""
    return Finding(
        str(entry["check"]),
        Status(str(entry["status"])),
        str(entry["subject"]),
        str(entry["message"]),
        str(entry.get("remedy", "")),
        tuple(str(fact) for fact in entry.get("evidence", ())),
    )


def _failure(result: Mapping[str, Any]) -> Finding:
    message = str(result.get("msg", "no message")).strip()
    if result.get("unreachable"):
        return Finding(
            "host.reachable",
            Status.REFUSED,
            str(result.get("host", "the host")),
            f"Ansible cannot reach it: {message}",
            "Check address, SSH user and key (ansible_host, ansible_user) with: ansible HOST -m ping",
        )
    subject = str(result.get("host", "a task"))
    return Finding("run", Status.REFUSED, subject, f"failed: {message}", "See the task's own output above.")
