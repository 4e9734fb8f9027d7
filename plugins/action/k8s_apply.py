# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply: all of it is judged first, in the controller's process where it can; what changes is applied."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError, Result, fail
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import apply as _apply
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.judge import identity
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.ownership import MANAGER, Manifest
from ansible_collections.portal.stt.plugins.plugin_utils.in_process import KUBERNETES, InProcess, core_of

_OWN = {"definition", "existing", "later", "optional", "plan", "settings", "take_over", "unwanted"}
"""Options that are not kubernetes.core's."""


class ActionModule(InProcess):
    """The action behind M(portal.stt.k8s_apply)."""

    core = core_of("k8s_apply", *KUBERNETES)
    _supports_async = False  # two steps

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        with self.quietly():
            return self._run(tmp, task_vars)

    def _run(self, tmp: str | None, task_vars: dict[str, Any] | None) -> Result:
        result = super().run(tmp, task_vars)
        result.pop("invocation", None)
        todo = result.pop("todo", [])
        if result.get("failed") or self._task.check_mode or not todo:
            return result
        by_label = {_apply.label(one): one for one in _apply.parse(self._task.args["definition"])}
        done: list[dict[str, Any]] = []
        for force, some in groupby(todo, key=lambda one: bool(one["force"])):
            manifests = [_without(by_label[one["object"]], scaled=one["scaled"]) for one in some]
            try:
                done += self._apply(manifests, task_vars or {}, force=force)
            except CollectionError as error:
                changed = {"changed": bool(done), "diff": result["diff"][: len(done)]}
                return {**result, **fail(self._task.args, error), **changed}
        now = {(one["kind"], one["namespace"], one["name"]): one for one in [*result["objects"], *map(identity, done)]}
        return {**result, "objects": list(now.values())}

    def _apply(self, manifests: list[Manifest], task_vars: Mapping[str, Any], *, force: bool) -> list[dict[str, Any]]:
        """The objects as stored. Raises ApplyError."""
        result: dict[str, Any] = self._execute_module(
            module_name="kubernetes.core.k8s",
            module_args={
                **{name: value for name, value in self._task.args.items() if name not in _OWN},
                "definition": manifests,
                "apply": True,
                "server_side_apply": {"field_manager": MANAGER, "force_conflicts": force},
                "wait": False,
                "hidden_fields": ["status", "metadata.managedFields"],
            },
            task_vars=task_vars,
        )
        if result.get("failed"):
            raise _apply.explain_failure(manifests, str(result.get("msg", "")))
        entries = [result] if len(manifests) == 1 else result["result"]["results"]
        return [entry["result"] for entry in entries]


def _without(manifest: Manifest, *, scaled: bool) -> Manifest:
    """The manifest without the number of replicas, where that is an autoscaler's."""
    if not scaled:
        return manifest
    return {**manifest, "spec": {name: part for name, part in manifest["spec"].items() if name != "replicas"}}
