# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply by kubernetes.core, with a plan on an empty cluster and refusals in words."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.portal.stt.plugins.module_utils import _apply
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError

FIELD_MANAGER = "portal-stt"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action behind M(portal.stt.k8s_apply)."""

    _VALID_ARGS = frozenset(
        {"definition", *AUTH_ARG_SPEC, *(a for s in AUTH_ARG_SPEC.values() for a in s.get("aliases", ()))}
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        auth = {name: value for name, value in self._task.args.items() if name != "definition"}
        try:
            manifests = _apply.parse(self._task.args.get("definition") or [])
            missing = self._missing_namespaces(manifests, auth) if self._task.check_mode else []
            judged, planned = _apply.split(manifests, missing)
            entries = self._apply(judged, auth)
        except CollectionError as exc:
            return {
                "failed": True,
                "msg": str(exc),
                "findings": [exc.finding.as_result()],
                "evidence": list(exc.evidence),
            }
        diffs = [
            _apply.diff(manifest, entry["diff"].get("before"), entry["diff"].get("after"))
            for manifest, entry in zip(judged, entries, strict=True)
            if entry.get("changed") and entry.get("diff")
        ]
        diffs += [_apply.diff(manifest, None, manifest) for manifest in planned]
        changed = [_apply.label(m) for m, entry in zip(judged, entries, strict=True) if entry.get("changed")]
        changed += [_apply.label(manifest) for manifest in planned]
        return {"changed": bool(changed), "objects_changed": changed, "diff": diffs, "findings": []}

    def _missing_namespaces(self, manifests: list[_apply.Manifest], auth: dict[str, Any]) -> list[str]:
        return [
            name
            for name in _apply.namespaces(manifests)
            if not self._call(f"Namespace {name}", "k8s_info", {**auth, "kind": "Namespace", "name": name})["resources"]
        ]

    def _apply(self, manifests: list[_apply.Manifest], auth: dict[str, Any]) -> list[dict[str, Any]]:
        """One result an object, in order. Raises ApplyError at the first refusal."""
        if not manifests:
            return []
        names = ", ".join(_apply.label(manifest) for manifest in manifests)
        result = self._call(
            names,
            "k8s",
            {
                **auth,
                "definition": manifests,
                "apply": True,
                "server_side_apply": {"field_manager": FIELD_MANAGER},
                "wait": False,
                "hidden_fields": ["status", "metadata.managedFields"],
            },
        )
        entries: list[dict[str, Any]] = [result] if len(manifests) == 1 else result["result"]["results"]
        return entries

    def _call(self, subject: str, module: str, args: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=f"kubernetes.core.{module}", module_args=args, task_vars=self._task_vars
        )
        if result.get("failed"):
            raise _apply.explain(subject, str(result.get("msg", "")))
        return result
