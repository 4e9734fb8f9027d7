"""How an object is judged that others write at the same time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.judge import TRIES, Judge
from kubernetes.client import Configuration
from werkzeug import Request, Response

from tests.servers import web

OURS = [{"manager": "portal-stt", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}]
WANTED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": {"a": "1"}}
KINDS = {"kind": "APIResourceList", "resources": [{"kind": "ConfigMap", "name": "configmaps", "namespaced": True}]}


class Busy:
    """An API server's double: a controller writes an annotation right after each of the first looks."""

    def __init__(self, writes: int) -> None:
        self.writes, self.looks, self.version = writes, 0, 1

    def __call__(self, request: Request) -> Response:
        if request.path == "/api/v1":
            return Response(json.dumps(KINDS))
        answer = Response(json.dumps(self.stored()))
        if request.method == "GET":
            self.looks += 1
            self.version += self.looks <= self.writes
        return answer

    def stored(self) -> dict[str, Any]:
        metadata = {
            **WANTED["metadata"],  # type: ignore[dict-item]
            "resourceVersion": str(self.version),
            "annotations": {"seen": str(self.version)},
            "managedFields": OURS,
        }
        return {**WANTED, "metadata": metadata}


@pytest.mark.parametrize(("writes", "looks", "changes"), [(0, 1, False), (2, 3, False), (99, TRIES + 1, True)])
def test_what_a_controller_writes_meanwhile_is_no_change_of_ours(writes: int, looks: int, changes: bool) -> None:
    busy = Busy(writes)
    with web(busy) as address:
        cluster = Cluster(lambda: (Configuration(host=f"http://{address}"), {}))
        (judged,) = Judge(cluster).judge([WANTED]).judged
    assert (busy.looks, judged.changes) == (looks, changes)
