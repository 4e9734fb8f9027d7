"""What is spared when objects are removed: a volume whose claim stays, all of it where others mount the claim.

The cluster is a stand-in: what is deleted on it is gone, but for what something holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, cast

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.remove import Removal, Remover, stubs

Object = dict[str, Any]
SPACE = "/api/v1/namespaces/n"
CLAIM, VOLUME = f"{SPACE}/persistentvolumeclaims/models", "/api/v1/persistentvolumes/models"
DEPLOYMENT = "/apis/apps/v1/namespaces/n/deployments/stt"
JOB = "/apis/batch/v1/namespaces/n/jobs/stt-seed-1"
MARKS = {"app.kubernetes.io/managed-by": "portal-stt", "app.kubernetes.io/part-of": "stt"}
PART_OF = "app.kubernetes.io/part-of"
OURS = [{"manager": "portal-stt", "operation": "Apply", "fieldsV1": {}}]
THEIRS = [{"manager": "helm", "operation": "Update", "fieldsV1": {}}]


def of(version: str, kind: str, name: str = "models", **content: Any) -> Object:
    place = {} if kind == "PersistentVolume" else {"namespace": "n"}
    meta = {"name": name, **place, "labels": MARKS, "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"apiVersion": version, "kind": kind, "metadata": {**meta, "managedFields": OURS}, **content}


def all_of_ours() -> dict[str, Object]:
    selector = {"selector": {"matchLabels": {"app": "stt"}}}
    return {
        DEPLOYMENT: of("apps/v1", "Deployment", "stt", spec=selector),
        JOB: of("batch/v1", "Job", "stt-seed-1"),
        CLAIM: of("v1", "PersistentVolumeClaim"),
        VOLUME: of("v1", "PersistentVolume", spec={"claimRef": {"namespace": "n", "name": "models"}}),
    }


def pod(kind: str = "", owner: str = "", phase: str = "Running", claim: str = "models", **labels: str) -> Object:
    owners = [{"controller": True, "kind": kind, "name": owner, "uid": f"uid-{owner}"}] if kind else []
    told = {name.replace("part_of", PART_OF): value for name, value in labels.items()}
    return {
        "metadata": {"name": "p", "labels": told, "ownerReferences": owners, "managedFields": THEIRS},
        "spec": {"volumes": [{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": phase},
    }


class StandInCluster:
    """Keeps objects by their paths. asked: each request. held: paths of what does not go when it is deleted."""

    def __init__(self, objects: Mapping[str, Object], pods: list[Object] | ClusterError, held: tuple[str, ...]) -> None:
        self.objects, self.pods, self.held = dict(objects), pods, held
        self.asked: list[str] = []

    def find(self, path: str, query: object = None) -> Object | None:
        self.asked.append(f"GET {path}")
        return self.objects.get(path)

    def get(self, path: str, query: object = None) -> Object:
        assert path == f"{SPACE}/pods"
        self.asked.append(f"GET {path}")
        if isinstance(self.pods, ClusterError):
            raise self.pods
        return {"items": self.pods}

    def request(self, method: str, path: str, **_: Any) -> bytes:
        self.asked.append(f"{method} {path}")
        if path not in self.held:
            del self.objects[path]
        return b"{}"

    @property
    def deleted(self) -> list[str]:
        return [one.removeprefix("DELETE ") for one in self.asked if one.startswith("DELETE ")]


def removal(
    pods: list[Object] | ClusterError = [],  # noqa: B006
    objects: Mapping[str, Object] | None = None,
    held: tuple[str, ...] = (),
) -> tuple[StandInCluster, Removal]:
    """All of ours is asked to go."""
    cluster = StandInCluster(all_of_ours() if objects is None else objects, pods, held)
    ticks = itertools.count()
    remover = Remover(cast(Cluster, cluster), wait=lambda _: None, clock=lambda: next(ticks))
    found = remover.look(stubs(all_of_ours().values()))
    assert f"GET {SPACE}/pods" not in cluster.asked
    remover.remove(found, 5)
    return cluster, found


def test_all_that_is_ours_goes_the_volume_last() -> None:
    cluster, found = removal()
    assert cluster.deleted == [DEPLOYMENT, JOB, CLAIM, VOLUME]
    assert [str(one) for one in found.findings()] == ["4 objects: to remove."]


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(pod(part_of="stt"), id="its label"),
        pytest.param(pod("ReplicaSet", "stt-6f7d", app="stt"), id="of the server"),
        pytest.param(pod("ReplicaSet", "stt-6f7d", app="stt", part_of="voice"), id="of the server, labelled by hand"),
        pytest.param(pod("ReplicaSet", "stt-6f7d"), id="by name"),
        pytest.param(pod("Job", "stt-seed-1", part_of="voice"), id="of a Job that goes"),
        pytest.param(pod("Job", "stt-seed-0"), id="of a Job that went"),
        pytest.param(pod("Job", "theirs", phase="Succeeded"), id="done"),
        pytest.param(pod("Job", "theirs", phase="Failed"), id="failed"),
        pytest.param(pod("StatefulSet", "db", claim="db-0"), id="another claim"),
        pytest.param({"metadata": {"name": "p"}, "spec": {"volumes": None}}, id="no volumes"),
    ],
)
def test_pods_that_keep_nothing(one: Object) -> None:
    assert removal([one])[0].deleted == [DEPLOYMENT, JOB, CLAIM, VOLUME]


@pytest.mark.parametrize(
    ("one", "owner"),
    [
        pytest.param(pod(), "made by helm", id="by hand"),
        pytest.param(pod("StatefulSet", "db"), "of StatefulSet db", id="controlled"),
        pytest.param(pod("StatefulSet", "stt-db"), "of StatefulSet stt-db", id="a name like ours, of another kind"),
        pytest.param(pod("ReplicaSet", "stt-b-6f7d"), "of ReplicaSet stt-b-6f7d", id="a name that begins like ours"),
        pytest.param(
            pod("ReplicaSet", "stt-6f7d", part_of="b"), "of ReplicaSet stt-6f7d", id="named like ours, not selected"
        ),
        pytest.param(pod("Job", "stt-seed-0", part_of="b"), "of Job stt-seed-0", id="another installation's Job"),
        pytest.param(pod(part_of="b", phase="Pending"), "made by helm", id="another installation's"),
    ],
)
def test_nothing_is_removed_where_a_pod_of_others_mounts_the_claim(one: Object, owner: str) -> None:
    cluster, found = removal([pod(part_of="stt"), one])
    assert cluster.deleted == []
    assert (found.found, found.removed) == ([], [])
    assert [str(line) for line in found.findings()] == [
        "PersistentVolumeClaim n/models: is to go, but is mounted by pods that are not ours: nothing was removed.\n"
        f"  Pod n/p, {owner}\n"
        "Have their owners delete them or give them another claim, then run again."
    ]


def test_a_server_of_our_name_that_stays_keeps_its_claim() -> None:
    """Whatever its pods are labelled."""
    theirs = {**all_of_ours()[DEPLOYMENT]}
    theirs["metadata"] = {**theirs["metadata"], "managedFields": THEIRS}
    cluster, found = removal([pod("ReplicaSet", "stt-6f7d", part_of="stt")], {**all_of_ours(), DEPLOYMENT: theirs})
    assert cluster.deleted == []
    assert [one.subject for one in found.findings()] == ["Deployment n/stt", "PersistentVolumeClaim n/models"]


def test_nothing_is_removed_where_pods_may_not_be_listed() -> None:
    cluster, found = removal(ClusterError("API server", "pods is forbidden.", "", status=403))
    assert cluster.deleted == []
    assert [str(line) for line in found.findings()] == [
        "PersistentVolumeClaim n/models: is to go, but who mounts it may not be asked: nothing was removed.\n"
        "  pods is forbidden.\n"
        "Allow list on pods in namespace n: for the account of the plays, rbac.yml does."
    ]


def test_without_a_claim_to_go_no_pod_is_asked_for() -> None:
    objects = {path: one for path, one in all_of_ours().items() if path != CLAIM}
    cluster, _ = removal(ClusterError("API server", "pods is forbidden.", "", status=403), objects)
    assert cluster.deleted == [DEPLOYMENT, JOB, VOLUME]


SAID = (
    "PersistentVolume models: its claim n/models is still there, and nothing was done to the volume. "
    "Run again when the claim is gone: it goes when no pod mounts it any more, one of somebody else by its owner."
)


def test_a_volume_whose_claim_does_not_go_is_not_touched() -> None:
    cluster, found = removal(held=(CLAIM,))
    assert cluster.deleted == [DEPLOYMENT, JOB, CLAIM]
    assert str(found.findings()[-1]) == SAID
    assert "PersistentVolume models" not in found.removed


def test_a_volume_whose_claim_is_somebody_elses_is_not_touched() -> None:
    theirs = of("v1", "PersistentVolumeClaim")
    theirs["metadata"]["managedFields"] = THEIRS
    cluster, found = removal(objects={**all_of_ours(), CLAIM: theirs})
    assert cluster.deleted == [DEPLOYMENT, JOB]
    assert [one.subject for one in found.findings()] == ["PersistentVolumeClaim n/models", "PersistentVolume models"]
    assert str(found.findings()[-1]) == SAID


def test_what_is_spared_is_known_to_a_plan() -> None:
    theirs = of("v1", "PersistentVolumeClaim")
    theirs["metadata"]["managedFields"] = THEIRS
    cluster = StandInCluster({**all_of_ours(), CLAIM: theirs}, [], ())
    remover = Remover(cast(Cluster, cluster))
    found = remover.look(stubs(all_of_ours().values()))
    remover.spare(found)
    assert [one.path for one in found.found] == [DEPLOYMENT, JOB]
    assert cluster.deleted == []
