# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's own output without what an operator need not read."""

from __future__ import annotations

DOCUMENTATION = r"""
name: story
type: stdout
short_description: Ansible's own output, without what only computes
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - The output of P(ansible.builtin.default#callback), without skipped tasks and without tasks that only compute, read
    or include others; a play shows with the first of its tasks that does. With C(-v) everything shows.
  - A task of this collection that fails is told in its own words, once; with C(-v) its whole result shows, too.
  - The last lines name the reports that were written.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
"""

from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.release import __version__ as core

_OURS = "portal.stt."
_QUIET = frozenset(
    (
        "ansible.builtin.assert",
        "ansible.builtin.import_role",
        "ansible.builtin.include_role",
        "ansible.builtin.include_tasks",
        "ansible.builtin.set_fact",
        "ansible.builtin.set_stats",
        "ansible.builtin.validate_argument_spec",
        "portal.stt.controller_check",
        "portal.stt.k8s_read",
        "portal.stt.settings_check",
    )
)
"""What only computes, checks, reads or includes: it shows when it fails or warns."""


class CallbackModule(Default):  # type: ignore[misc]
    """P(ansible.builtin.default#callback), told shorter."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "portal.stt.story"
    _held: Any = None

    def __init__(self) -> None:
        super().__init__()
        self._reports: dict[str, None] = {}

    def get_option(self, option: str, hostvars: Any = None) -> Any:
        """Skipped tasks show with -v only."""
        if option == "display_skipped_hosts" and not self._display.verbosity:
            return False
        return super().get_option(option, hostvars)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """A play shows with the first of its tasks that does."""
        self._play, self._held = play, play
        if self._display.verbosity:
            self._begin()

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._begin()
        super().v2_playbook_on_no_hosts_matched()

    def _print_task_banner(self, task: Any) -> None:
        self._begin()
        super()._print_task_banner(task)

    def _begin(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            super().v2_playbook_on_play_start(held)

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        super()._task_start(task, prefix)
        # What prints lines while it runs has its name above them.
        says = task.resolved_action.startswith(_OURS) and task.resolved_action not in _QUIET and not task.when
        if says and self._last_task_banner != task._uuid:
            self._print_task_banner(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._keep(result)
        if self._shows(result):
            super().v2_runner_on_ok(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if self._shows(result):
            super().v2_runner_item_on_ok(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task of ours has its message: what, where, why and what to do. Its data show with -v."""
        self._keep(result)
        ours = result.task.resolved_action.startswith(_OURS) and "msg" in result.result and not result.task.loop
        if not ours or ignore_errors or self._display.verbosity:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        if self._last_task_banner != result.task._uuid:
            self._print_task_banner(result.task)
        line = f"fatal: [{self.host_label(result)}]: {result.result['msg']}"
        self._display.display(line, color=constants.COLOR_ERROR, stderr=self.get_option("display_failed_stderr"))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        super().v2_playbook_on_stats(stats)
        for path in self._reports:
            self._display.display(f"Report: {path}")

    def _keep(self, result: Any) -> None:
        """A page that was written is named at the end, where it is seen."""
        if result.task.resolved_action == f"{_OURS}report" and result.result.get("report"):
            self._reports[str(result.result["report"])] = None

    def _shows(self, result: Any) -> bool:
        tells = result.result.get("changed") or result.result.get("warnings")
        return bool(self._display.verbosity or tells or result.task.resolved_action not in _QUIET)


if tuple(int(part) for part in core.split(".")[:2]) < (2, 19):
    # What an old ansible-core is told has to be seen there: by the way it prints itself.
    for _name in ("get_option", "_task_start", "v2_runner_on_ok", "v2_runner_item_on_ok", "v2_playbook_on_include",
                  "v2_runner_on_failed", "v2_playbook_on_play_start", "v2_playbook_on_no_hosts_matched",
                  "_print_task_banner", "v2_playbook_on_stats"):  # fmt: skip
        delattr(CallbackModule, _name)
