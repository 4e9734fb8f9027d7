# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what was found, one line a finding, keeps it as a file, and fails when something was refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.ansible_release import __version__ as core
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError, Status
from ansible_collections.portal.stt.plugins.module_utils._report.lines import Line, collect, is_failed, render, verdict

_COLORS = {Status.OK: "green", Status.WARNING: "purple", Status.UNKNOWN: "red", Status.REFUSED: "red"}
_IN_AWX = ("awx_job_id", "tower_job_id")

ARGUMENTS: dict[str, Any] = {
    "title": {"type": "str", "required": True},
    "results": {"type": "list", "elements": "dict", "required": True},
    "show": {"type": "bool", "default": True},
    "file": {
        "type": "dict",
        "options": {
            "play": {"type": "str", "required": True},
            "directory": {"type": "str"},
            "earlier": {"type": "dict", "default": {}},
            "only_failed": {"type": "bool", "default": False},
        },
    },
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action behind M(portal.stt.report)."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(ARGUMENTS)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(ARGUMENTS)
        try:
            findings = collect(one for one in args["results"] if one)
        except CollectionError as exc:
            return {"failed": True, "msg": str(exc)}
        if args["show"]:
            for line in render(args["title"], findings):
                _say(line)
        kept = self._kept(args, task_vars or {}) if args["file"] else {}
        failed, message = verdict(args["title"], findings)
        if not args["show"]:
            return {"changed": False, "msg": kept.get("report") or "No report was written.", **kept}
        result: dict[str, Any] = {"changed": False, "failed": failed, "msg": message, **kept}
        if not failed:  # Ansible prints a failed task's whole result: everything would be told twice
            result["findings"] = [finding.as_result() for finding in findings]
        return result

    def _kept(self, args: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, str]:
        """Writes the report and says where; what prevents it is told, and changes nothing of the verdict."""
        file, cluster = args["file"], str(task_vars.get("inventory_hostname", ""))
        directory = file["directory"]
        if directory == "" or (directory is None and any(name in task_vars for name in _IN_AWX)):
            return {}
        if file["only_failed"] and not is_failed(args["results"]):
            return {}
        # Here, because a run that writes no report does without: they are a tenth of what its start costs.
        from ansible_collections.portal.stt.plugins.module_utils._report.document import Run, document
        from ansible_collections.portal.stt.plugins.module_utils._report.files import folder, version, write

        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        run = Run(cluster, file["play"], at, args["results"], file["earlier"], version(), core)
        if self._task.check_mode:
            _say(Line("No report is written in check mode."))
            return {}
        sources = [str(one) for one in task_vars.get("ansible_inventory_sources") or ()]
        place: object = directory
        try:
            place = folder(directory, sources, cluster)
            path = str(write(document(run), place))
        except (OSError, RuntimeError) as exc:  # the latter for the home of a user whom nobody knows
            said = getattr(exc, "strerror", None) or str(exc).rstrip(".")
            why = f"The report could not be written to {place}: {said}. Set portal_stt_report_dir."
            _say(Line(why, Status.WARNING))  # a warning of Ansible's would be lost where the task fails
            return {}
        _say(Line(f"Report: {path}"))
        return {"report": path}


def _say(line: Line) -> None:
    Display().display(line.text, color=_COLORS[line.status] if line.status else None)
