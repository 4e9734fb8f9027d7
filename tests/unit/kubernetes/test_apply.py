"""Manifests in, diffs and explained refusals out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.apply import (
    ApplyError,
    diff,
    explain,
    namespaces,
    parse,
    split,
)

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stt"}}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stt", "namespace": "stt"}}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "key", "namespace": "stt"},
    "stringData": {"k": "s"},
}


def test_parse_takes_documents_and_dicts_in_order() -> None:
    text = f"---\n{json.dumps(NAMESPACE)}\n---\n{json.dumps(SERVICE)}\n---\n"
    assert parse([text, SECRET]) == [NAMESPACE, SERVICE, SECRET]


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            "a: [",
            "a manifest: is not YAML: while parsing a flow node\nexpected the node content, but found "
            "'<stream end>'\n  in \"<unicode string>\", line 1, column 5:\n    a: [\n        ^. "
            "Look at the template or value it comes from.",
        ),
        (
            "kind: Service",
            "a manifest: is not a Kubernetes object: {'kind': 'Service'}. Give it apiVersion, kind and metadata.",
        ),
        ("hello", "a manifest: is not a Kubernetes object: hello. Give it apiVersion, kind and metadata."),
    ],
)
def test_parse_refuses(definition: str, message: str) -> None:
    with pytest.raises(ApplyError) as refused:
        parse([definition])
    assert str(refused.value) == message


def test_split_by_what_can_be_judged() -> None:
    assert namespaces([NAMESPACE, SERVICE, SECRET]) == ["stt"]
    assert split([NAMESPACE, SERVICE, SECRET], ["stt"]) == ([NAMESPACE], [SERVICE, SECRET])
    assert split([NAMESPACE, SERVICE], []) == ([NAMESPACE, SERVICE], [])


def test_diff_names_the_object_and_hides_secrets() -> None:
    assert diff(SERVICE, {"before": None, "after": {"spec": {"type": "ClusterIP"}}}) == {
        "before_header": "Service stt/stt",
        "after_header": "Service stt/stt",
        "before": "",
        "after": "spec:\n  type: ClusterIP\n",
    }
    assert diff(SECRET, {"before": {"data": {"k": "YQ=="}}, "after": SECRET})["before"] == "data: (hidden)\n"
    assert "stringData: (hidden)" in diff(SECRET, {"after": SECRET})["after"]


def refusal(**status: Any) -> dict[str, Any]:
    """An entry as kubernetes.core returns it for an object that the API server refused."""
    return {"error": {"msg": f"Failed to apply object: {json.dumps({'kind': 'Status', **status})}"}}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param(
            refusal(
                code=409,
                message="Apply failed with 1 conflict",
                details={
                    "causes": [
                        {
                            "reason": "FieldManagerConflict",
                            "message": 'conflict with "keel" using apps/v1 at 2026-11-01T00:00:00Z',
                            "field": '.spec.template.spec.containers[name="portal-stt"].image',
                        }
                    ]
                },
            ),
            "Deployment stt/stt: another field manager owns what is to be set.\n"
            '  .spec.template.spec.containers[name="portal-stt"].image is owned by keel\n'
            "Leave the field to its owner (unset our variable), or take it over once with: kubectl apply "
            "--server-side --field-manager=portal-stt --force-conflicts.",
            id="conflict",
        ),
        pytest.param(
            refusal(code=422, message='Deployment.apps "stt" is invalid: spec.selector: field is immutable'),
            'Deployment stt/stt: the API server refuses it: Deployment.apps "stt" is invalid: spec.selector: field is '
            "immutable. Kubernetes does not change this field of an existing object: give the object a new name, or "
            "remove the old one first (playbooks/teardown.yml keeps the models).",
            id="immutable",
        ),
        pytest.param(
            refusal(code=403, message="exceeded quota: gpus"),
            "Deployment stt/stt: the API server refuses it: exceeded quota: gpus. Give the account this right, or look "
            "at the quota or admission policy that the message names.",
            id="quota",
        ),
        pytest.param(
            {"error": {"msg": "Connection refused"}},
            "Deployment stt/stt: the API server refuses it: Connection refused. Check address and credentials of the "
            "cluster (kubeconfig, context, K8S_AUTH_*).",
            id="no-answer",
        ),
    ],
)
def test_explain(entry: dict[str, Any], message: str) -> None:
    assert str(explain("Deployment stt/stt", entry)) == message
