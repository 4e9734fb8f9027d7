# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a task found, and the ways to end it: the collection's common tongue."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from ._text import visible
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


Result = dict[str, Any]
"""What a task returns: plain data, always with ``changed`` and ``findings``."""

Say = Callable[[str], None]
"""Shows one line of progress at once."""

Run = Callable[..., Result]
"""A task's core, ``run(params, *, check_mode, say)``: the validated arguments, whether nothing may change, and where
lines of progress go, None for nowhere. It may raise CollectionError."""

SETTINGS: dict[str, Any] = {"settings": {"type": "dict", "default": {}}}
"""The option by which whoever runs a module says how it calls things (fragment `portal.stt.settings`)."""


def succeed(params: Mapping[str, Any], findings: Iterable[Finding], **result: Any) -> Result:
    """A task's result with what it found, whatever that is. The one place that puts names into remedies."""
    names = params.get("settings") or {}
    given = {str(thing): str(name) for thing, name in names.items() if name}
    told_findings = [_fit(replace(finding, remedy=told(finding.remedy, given))) for finding in findings]
    return {"changed": False, **result, "findings": [finding.as_result() for finding in told_findings]}


def _fit(finding: Finding) -> Finding:
    """The finding as a terminal can have it: of its words, some are those of a cluster, a registry or a server."""
    return replace(
        finding,
        subject=visible(finding.subject),
        message=visible(finding.message),
        remedy=visible(finding.remedy),
        evidence=tuple(map(visible, finding.evidence)),
    )


def judge(params: Mapping[str, Any], findings: Iterable[Finding], **result: Any) -> Result:
    """A check's result: a failure that names whatever is refused or cannot be told."""
    ended = succeed(params, findings, **result)
    stops = [line for line in map(_line, ended["findings"]) if line.status in STOPS]
    return {**ended, "failed": True, "msg": "\n".join(map(str, stops))} if stops else ended


def fail(params: Mapping[str, Any], error: CollectionError, findings: Iterable[Finding] = (), **result: Any) -> Result:
    """The failure that an error is, together with what was found before it."""
    ended = succeed(params, [*findings, error.finding], **{**result, **error.result})
    return {**ended, "failed": True, "msg": str(_line(ended["findings"][-1]))}


def attempt(run: Run, params: Mapping[str, Any], *, check_mode: bool, say: Say | None = None) -> Result:
    """What a task's core returns; its errors, and defects of ours, as failures."""
    try:
        return run(params, check_mode=check_mode, say=say)
    except CollectionError as error:
        return fail(params, error)
    except Exception as exc:
        said = f"{type(exc).__name__}: {exc}".rstrip(": ")
        defect = CollectionError(
            "portal.stt",
            f"a defect of this collection ({said}).",
            "Run again with ANSIBLE_DISPLAY_TRACEBACK=error, and report what that prints.",
        )
        return {**fail(params, defect), "exception": traceback.format_exc()}


def leave(module: AnsibleModule, run: Run) -> NoReturn:
    """Runs a core with the module's arguments, and ends the module with what it returns."""
    result = attempt(run, module.params, check_mode=module.check_mode)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
    raise SystemExit(0)  # not reached: exit_json ends the process


def _line(told_finding: Mapping[str, Any]) -> Finding:
    return Finding(
        **{**told_finding, "status": Status(told_finding["status"]), "evidence": tuple(told_finding["evidence"])}
    )
