"""Manifests in, diffs and explained refusals out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.apply import (
    ApplyError,
    Conflict,
    by_autoscaler,
    by_hand,
    changes,
    conflicts,
    diff,
    explain,
    explain_going,
    explain_unknown,
    lacks,
    namespace_missing,
    parse,
)
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import ClusterError

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stt"}}
SERVICE: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stt", "namespace": "stt"}}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "stt", "namespace": "stt"},
}
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "key", "namespace": "stt"},
    "data": {"k": "cw=="},
}
SERVERS = {
    "uid": "6408ea5f",
    "creationTimestamp": "2026-11-27T01:02:27Z",
    "resourceVersion": "468",
    "generation": 1,
    "managedFields": [{"manager": "portal-stt", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
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
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": "x"},
            "a manifest: is not a Kubernetes object: {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': 'x'}. "
            "Give it apiVersion, kind and metadata.",
        ),
    ],
)
def test_parse_refuses(definition: str, message: str) -> None:
    with pytest.raises(ApplyError) as refused:
        parse([definition])
    assert str(refused.value) == message


# ---- what changes


def stored(manifest: dict[str, Any], **content: Any) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], **SERVERS}, "status": {}, **content}


def by(manager: str, fields: dict[str, Any]) -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields}
    return {**stored(SERVICE), "metadata": {**stored(SERVICE)["metadata"], "managedFields": [entry]}}


@pytest.mark.parametrize(
    ("live", "after", "expected"),
    [
        (None, stored(SERVICE), True),
        (stored(SERVICE), stored(SERVICE), False),
        (stored(SERVICE), stored(SERVICE, spec={"type": "ClusterIP"}), True),
        (stored(SERVICE), {**stored(SERVICE), "status": {"loadBalancer": {}}}, False),
        # only what we declare is new: from then on the field is ours
        (by("portal-stt", {}), by("portal-stt", {"f:spec": {"f:type": {}}}), True),
        (by("keel", {}), by("keel", {"f:spec": {"f:type": {}}}), False),
    ],
)
def test_what_counts_as_a_change(live: dict[str, Any] | None, after: dict[str, Any], expected: bool) -> None:
    assert changes(live, after) is expected


def test_diff_names_the_object_without_what_the_server_keeps_in_it() -> None:
    assert diff(None, stored(SERVICE, spec={"type": "ClusterIP"})) == {
        "before_header": "Service stt/stt",
        "after_header": "Service stt/stt",
        "before": "",
        "after": "apiVersion: v1\nkind: Service\nmetadata:\n  name: stt\n  namespace: stt\nspec:\n  type: ClusterIP\n",
    }


def test_diff_of_a_secret_says_which_value_is_another_one_and_none_of_them() -> None:
    repeated = {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"k": "cw=="}}', "a": "b"}
    before = {**SECRET, "metadata": {**SECRET["metadata"], "annotations": repeated}, "data": {"k": "cw==", "l": "bA=="}}
    after = {**SECRET, "data": {"k": "dA==", "l": "bA==", "m": "bQ=="}}
    shown = diff(before, after)
    assert "  k: (hidden)\n  l: (hidden)\n" in shown["before"]
    assert "  k: (hidden, another value)\n  l: (hidden)\n  m: (hidden)\n" in shown["after"]
    assert "  annotations:\n    a: b\n" in shown["before"]
    assert not any(value in str(shown) for value in ("cw==", "dA==", "bA==", "bQ=="))


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, []),
        ({"spec": {"capacity": {"storage": "1Gi"}}}, {"spec": {"capacity": {"storage": "1024Mi"}}}, []),
        ({"m": ["a", "b"]}, {"m": ["a"]}, ['m is ["a", "b"], and shall be ["a"]']),
        (
            {"metadata": {"labels": {"tier": "1"}}},
            {"metadata": {"labels": {"tier": "2", "x": "y"}}},
            ['metadata.labels.tier is "1", and shall be "2"', 'metadata.labels.x is not set, and shall be "y"'],
        ),
        ({}, {"spec": {"nfs": {"path": "/srv"}}}, ['spec is not set, and shall be {"nfs": {"path": "/srv"}}']),
        ({"size": "x"}, {"size": "y"}, ['size is "x", and shall be "y"']),
    ],
)
def test_what_an_object_lacks(live: Any, wanted: Any, expected: list[str]) -> None:
    assert lacks(live, wanted) == expected


# ---- refusals


def cause(manager: str, field: str, subresource: str = "") -> dict[str, str]:
    by_which = f' with subresource "{subresource}"' if subresource else ""
    return {
        "reason": "FieldManagerConflict",
        "message": f'conflict with "{manager}"{by_which} using apps/v1 at 2026-11-01T00:00:00Z',
        "field": field,
    }


IMAGE = '.spec.template.spec.containers[name="portal-stt"].image'


@pytest.mark.parametrize(
    ("conflict", "hand", "autoscaler"),
    [
        (cause("kubectl", ".spec.replicas", "scale"), True, False),
        (cause("kube-controller-manager", ".spec.replicas", "scale"), False, True),
        (cause("keda-operator", ".spec.replicas", "scale"), False, True),
        (cause("kubectl-edit", ".spec.replicas"), False, False),
        (cause("kubectl", IMAGE), False, False),
    ],
)
def test_who_scales(conflict: dict[str, str], hand: bool, autoscaler: bool) -> None:
    (found,) = conflicts({"details": {"causes": [conflict]}})
    assert (by_hand(found), by_autoscaler(found)) == (hand, autoscaler)


def test_conflicts_are_read_as_the_api_server_writes_them() -> None:
    status = {
        "details": {"causes": [cause("keel", IMAGE), cause("kubectl", ".spec.replicas", "scale"), {"field": "x"}]}
    }
    assert conflicts(status) == [Conflict(".spec.replicas", "kubectl", "scale"), Conflict(IMAGE, "keel")]


@pytest.mark.parametrize(
    ("manifest", "status", "message"),
    [
        pytest.param(
            DEPLOYMENT,
            {"code": 409, "message": "Apply failed with 1 conflict", "details": {"causes": [cause("keel", IMAGE)]}},
            "Deployment stt/stt: another field manager owns what is to be set.\n"
            f"  {IMAGE} is owned by keel\n"
            "Leave the field to its owner (unset what sets it here), or take it over once: name keel in [take_over].",
            id="conflict",
        ),
        pytest.param(
            DEPLOYMENT,
            {"code": 422, "message": 'Deployment.apps "stt" is invalid: spec.selector: field is immutable'},
            'Deployment stt/stt: the API server refuses it: Deployment.apps "stt" is invalid: spec.selector: field is '
            "immutable. Kubernetes does not change this field of an existing object: choose another [metadata.name], "
            "or remove the old one first (playbooks/teardown.yml keeps the models).",
            id="immutable",
        ),
        pytest.param(
            {"kind": "PersistentVolume", "metadata": {"name": "models"}},
            {"code": 422, "message": "spec.csi: Forbidden: spec.persistentvolumesource is immutable after creation"},
            "PersistentVolume models: the API server refuses it: spec.csi: Forbidden: spec.persistentvolumesource is "
            "immutable after creation. Kubernetes does not change this field of an existing object: choose another "
            "[volume.metadata.name], or remove the old one first (playbooks/teardown.yml keeps the models).",
            id="immutable-volume",
        ),
        pytest.param(
            DEPLOYMENT,
            {"code": 403, "message": "exceeded quota: gpus"},
            "Deployment stt/stt: the API server refuses it: exceeded quota: gpus. Give the account this right, or look "
            "at the quota or admission policy that the message names.",
            id="quota",
        ),
        pytest.param(
            SECRET,
            {"code": 403, "message": 'secrets "key" is forbidden: User "x" cannot create resource "secrets"'},
            'Secret stt/key: the API server refuses it: secrets "key" is forbidden: User "x" cannot create resource '
            '"secrets". Have an administrator run playbooks/rbac.yml again with the same settings (it makes what the '
            "account may not make, and gives it the rights to the rest), or use another account.",
            id="no-right",
        ),
        pytest.param(
            SERVICE,
            {"code": 400, "message": 'admission webhook "audit.example.net" does not support dry run'},
            'Service stt/stt: the API server refuses it: admission webhook "audit.example.net" does not support dry '
            "run. All is tried before it is written: the webhook's owner has to declare sideEffects: None or "
            "NoneOnDryRun for it, or exempt this namespace from it.",
            id="no-dry-run",
        ),
        pytest.param(
            SERVICE,
            {"code": 429, "message": "the server has received too many requests and has asked us to try again later"},
            "Service stt/stt: the API server refuses it: the server has received too many requests and has asked us to "
            "try again later. The API server has too much to do: run again later.",
            id="busy",
        ),
        pytest.param(
            SERVICE,
            {"message": "Too many requests, please try again later."},
            "Service stt/stt: the API server refuses it: Too many requests, please try again later. The API server has "
            "too much to do: run again later.",
            id="busy-without-a-status-object",
        ),
        pytest.param(
            SERVICE,
            {"code": 403, "message": "unable to create new content in namespace stt because it is being terminated"},
            "Service stt/stt: the API server refuses it: unable to create new content in namespace stt because it is "
            "being terminated. The namespace is being deleted: wait until it is gone, or choose another "
            "[namespace.metadata.name]. What it waits for is in its status (kubectl get namespace -o yaml).",
            id="terminating",
        ),
        pytest.param(
            DEPLOYMENT,
            {"code": 500, "message": "failed to create typed patch object: .spec.foo: field not declared in schema"},
            "Deployment stt/stt: the API server refuses it: failed to create typed patch object: .spec.foo: field not "
            "declared in schema. Correct the field's name: this API server does not know it.",
            id="unknown-field",
        ),
        pytest.param(
            DEPLOYMENT,
            {},
            "Deployment stt/stt: the API server refuses it: Connection refused. Check address and credentials of the "
            "cluster (kubeconfig, context, K8S_AUTH_*).",
            id="no-answer",
        ),
    ],
)
def test_explain(manifest: dict[str, Any], status: dict[str, Any], message: str) -> None:
    assert str(explain(manifest, status, "Connection refused")) == message


def test_a_write_that_nobody_has_answered() -> None:
    error = ClusterError("API server https://stt", "it hung up.", "Try again in a minute.")
    assert str(explain_unknown(SECRET, error)) == (
        "Secret stt/key: the API server has not said whether it was written: it hung up. "
        "Try again in a minute. Then run again: what was written stays as it is."
    )


def test_what_keeps_an_object_that_is_being_deleted() -> None:
    metadata = {"deletionTimestamp": "2026-11-27T08:00:00Z", "finalizers": ["kubernetes.io/pvc-protection", "a.b/c"]}
    error = explain_going({**SECRET, "metadata": {**SECRET["metadata"], **metadata}})
    assert str(error) == (
        "Secret stt/key: it is being deleted, since 2026-11-27T08:00:00Z, and cannot be kept any more.\n"
        "  kubernetes.io/pvc-protection: a pod still uses it\n"
        "  a.b/c: whoever set this finalizer has work to do\n"
        "It goes when what holds it is gone: look there, then run again."
    )


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        ({"code": 404, "details": {"name": "stt", "kind": "namespaces"}}, "stt"),
        ({"code": 404, "details": {"name": "stt", "kind": "configmaps"}}, ""),
        ({"code": 403, "details": {"name": "stt", "kind": "namespaces"}}, ""),
        ({}, ""),
    ],
)
def test_which_namespace_is_missing(status: dict[str, Any], missing: str) -> None:
    assert namespace_missing(status) == missing
