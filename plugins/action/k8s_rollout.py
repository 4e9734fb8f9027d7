# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches a rollout, and prints its lines of progress meanwhile.

From another interpreter the lines come through a named pipe. It has a second use: when this process ends early
(Ctrl-C, a cancelled job), the module sees that nobody reads any more, and stops too.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.portal.stt.plugins.module_utils._findings import Result, Say
from ansible_collections.portal.stt.plugins.plugin_utils.in_process import KUBERNETES, InProcess, core_of


class ActionModule(InProcess):
    """The action behind M(portal.stt.k8s_rollout)."""

    core = core_of("k8s_rollout", *KUBERNETES)

    def as_module(self, task_vars: Mapping[str, Any], **further: Any) -> Result:
        """The pipe is on this machine: elsewhere, and in the background, the lines come with the result."""
        quiet = not boolean(self._task.args.get("progress", True), strict=False)
        local = self._connection.transport == "local" and not self._play_context.become
        if quiet or not local or self._task.async_val:
            return super().as_module(task_vars, **further)
        with (
            tempfile.TemporaryDirectory(prefix="portal-stt-") as folder,
            _Printer(Path(folder) / "progress", self.sayer(task_vars)) as pipe,
        ):
            return super().as_module(task_vars, **further, progress_to=str(pipe))


class _Printer:
    """Prints what is written into a named pipe, line by line."""

    def __init__(self, path: Path, say: Say) -> None:
        self._path, self._say = path, say

    def __enter__(self) -> Path:
        os.mkfifo(self._path, 0o600)
        reader = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        self._keep = os.open(self._path, os.O_WRONLY)  # no end of file before the module has opened it
        os.set_blocking(reader, True)
        self._thread = threading.Thread(target=self._print, args=(reader,), daemon=True)
        self._thread.start()
        return self._path

    def __exit__(self, *_: object) -> None:
        os.close(self._keep)
        self._thread.join(5)

    def _print(self, reader: int) -> None:
        with open(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._say(line.rstrip())
