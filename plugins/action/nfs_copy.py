# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes to the host what M(portal.stt.nfs_copy) says is missing there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.portal.stt.plugins.module_utils._exports.copies import Wanted, listed
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError, Result, fail


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action behind M(portal.stt.nfs_copy)."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        args = self._task.args
        try:
            found = listed(Path(str(args.get("src", ""))), str(args.get("dest", "")))
        except CollectionError as error:
            return fail({}, error)
        result = self._asked([file for _, file in found], task_vars)
        if result.get("failed") or not result["changed"] or self._task.check_mode:
            return result
        needed = set(result["needed"])
        brought = [self._brought(at, file, index) for index, (at, file) in enumerate(found) if file.path in needed]
        kept = [file for _, file in found if file.path not in needed]
        return self._asked([*kept, *brought], task_vars, put=True)

    def _brought(self, path: Path, file: Wanted, index: int) -> Wanted:
        shell = self._connection._shell
        there = self._transfer_file(str(path), shell.join_path(shell.tmpdir, f"copy-{index}"))
        self._fixup_perms2((shell.tmpdir, there))
        return replace(file, source=there)

    def _asked(self, files: list[Wanted], task_vars: dict[str, Any] | None, *, put: bool = False) -> Result:
        listing = [{"path": file.path, "sha256": file.digest, "source": file.source} for file in files]
        args = {**self._task.args, "files": listing, "put": put}
        result: Result = self._execute_module("portal.stt.nfs_copy", module_args=args, task_vars=task_vars)
        return result
