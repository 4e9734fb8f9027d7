"""Whose the pods are that a Deployment's selector finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.selected import MOST_PODS, strangers, taken_in

Object = dict[str, Any]
PART_OF = "app.kubernetes.io/part-of"


def deployment(name: str = "stt", labels: Mapping[str, str] | None = None, **selector: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "speech", "labels": {PART_OF: name} if labels is None else labels},
        "spec": {"selector": selector or {"matchLabels": {"app": "stt"}}},
    }


def pod(
    replica_set: str = "", *, phase: str = "Running", deleted: str = "", kind: str = "ReplicaSet", **labels: str
) -> Object:
    """A pod that the controller of `replica_set` has made, or nobody."""
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": replica_set, "controller": True}
    metadata: Object = {"name": f"{replica_set or 'alone'}-x", "labels": {"app": "stt"} | labels}
    metadata["labels"] |= {"pod-template-hash": replica_set.rpartition("-")[2]} if replica_set else {}
    metadata |= {"ownerReferences": [owner]} if replica_set else {}
    metadata |= {"deletionTimestamp": deleted} if deleted else {}
    return {"metadata": metadata, "status": {"phase": phase}}


def of(installation: str, found: Object) -> Object:
    return {**found, "metadata": {**found["metadata"], "labels": found["metadata"]["labels"] | {PART_OF: installation}}}


@pytest.mark.parametrize(
    ("made", "found", "named"),
    [
        pytest.param(deployment(), pod("stt-5d9f"), [], id="ours"),
        pytest.param(deployment(), of("stt", pod()), [], id="of our installation"),
        pytest.param(deployment(), of("media", pod("stt-5d9f")), [], id="ours, with a label that the operator gave"),
        pytest.param(deployment(labels={}), pod("stt-5d9f"), [], id="of a Deployment without marks"),
        pytest.param(deployment(), pod("whisper-7c", phase="Succeeded"), [], id="finished"),
        pytest.param(deployment(), pod("whisper-7c", phase="Failed"), [], id="failed"),
        pytest.param(deployment(), pod("whisper-7c", deleted="2026-11-27T01:02:27Z"), [], id="going"),
        pytest.param(deployment(), pod("whisper-7c"), ["Pod whisper-7c-x of ReplicaSet whisper-7c"], id="theirs"),
        pytest.param(deployment(), pod("whisper-7c", phase="Pending"),
                     ["Pod whisper-7c-x of ReplicaSet whisper-7c"], id="theirs, pending"),
        pytest.param(deployment(), pod("stt-two-7c"), ["Pod stt-two-7c-x of ReplicaSet stt-two-7c"],
                     id="of a server whose name begins as ours"),
        pytest.param(deployment("stt-two"), pod("stt-7c"), ["Pod stt-7c-x of ReplicaSet stt-7c"], id="and the reverse"),
        pytest.param(deployment(), of("two", pod("two-7c")), ["Pod two-7c-x of ReplicaSet two-7c"],
                     id="of another installation"),
        pytest.param(deployment(), pod("stt-7c", kind="Rollout"), ["Pod stt-7c-x of Rollout stt-7c"],
                     id="of another controller of our name"),
        pytest.param(deployment(), pod(), ["Pod alone-x"], id="of nobody"),
        pytest.param(deployment(labels={}), pod(), ["Pod alone-x"], id="of nobody, and no marks"),
        pytest.param(deployment(), {"metadata": {"name": "a\x1b[2Jb", "labels": None}}, ["Pod ab"], id="hostile"),
    ],
)  # fmt: skip
def test_whose_a_pod_is(made: Object, found: Object, named: list[str]) -> None:
    error = taken_in(made, [found])
    assert list(error.evidence if error else ()) == named


def test_strangers_are_named_with_a_way_out() -> None:
    many = [pod(f"whisper-{number}") for number in range(12)]
    assert str(taken_in(deployment(), [pod("stt-5d9f"), *many])) == (
        "Deployment speech/stt: pods that are not its own have its label app=stt, too: they would get its calls, and "
        "be under its network policy.\n"
        + "".join(
            f"  Pod whisper-{number}-x of ReplicaSet whisper-{number}\n" for number in (0, 1, 10, 11, *range(2, 8))
        )
        + "  and 2 more\n"
        "Choose another [spec.selector.matchLabels], or another [metadata.name] where the label follows that; or give "
        "those pods another label."
    )


class Answers(Cluster):
    """A stand-in for a cluster: answers lists of pods, with a status or with pods, and keeps what was asked."""

    def __init__(self, *pods: Object, status: int = 0) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._pods, self._status = pods, status

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.asked.append((path, dict(query or {})))
        if self._status:
            raise ClusterError("API server", "no.", "", status=self._status)
        return {"kind": "PodList", "metadata": {}, "items": list(self._pods)}


def test_the_api_server_is_asked_once_for_each_deployment() -> None:
    cluster = Answers(pod("whisper-7c"), pod("stt-5d9f"))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stt", "namespace": "speech"}}
    (found,) = strangers(cluster, [service, deployment()])
    assert found.evidence == ("Pod whisper-7c-x of ReplicaSet whisper-7c",)
    alive = "status.phase!=Succeeded,status.phase!=Failed"
    asked = {"labelSelector": "app=stt", "fieldSelector": alive, "limit": str(MOST_PODS)}
    assert cluster.asked == [("/api/v1/namespaces/speech/pods", asked)]


@pytest.mark.parametrize(
    "made",
    [
        deployment(matchLabels={"app": "stt"}, matchExpressions=[{"key": "tier", "operator": "Exists"}]),
        deployment(matchLabels={}),
        deployment(matchLabels="app"),
        {**deployment(), "spec": None},
    ],
    ids=["expressions", "no labels", "no map", "no spec"],
)
def test_a_selector_that_is_more_or_none_is_not_judged(made: Object) -> None:
    cluster = Answers(pod("whisper-7c"))
    assert (strangers(cluster, [made]), cluster.asked) == ([], [])


@pytest.mark.parametrize("status", [400, 403, 404])
def test_who_may_not_look_finds_nothing(status: int) -> None:
    assert strangers(Answers(status=status), [deployment()]) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_api_server_that_fails_is_told(status: int) -> None:
    with pytest.raises(ClusterError):
        strangers(Answers(status=status), [deployment()])
