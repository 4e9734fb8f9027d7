# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks whether what runs the plays has what they need. Nothing that could be missing is imported."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.release import __version__ as core
from ansible_collections.portal.stt.plugins.module_utils import _controller
from ansible_collections.portal.stt.plugins.module_utils._findings import STOPS, Status
from ansible_collections.portal.stt.plugins.module_utils._here import in_execution_environment


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action behind M(portal.stt.controller_check)."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset[str]()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        seen = _look()
        found = _controller.judge(seen)
        stops = [str(one) for one in found if one.status in STOPS]
        result: dict[str, Any] = {"changed": False, "findings": [one.as_result() for one in found]}
        if warnings := [str(one) for one in found if one.status is Status.WARNING]:
            result["warnings"] = warnings
        if stops:
            message = "\n".join(["Nothing was done: the plays cannot run here.", *stops])
            return {**result, "failed": True, "msg": message}
        versions = {"ansible-core": seen.core, **seen.collections, **seen.libraries}
        return {**result, "versions": versions, "msg": "All that the plays need is there."}


def _look() -> _controller.Seen:
    return _controller.Seen(
        core=core,
        collections={name: _collection(name) for name in _controller.COLLECTIONS},
        libraries={name: _library(name) for name in _controller.LIBRARIES},
        interpreter=sys.executable,
        in_environment=in_execution_environment(),
        verify_ssl=os.environ.get("K8S_AUTH_VERIFY_SSL", ""),
    )


def _library(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _collection(name: str) -> str:
    """Its version, "*" where it says none (a checkout), "" where it is not there."""
    try:
        spec = importlib.util.find_spec(f"ansible_collections.{name}")
    except ImportError:
        return ""
    for place in (spec.submodule_search_locations or []) if spec else []:
        try:
            told = json.loads((Path(place) / "MANIFEST.json").read_text(encoding="utf-8"))
            return str(told["collection_info"]["version"])
        except (OSError, ValueError, KeyError):
            continue
    return "*" if spec else ""
