# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Where an object is on the API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from .cluster import ClusterError

_BUILT_IN = {
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "PersistentVolume"): ("persistentvolumes", False),
    ("v1", "PersistentVolumeClaim"): ("persistentvolumeclaims", True),
    ("v1", "Pod"): ("pods", True),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "Service"): ("services", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("batch/v1", "CronJob"): ("cronjobs", True),
    ("batch/v1", "Job"): ("jobs", True),
    ("networking.k8s.io/v1", "NetworkPolicy"): ("networkpolicies", True),
    ("policy/v1", "PodDisruptionBudget"): ("poddisruptionbudgets", True),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): ("clusterroles", False),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("clusterrolebindings", False),
    ("rbac.authorization.k8s.io/v1", "Role"): ("roles", True),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("rolebindings", True),
}
"""(apiVersion, kind) → plural and whether it is in a namespace: what needs no discovery."""


class Api(Protocol):
    """The part of a cluster that discovery needs."""

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]: ...


class Paths:
    """API paths of objects; kinds that are not built in are asked for, once an API version."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known = dict(_BUILT_IN)
        self._asked: set[str] = set()

    def resource(self, manifest: Mapping[str, Any]) -> tuple[str, bool]:
        """The plural, and whether it is in a namespace. Raises ClusterError: 404 when there is no such kind."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        if (version, kind) not in self._known and version not in self._asked:
            self._asked.add(version)
            for one in self._api.get(_root(version))["resources"]:
                if "/" not in one["name"]:
                    self._known.setdefault((version, one["kind"]), (one["name"], one["namespaced"]))
        if (version, kind) not in self._known:
            raise ClusterError(
                f"kind {kind}",
                f"the API server knows no {kind} in {version}.",
                "Correct apiVersion and kind.",
                status=404,
            )
        return self._known[version, kind]

    def knows(self, manifest: Mapping[str, Any]) -> bool:
        """Whether the API server knows its kind. Raises ClusterError."""
        try:
            self.resource(manifest)
        except ClusterError as error:
            if error.status != 404:
                raise
            return False
        return True

    def collection(self, manifest: Mapping[str, Any], namespace: str | None = None) -> str:
        """Where all of its kind are, in the manifest's namespace or another. Raises ClusterError."""
        plural, namespaced = self.resource(manifest)
        inside = namespace or manifest["metadata"].get("namespace") or "default"
        place = f"/namespaces/{quote(inside, safe='')}" if namespaced else ""
        return f"{_root(manifest['apiVersion'])}{place}/{plural}"

    def object(self, manifest: Mapping[str, Any]) -> str:
        """Where the object itself is. Raises ClusterError."""
        return f"{self.collection(manifest)}/{quote(manifest['metadata']['name'], safe='')}"


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
