# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply by kubernetes.core: all of it is tried first, so that a refusal changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import apply as _apply

FIELD_MANAGER = "portal-stt"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action behind M(portal.stt.k8s_apply)."""

    _VALID_ARGS = frozenset(
        {"definition", *AUTH_ARG_SPEC, *(a for s in AUTH_ARG_SPEC.values() for a in s.get("aliases", ()))}
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        self._auth = {name: value for name, value in self._task.args.items() if name != "definition"}
        try:
            manifests = _apply.parse(self._task.args.get("definition") or [])
            judged, planned = _apply.split(manifests, self._missing_namespaces(manifests))
            plan = self._apply(judged, check_mode=True)
        except CollectionError as exc:
            return _failure([exc])
        refusals = _refusals(plan)
        if refusals:
            return _failure(refusals)
        changed = [(manifest, entry) for manifest, entry in plan if entry.get("changed")]
        changed += [(manifest, {"diff": {"after": manifest}}) for manifest in planned]
        if changed and not self._task.check_mode:
            try:
                refusals = _refusals(self._apply(manifests, check_mode=False))
            except CollectionError as exc:
                return _failure([exc])
            if refusals:
                return _failure(refusals)
        return {
            "changed": bool(changed),
            "objects_changed": [_apply.label(manifest) for manifest, _ in changed],
            "diff": [_apply.diff(manifest, entry.get("diff") or {}) for manifest, entry in changed],
            "findings": [],
        }

    def _missing_namespaces(self, manifests: list[_apply.Manifest]) -> list[str]:
        found = {
            name: self._call("k8s_info", {"kind": "Namespace", "name": name}, check_mode=True)
            for name in _apply.namespaces(manifests)
        }
        for name, result in found.items():
            if result.get("failed"):
                raise _apply.explain(f"Namespace {name}", {"error": result})
        return [name for name, result in found.items() if not result["resources"]]

    def _apply(
        self, manifests: list[_apply.Manifest], *, check_mode: bool
    ) -> list[tuple[_apply.Manifest, dict[str, Any]]]:
        """Each object with its result; an object that was refused has an ``error`` in it."""
        if not manifests:
            return []
        result = self._call(
            "k8s",
            {
                "definition": manifests,
                "apply": True,
                "server_side_apply": {"field_manager": FIELD_MANAGER},
                "wait": False,
                "hidden_fields": ["status", "metadata.managedFields"],
                "continue_on_error": check_mode,
            },
            check_mode=check_mode,
        )
        if result.get("failed"):
            raise _apply.explain(", ".join(map(_apply.label, manifests)), {"error": result})
        return list(zip(manifests, [result] if len(manifests) == 1 else result["result"]["results"], strict=True))

    def _call(self, module: str, args: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
        task = self._task
        asked = task.check_mode, task.diff
        task.check_mode, task.diff = check_mode, True
        try:
            result: dict[str, Any] = self._execute_module(
                module_name=f"kubernetes.core.{module}", module_args={**self._auth, **args}, task_vars=self._task_vars
            )
        finally:
            task.check_mode, task.diff = asked
        return result


def _refusals(results: Sequence[tuple[_apply.Manifest, dict[str, Any]]]) -> list[CollectionError]:
    """Why objects were refused, an error each."""
    return [_apply.explain(_apply.label(manifest), entry) for manifest, entry in results if "error" in entry]


def _failure(errors: Sequence[CollectionError]) -> dict[str, Any]:
    return {
        "failed": True,
        "msg": "\n".join(str(error) for error in errors),
        "findings": [error.finding.as_result() for error in errors],
    }
