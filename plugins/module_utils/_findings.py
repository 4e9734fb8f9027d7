# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a check found, and the two ways to end a module: the collection's common tongue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from ._things import told

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


class Status(str, Enum):  # no StrEnum: hosts may have Python 3.9
    """How a finding is to be taken, from best to worst."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    REFUSED = "refused"


STOPS = (Status.UNKNOWN, Status.REFUSED)


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    check: identifier of what was looked at, lower case with dots (``cuda.requirement``, ``nfs.export``).
    status: see :class:`Status`.
    subject: the object it is about (``node gpu-1``, ``/srv/nfs-ssd/portal-stt on pve``).
    message: what was found, in one sentence.
    remedy: what the operator does next; empty when nothing needs doing.
    evidence: further lines, one fact each.
    """

    check: str
    status: Status
    subject: str
    message: str
    remedy: str = ""
    evidence: tuple[str, ...] = field(default=())

    def as_result(self) -> dict[str, Any]:
        """The finding as a module returns it: plain strings and lists."""
        return {**asdict(self), "status": self.status.value, "evidence": list(self.evidence)}

    def __str__(self) -> str:
        facts = "".join(f"\n  {fact}" for fact in self.evidence)
        separator = "\n" if facts else " "
        return f"{self.subject}: {self.message}{facts}{separator}{self.remedy}".rstrip()


class CollectionError(Exception):
    """What an operator can act on: what happened, where, why, and what to do next.

    check, subject, message, remedy: as in :class:`Finding`; the error becomes one with status `refused`.
    result: further keys for the module's result.
    """

    check = "run"

    def __init__(
        self, subject: str, message: str, remedy: str, *, evidence: tuple[str, ...] = (), **result: Any
    ) -> None:
        super().__init__(message)
        self.subject = subject
        self.message = message
        self.remedy = remedy
        self.evidence = evidence
        self.result = result

    def __str__(self) -> str:
        return str(self.finding)

    @property
    def finding(self) -> Finding:
        """The error as a line of a report."""
        return Finding(self.check, Status.REFUSED, self.subject, self.message, self.remedy, tuple(self.evidence))


def named(findings: Iterable[Finding], settings: Mapping[str, str] | None) -> list[Finding]:
    """The findings, their remedies with the names by which the module's user sets things (option `settings`)."""
    return [replace(finding, remedy=told(finding.remedy, settings or {})) for finding in findings]


def fail(module: AnsibleModule, error: CollectionError, findings: list[Finding] | None = None) -> NoReturn:
    """End the module with the error, together with what was found before it."""
    *lines, last = named([*(findings or []), error.finding], module.params.get("settings"))
    module.fail_json(msg=str(last), findings=[line.as_result() for line in (*lines, last)], **error.result)
    raise SystemExit(1)  # not reached: fail_json ends the process


def finish(module: AnsibleModule, findings: list[Finding], **result: Any) -> NoReturn:
    """End a check with its result: as a failure that names whatever is refused or cannot be told."""
    findings = named(findings, module.params.get("settings"))
    result["findings"] = [finding.as_result() for finding in findings]
    stops = [str(finding) for finding in findings if finding.status in STOPS]
    if stops:
        module.fail_json(msg="\n".join(stops), **result)
    module.exit_json(changed=False, **result)
    raise SystemExit(0)  # not reached: exit_json ends the process
