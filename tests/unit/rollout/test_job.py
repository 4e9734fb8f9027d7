"""k8s_job: which Jobs are made, left, made anew and removed. The cluster is a stand-in, and so is the watch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.apply import ApplyError
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError
from ansible_collections.portal.stt.plugins.module_utils._rollout import job as _job
from ansible_collections.portal.stt.plugins.module_utils._rollout import task as _task
from ansible_collections.portal.stt.plugins.module_utils._rollout.follow import RolloutError
from ansible_collections.portal.stt.plugins.module_utils._rollout.job import JobTask, awaited
from ansible_collections.portal.stt.plugins.module_utils._rollout.reporter import Reporter
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Target
from ansible_collections.portal.stt.plugins.modules import k8s_job

from tests.modules import run_module

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
LABELS = {"component": "seed", "app.kubernetes.io/part-of": "stt"}
PATH = "/apis/batch/v1/namespaces/n/jobs"
MANIFEST: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "seed-1", "namespace": "n", "labels": LABELS},
    "spec": {},
}
OURS = [{"manager": "portal-stt", "operation": "Apply", "fieldsV1": {}}]
THEIRS = [{"manager": "helm", "operation": "Update", "fieldsV1": {}}]
TAKEN = {"portal-stt/result": "{}"}


def ago(**since: float) -> str:
    return (NOW - timedelta(**since)).strftime("%Y-%m-%dT%H:%M:%SZ")


def over(kind: str, since: str, **status: Any) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": since}], **status}


def job(name: str = "seed-1", status: Mapping[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    made = {"creationTimestamp": ago(hours=1), "managedFields": OURS}
    meta = {"name": name, "namespace": "n", "uid": f"uid-{name}", "labels": LABELS, **made}
    return {"metadata": meta | metadata, "spec": {}, "status": dict(status or {})}


DONE = over("Complete", ago(minutes=5), succeeded=1)
JUST_DONE = over("Complete", ago(seconds=5), succeeded=1)


class StandInCluster:
    """Keeps Jobs; notes what is asked of it that changes something, and each dry run."""

    def __init__(self, *jobs: dict[str, Any]) -> None:
        self.jobs = {one["metadata"]["name"]: one for one in jobs}
        self.asked: list[str] = []
        self.refusal: ClusterError | None = None

    def find(self, path: str) -> dict[str, Any] | None:
        return self.jobs.get(path.removeprefix(f"{PATH}/"))

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        if path != PATH:
            return self.jobs[path.removeprefix(f"{PATH}/")]
        assert query == {"labelSelector": "component=seed,app.kubernetes.io/part-of=stt"}
        return {"items": list(self.jobs.values())}

    def apply(
        self, path: str, manifest: dict[str, Any], *, field_manager: str, dry_run: bool = False
    ) -> dict[str, Any]:
        assert field_manager == "portal-stt"
        self.asked.append(f"{'try' if dry_run else 'apply'} {path.removeprefix(f'{PATH}/')}")
        if self.refusal:
            raise self.refusal
        if not dry_run:
            self.jobs[manifest["metadata"]["name"]] = job(manifest["metadata"]["name"])
        return {}

    def request(self, method: str, path: str, *, body: bytes, query: Any = None, headers: Any = None) -> bytes:
        name = path.removeprefix(f"{PATH}/")
        self.asked.append(f"{method} {name}")
        if method == "DELETE":
            assert json.loads(body)["preconditions"] == {"uid": f"uid-{name}"}
            assert json.loads(body)["propagationPolicy"] == "Background"
            if name == "seed-stolen":
                raise ClusterError("API server", "gone.", "", status=404)
            del self.jobs[name]
        else:
            assert json.loads(body) == {"metadata": {"annotations": {"portal-stt/result": ""}}}
        return b"{}"


class StandInTask(_task.Task):
    """The watch: the Job succeeds, and says what `message` is."""

    message = "said"

    def plan(self) -> dict[str, Any]:
        return {"status": "planned", "message": "kept", "findings": []}

    def run(self, *, timeout: float, rollback: bool) -> dict[str, Any]:
        assert (timeout, rollback) == (60, False)
        return {"status": "complete", "message": self.message, "findings": []}


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_job, "Task", StandInTask)


def task(cluster: StandInCluster, **options: Any) -> JobTask:
    given = {"sweep": LABELS, "wait": lambda _: None, "now": lambda: NOW, **options}
    return JobTask(cast(Cluster, cluster), MANIFEST, Reporter(), **given)


@pytest.mark.parametrize(
    ("there", "again", "asked", "changed"),
    [
        pytest.param([], False, ["apply seed-1"], True, id="it is made"),
        pytest.param([job(status=DONE)], False, ["try seed-1"], False, id="it is done"),
        pytest.param([job(status=DONE)], True, ["try seed-1", "DELETE seed-1", "apply seed-1"], True, id="done again"),
        pytest.param([job(status=JUST_DONE)], True, ["try seed-1"], False, id="another run waits for it"),
        pytest.param(
            [job(status=JUST_DONE, annotations=TAKEN)],
            True,
            ["try seed-1", "DELETE seed-1", "apply seed-1"],
            True,
            id="another run has its result",
        ),
        pytest.param([job(status={"active": 1})], True, ["try seed-1"], False, id="it runs"),
        pytest.param([job(status={"failed": 1})], True, ["try seed-1"], False, id="the watch decides about its tries"),
        pytest.param(
            [job(status=DONE), job("seed-0", DONE), job("seed-run", {"active": 1}), job("seed-now", JUST_DONE)],
            False,
            ["try seed-1", "DELETE seed-0"],
            True,
            id="its finished likes go",
        ),
        pytest.param(
            [job(status=DONE), job("seed-stolen", DONE)],
            False,
            ["try seed-1", "DELETE seed-stolen"],
            False,
            id="faster",
        ),
    ],
)
def test_what_a_run_does(there: list[dict[str, Any]], again: bool, asked: list[str], changed: bool) -> None:
    cluster = StandInCluster(*there)
    result = task(cluster, again=again).run(timeout=60)
    assert cluster.asked == asked
    assert (result["changed"], result["message"]) == (changed, "said")
    made = "apply seed-1" in asked
    assert [one["after_header"] for one in result["diff"]] == (["Job n/seed-1"] if made else [])


@pytest.mark.parametrize(
    ("there", "again", "changed", "message", "shown"),
    [
        ([], False, True, "", 1),
        ([job(status=DONE)], False, False, "kept", 0),
        ([job(status=DONE)], True, True, "kept", 0),
        ([job(status=JUST_DONE)], True, False, "kept", 0),
        ([job(status=DONE), job("seed-0", DONE)], False, True, "kept", 0),
    ],
)
def test_what_a_plan_says(there: list[dict[str, Any]], again: bool, changed: bool, message: str, shown: int) -> None:
    cluster = StandInCluster(*there)
    result = task(cluster, again=again).plan()
    assert cluster.asked == ["try seed-1"]
    assert (result["changed"], result["message"], len(result["diff"])) == (changed, message, shown)


@pytest.mark.parametrize(
    ("annotations", "asked"), [({}, ["try seed-1", "PATCH seed-1"]), ({"portal-stt/result": ""}, ["try seed-1"])]
)
def test_a_job_that_says_nothing_is_marked_as_seen(
    monkeypatch: pytest.MonkeyPatch, annotations: dict[str, str], asked: list[str]
) -> None:
    """So that the next run need not think that somebody still waits for it."""
    monkeypatch.setattr(StandInTask, "message", "")
    cluster = StandInCluster(job(status=DONE, annotations=annotations))
    task(cluster).run(timeout=60)
    assert cluster.asked == asked


def test_a_job_whose_result_is_known_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(StandInTask, "run")
    monkeypatch.setattr(_task.Task, "run", None)
    cluster = StandInCluster(job(status=DONE, annotations={"portal-stt/result": "kept"}), job("seed-0", DONE))
    result = task(cluster).run(timeout=60)
    assert cluster.asked == ["try seed-1", "DELETE seed-0"]
    assert (result["status"], result["message"], result["changed"]) == ("complete", "kept", True)
    assert [str(one) for one in result["findings"]] == ["Job n/seed-1: has succeeded."]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        pytest.param(
            {"labels": {"component": "seed"}},
            "it has not the labels of the Job that is to run.\n  labels: component=seed",
            id="labels",
        ),
        pytest.param(
            {"managedFields": THEIRS, "annotations": TAKEN},
            "it was not made by us.\n  fields are set by helm\n  labels: app.kubernetes.io/part-of=stt, component=seed",
            id="made by another, with a result to be believed",
        ),
        pytest.param(
            {"managedFields": [*THEIRS, {**OURS[0], "operation": "Update"}], "annotations": TAKEN},
            "it was not made by us.\n  fields are set by helm\n  labels: app.kubernetes.io/part-of=stt, component=seed",
            id="made by another, annotated by us",
        ),
        pytest.param(
            {"ownerReferences": [{"controller": True, "kind": "CronJob", "name": "nightly"}]},
            "it belongs to CronJob nightly.\n  labels: app.kubernetes.io/part-of=stt, component=seed",
            id="controlled",
        ),
    ],
)
@pytest.mark.parametrize("way", ["run", "plan"])
def test_a_job_of_somebody_else_is_neither_touched_nor_believed(metadata: dict[str, Any], said: str, way: str) -> None:
    cluster = StandInCluster(job(status=DONE, **metadata))
    asked = task(cluster, again=True)
    with pytest.raises(RolloutError) as refused:
        asked.run(timeout=60) if way == "run" else asked.plan()
    assert str(refused.value) == (
        f"Job n/seed-1: is somebody else's: {said}\n"
        "Delete it if its owner does not need it, then run again; or choose another [metadata.name]."
    )
    assert cluster.asked == []


@pytest.mark.parametrize("status", [DONE, {"active": 1}], ids=["done", "running"])
@pytest.mark.parametrize("way", ["run", "plan"])
def test_a_job_of_somebody_else_with_our_labels_is_not_swept_but_named(status: dict[str, Any], way: str) -> None:
    cluster = StandInCluster(job(status=DONE), job("others-seed", status, managedFields=THEIRS))
    asked = task(cluster)
    result = asked.run(timeout=60) if way == "run" else asked.plan()
    assert cluster.asked == ["try seed-1"]
    assert not result["changed"]
    (named,) = result["findings"]
    assert (named.status.value, str(named)) == (
        "warning",
        "Job n/others-seed: it was not made by us, and is left as it is.\n"
        "  fields are set by helm\n  labels: app.kubernetes.io/part-of=stt, component=seed",
    )
    assert asked.findings == [named]


class Watched(Exception):
    """The watch has begun."""


class StandInOfNoWatch(_task.Task):
    def _follow(self, raw: object, timeout: float) -> Any:
        raise Watched


class StandInOfATry(StandInCluster):
    def request(self, method: str, path: str, *, body: bytes = b"", query: Any = None, headers: Any = None) -> bytes:
        assert (method, query) == ("DELETE", {"propagationPolicy": "Background"})
        self.asked.append(f"{method} {path.removeprefix(f'{PATH}/')}")
        self.jobs.clear()
        return b"{}"


@pytest.mark.parametrize(
    ("managed", "asked"),
    [
        pytest.param(OURS, ["DELETE seed-1", "apply seed-1"], id="ours"),
        pytest.param(THEIRS, [], id="somebody else's"),
    ],
)
def test_only_a_job_of_ours_that_had_failed_is_made_anew(managed: list[dict[str, Any]], asked: list[str]) -> None:
    failed = job(status=over("Failed", ago(minutes=5), failed=4), managedFields=managed)
    cluster = StandInOfATry({**failed, "spec": {"template": {"spec": {}}}})
    watch_it = StandInOfNoWatch(cast(Cluster, cluster), Target("Job", "n", "seed-1"), Reporter())
    with pytest.raises(Watched):
        watch_it.run(timeout=60, rollback=False)
    assert cluster.asked == asked


def test_without_labels_nothing_is_swept() -> None:
    cluster = StandInCluster(job(status=DONE), job("seed-0", DONE))
    task(cluster, sweep={}).run(timeout=60)
    assert cluster.asked == ["try seed-1"]


def test_a_refusal_is_explained() -> None:
    cluster = StandInCluster()
    said = 'Job.batch "seed-1" is invalid: spec.template: field is immutable'
    body = {"kind": "Status", "code": 422, "message": said}
    cluster.refusal = ClusterError("API server", said, "", status=422, body=body)
    with pytest.raises(ApplyError) as refused:
        task(cluster).run(timeout=60)
    assert refused.value.subject == "Job n/seed-1"
    assert "field is immutable. Kubernetes does not change this field of an existing object" in str(refused.value)


def test_a_plan_where_not_even_the_namespace_is_there() -> None:
    cluster = StandInCluster()
    cluster.refusal = ClusterError("API server", 'namespaces "n" not found', "", status=404, body={"kind": "Status"})
    result = task(cluster).plan()
    assert (result["status"], result["changed"]) == ("planned", True)


@pytest.mark.parametrize(
    ("status", "annotations", "right"),
    [
        ({}, {}, True),
        ({"active": 1, "ready": 1}, {}, True),
        ({"failed": 1}, {}, True),
        (DONE, {}, False),
        (JUST_DONE, {}, True),
        (JUST_DONE, TAKEN, False),
        (over("Failed", ago(minutes=5), failed=4), {}, False),
        (over("Failed", ago(seconds=5), failed=4), {}, True),
        (over("FailureTarget", ago(minutes=5), active=1), {}, True),
        (over("Failed", ago(minutes=5), active=1), {}, True),
    ],
)
def test_a_job_that_somebody_may_wait_for(status: dict[str, Any], annotations: dict[str, str], right: bool) -> None:
    assert awaited(job(status=status, annotations=annotations), NOW) is right


@pytest.mark.parametrize(
    "definition",
    [{}, {"kind": "Pod", "metadata": {"name": "a", "namespace": "n"}}, {"kind": "Job", "metadata": {"name": "a"}}],
)
def test_what_is_no_job(definition: dict[str, Any]) -> None:
    result = run_module(k8s_job, definition=definition)
    assert result["failed"]
    assert result["msg"] == "definition: is not a Job with a name and a namespace. Give it kind: Job, and both."
