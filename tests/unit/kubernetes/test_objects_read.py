"""What an API server may not answer with: it is refused where it enters."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import cluster


@pytest.mark.parametrize(
    ("metadata", "right"),
    [
        ({}, True),
        ({"name": "a", "generation": 1, "labels": None, "annotations": {"a": "b"}, "ownerReferences": [{}]}, True),
        ({"name": 5}, False),
        ({"namespace": {}}, False),
        ({"uid": []}, False),
        ({"labels": 7}, False),
        ({"labels": {"a": 1}}, False),
        ({"annotations": []}, False),
        ({"generation": "x"}, False),
        ({"generation": True}, False),
        ({"ownerReferences": [None]}, False),
        ({"managedFields": "x"}, False),
        ({"deletionTimestamp": 0}, False),
    ],
)
def test_metadata(metadata: dict[str, Any], right: bool) -> None:
    assert cluster._is_object({"metadata": metadata}) is right


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000])
def test_json_that_no_parser_ends(body: bytes) -> None:
    api = object.__new__(cluster.Cluster)
    api.url = "https://127.0.0.1"
    with pytest.raises(cluster.ClusterError, match="is not that of a Kubernetes API server: it is not JSON"):
        api._json(body, "/version")
    assert set(cluster._status_object(body)) == {"message"}
