# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what was found, one line a finding, and fails when something was refused."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError, Status
from ansible_collections.portal.stt.plugins.module_utils._report.lines import Line, collect, render, verdict

_COLORS = {Status.OK: "green", Status.WARNING: "purple", Status.UNKNOWN: "red", Status.REFUSED: "red"}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action behind M(portal.stt.report)."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"title", "results"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            {
                "title": {"type": "str", "required": True},
                "results": {"type": "list", "elements": "dict", "required": True},
            }
        )
        try:
            findings = collect(args["results"])
        except CollectionError as exc:
            return {"failed": True, "msg": str(exc)}
        display = Display()
        for line in render(args["title"], findings):
            display.display(line.text, color=_color(line))
        failed, message = verdict(args["title"], findings)
        result: dict[str, Any] = {"changed": False, "failed": failed, "msg": message}
        if not failed:  # Ansible prints a failed task's whole result: everything would be told twice
            result["findings"] = [finding.as_result() for finding in findings]
        return result


def _color(line: Line) -> str | None:
    return _COLORS[line.status] if line.status else None
