# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module, and prints its lines of progress while it watches.

The lines come through a named pipe. It has a second use: when this process ends early (Ctrl-C, a cancelled job),
the module sees that nobody reads any more, and stops too.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action behind M(portal.stt.k8s_rollout)."""

    MODULE = "portal.stt.k8s_rollout"

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        host = str(task_vars.get("inventory_hostname", ""))
        args = dict(self._task.args)
        quiet = str(args.get("progress", True)).lower() in ("false", "no", "off", "0", "n", "f")
        local = self._connection.transport == "local" and not self._play_context.become
        if quiet or not local:
            # The pipe is on this machine: elsewhere the lines come with the result.
            return self._module(args, task_vars)
        with (
            tempfile.TemporaryDirectory(prefix="portal-stt-") as folder,
            _Printer(Path(folder) / "progress", host) as pipe,
        ):
            return self._module({**args, "progress_to": str(pipe)}, task_vars)

    def _module(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars)
        return result


class _Printer:
    """Prints what is written into a named pipe, line by line."""

    def __init__(self, path: Path, host: str) -> None:
        self._path, self._host = path, host

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
        display = Display()
        with open(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                display.display(f"[{self._host}] {line.rstrip()}", color="cyan")
