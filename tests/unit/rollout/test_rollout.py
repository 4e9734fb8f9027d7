"""How a rollout stands at a given time, and what brings it back: no cluster, no clock."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import objects as observed
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.objects import Condition, Exit, Pod, ReplicaSet
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.watch import Changed, Listed
from ansible_collections.portal.stt.plugins.module_utils._rollout import follow as _follow
from ansible_collections.portal.stt.plugins.module_utils._rollout.back import (
    earlier,
    earlier_manifest,
    job_manifest,
    mark,
    served,
    stuck,
    unmarked,
)
from ansible_collections.portal.stt.plugins.module_utils._rollout.decide import Memory, Verdict, advance, complete
from ansible_collections.portal.stt.plugins.module_utils._rollout.diagnosis import Diagnosis
from ansible_collections.portal.stt.plugins.module_utils._rollout.follow import Outcome
from ansible_collections.portal.stt.plugins.module_utils._rollout.lookups import Lookups
from ansible_collections.portal.stt.plugins.module_utils._rollout.past import Past, leftovers, past, without
from ansible_collections.portal.stt.plugins.module_utils._rollout.remarks import Line
from ansible_collections.portal.stt.plugins.module_utils._rollout.reporter import Reporter
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Holder, Seen, Target, assemble
from ansible_collections.portal.stt.plugins.module_utils._rollout.task import Task, _outside
from ansible_collections.portal.stt.plugins.module_utils._speaches import rbac
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import Settings

from lab.faults import table

CAPTURED = Path(__file__).parents[2] / "fixtures" / "faults"
READY = observed.Deployment("stt", "d", 2, 2, False, 1, 1, 1, 1, {}, {})
CURRENT = ReplicaSet("stt-2", "r2", 2, "", 1, {}, {}, {})
BEFORE = ReplicaSet("stt-1", "r1", 1, "", 0, {}, {}, {})


def pod(name: str = "stt-2-a", owner: str = "r2", **other: Any) -> Pod:
    defaults: dict[str, Any] = {
        "node": "gpu-1", "phase": "Running", "reason": "", "message": "", "created": "2026-11-24T05:00:00Z",
        "deleting": False, "ready": True, "conditions": {}, "containers": (), "claims": (), "selector": {},
    }  # fmt: skip
    return Pod(name=name, uid=f"uid-{name}", owner=owner, **{**defaults, **other})


def seen(**other: Any) -> Seen:
    defaults: dict[str, Any] = {
        "deployment": READY, "revisions": (BEFORE, CURRENT), "current": CURRENT, "pods": (pod(),)
    }  # fmt: skip
    return Seen("Deployment", "n", "stt", **{**defaults, **other})


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        pytest.param(seen(), True, id="all there"),
        pytest.param(seen(deployment=replace(READY, observed=1)), False, id="the controller has not seen the change"),
        pytest.param(seen(deployment=replace(READY, updated=0)), False, id="old pods are available, none is new"),
        pytest.param(seen(deployment=replace(READY, available=0)), False, id="not available"),
        pytest.param(seen(deployment=replace(READY, replicas=2)), False, id="an old pod is counted"),
        pytest.param(seen(old_pods=(pod("stt-1-a", "r1", deleting=True),)), False, id="an old pod still stops"),
        pytest.param(seen(old_pods=(pod("stt-1-a", "r1", phase="Failed"),)), True, id="an evicted old pod is no pod"),
        pytest.param(seen(pods=(pod(ready=False),)), False, id="the controller's count is behind the pod"),
        pytest.param(seen(current=None), False, id="no ReplicaSet of the wanted template yet"),
        pytest.param(
            Seen("Job", "n", "seed", job=observed.Job("seed", "j", False, 1, 0, {"Complete": Condition("True")})),
            True,
            id="a Job that has succeeded",
        ),
        pytest.param(
            Seen("Job", "n", "seed", job=observed.Job("seed", "j", False, 0, 1, {})), False, id="a Job that has not"
        ),
    ],
)
def test_complete(view: Seen, expected: bool) -> None:
    assert complete(view) is expected


SOON = "2026-11-24T05:00:00Z"
LATER = "2026-11-24T06:00:00Z"
SERVING = seen(old_pods=(pod("stt-1-a", "r1", deleting=True),))
OLDEST = ReplicaSet("stt-0", "r0", 1, "", 0, {}, {}, {})


def marked(revision: ReplicaSet, when: str) -> ReplicaSet:
    return replace(revision, served=f"{when} {revision.uid}")


@pytest.mark.parametrize(
    ("revisions", "first", "expected"),
    [
        pytest.param((marked(BEFORE, SOON), CURRENT), seen(), "stt-1", id="the one that has served"),
        pytest.param((BEFORE, CURRENT), seen(), None, id="none has served"),
        pytest.param((BEFORE, CURRENT), SERVING, "stt-1", id="it was seen serving"),
        pytest.param(
            (marked(OLDEST, LATER), BEFORE, CURRENT),
            SERVING,
            "stt-1",
            id="somebody else brought the one that was seen serving: it has no mark",
        ),
        pytest.param((BEFORE, marked(CURRENT, LATER)), SERVING, "stt-1", id="back to a marked template that fails now"),
        pytest.param(
            (marked(OLDEST, SOON), replace(BEFORE, revision=2), CURRENT),
            seen(old_pods=(pod("stt-0-a", "r0"), pod("stt-1-a", "r1"))),
            "stt-0",
            id="two are seen serving: the rollout of the unmarked one was not complete",
        ),
        pytest.param(
            (marked(BEFORE, SOON), marked(CURRENT, LATER)),
            seen(),
            None,
            id="the current one served last: the fault came from elsewhere",
        ),
        pytest.param(
            (marked(BEFORE, LATER), marked(CURRENT, SOON)),
            seen(),
            "stt-1",
            id="back to an old template that fails now: forward again",
        ),
        pytest.param(
            (marked(BEFORE, SOON), replace(CURRENT, served=f"{LATER} r1")),
            seen(),
            "stt-1",
            id="a mark that was copied by kubectl rollout undo",
        ),
        pytest.param(
            (replace(BEFORE, served=SOON), CURRENT), seen(), None, id="a mark that names no ReplicaSet may be a copy"
        ),
    ],
)
def test_what_a_rollback_goes_back_to(revisions: tuple[ReplicaSet, ...], first: Seen, expected: str | None) -> None:
    current = next(one for one in revisions if one.uid == "r2")
    found = earlier(seen(revisions=revisions, current=current), first)
    assert (found.name if found else None) == expected


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        pytest.param(seen(), True, id="it has no mark"),
        pytest.param(seen(current=marked(CURRENT, SOON)), False, id="it has"),
        pytest.param(seen(current=replace(CURRENT, served=f"{LATER} r1")), True, id="it has that of another"),
        pytest.param(
            seen(current=marked(CURRENT, SOON), revisions=(marked(BEFORE, LATER), CURRENT)),
            True,
            id="another one served later",
        ),
        pytest.param(seen(deployment=replace(READY, wanted=0), pods=()), False, id="no replicas: nothing has served"),
    ],
)
def test_what_is_marked(view: Seen, expected: bool) -> None:
    assert unmarked(view) is expected


def test_a_mark_names_its_replica_set() -> None:
    value = mark(CURRENT, datetime(2026, 11, 24, 7, tzinfo=timezone(timedelta(hours=2))))
    assert value == "2026-11-24T05:00:00Z r2"
    assert served(replace(CURRENT, served=value)) == SOON


class Recorded(Cluster):
    """Stands for a cluster: has the objects at some paths, notes each change, answers each with the next status."""

    def __init__(self, objects: dict[str, Any] | None = None, *statuses: int) -> None:
        self.objects, self.statuses, self.changes = objects or {}, list(statuses), list[tuple[str, str, Any]]()

    def get(self, path: str, query: Any = None) -> dict[str, Any]:
        if path not in self.objects:
            raise ClusterError("API server", "Not found.", "", status=404)
        return cast(dict[str, Any], self.objects[path])

    def request(self, method: str, path: str, *, body: bytes | None = None, **_: Any) -> bytes:
        self.changes.append((method, path.rpartition("/")[2], json.loads(body) if body else None))
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            raise ClusterError("API server", f"HTTP {status}.", "", status=status)
        return json.dumps(self.objects.get(path, {})).encode()


def task(cluster: Cluster, kind: str = "Deployment") -> Task:
    return Task(cluster, Target(kind, "n", "stt"), Reporter(), wait=lambda _: None)


DEPLOYMENT = Target("Deployment", "n", "stt").path


@pytest.mark.parametrize("left", [False, True], ids=["plain", "after kubectl rollout undo"])
def test_a_mark_is_not_overwritten_by_one_that_was_copied_to_the_deployment(left: bool) -> None:
    annotations = {"portal-stt/served": f"{SOON} r1"} if left else {}
    cluster = Recorded({DEPLOYMENT: {"metadata": {"annotations": annotations}}})
    task(cluster)._mark(seen())
    *before, (method, name, body) = cluster.changes
    assert before == ([("PATCH", "stt", {"metadata": {"annotations": {"portal-stt/served": None}}})] if left else [])
    assert (method, name) == ("PATCH", "stt-2")
    assert body["metadata"]["annotations"]["portal-stt/served"].endswith("Z r2")


@pytest.mark.parametrize("status", [200, 404], ids=["there", "already gone"])
def test_a_pod_that_is_replaced_may_be_gone_already(status: int) -> None:
    cluster = Recorded({}, 0, 503, status)
    began = task(cluster)
    backing_off = pod(ready=False, containers=(BACKING_OFF,))
    before = began._start_afresh(seen(deployment=replace(READY, available=0), pods=(backing_off,)))
    assert cluster.changes == [("DELETE", "stt-2-a", None)] * 3
    assert before.pods == {"uid-stt-2-a"}
    assert began.changed is (status == 200)


OLD = {"spec": {"containers": [{"name": "stt", "image": "img:1"}]}}
MIXED = {"spec": {"containers": [{"name": "stt", "image": "img:1", "env": [{"name": "BROKEN", "value": "1"}]}]}}


@pytest.mark.parametrize("template", [OLD, MIXED], ids=["plain", "somebody else has set a variable"])
def test_what_comes_back_is_the_template_that_served(template: dict[str, Any]) -> None:
    """Also when the API server is away for a moment. What an apply leaves of others is replaced, in the template."""
    deployment = {
        "metadata": {"name": "stt", "namespace": "n", "generation": 7},
        "spec": {"selector": {}, "template": template},
    }
    cluster = Recorded({DEPLOYMENT: deployment}, 0, 429)
    back = task(cluster)
    back._bring_back(replace(BEFORE, template=OLD))
    refused, asked_to_wait, (method, name, manifest), *then = cluster.changes
    assert refused == asked_to_wait == (method, name, manifest)
    assert manifest["spec"]["template"] == OLD
    assert back.rolled_back
    patch = [
        {"op": "test", "path": "/metadata/generation", "value": 7},
        {"op": "replace", "path": "/spec/template", "value": OLD},
    ]
    assert then == ([] if template == OLD else [("PATCH", "stt", patch)])


# Whether to go back


def failing(cause: str, about: tuple[str, ...], *, outside: bool = False) -> Outcome:
    """A rollout that has failed; `BEFORE` has served, with another image and the same limits."""
    limited = {"resources": {"limits": {"memory": "4Gi"}}}
    new, old = ({"spec": {"containers": [{"name": "stt", "image": one, **limited}]}} for one in ("img:2", "img:1"))
    revisions = (marked(replace(BEFORE, template=old), SOON), replace(CURRENT, template=new))
    last = seen(revisions=revisions, current=revisions[1])
    diagnosis = Diagnosis(cause, "It fails.", "pod a", "certain", True, outside, (), "", about)
    return Outcome(Verdict.FAILED, diagnosis, last, last, 1.0)


@pytest.mark.parametrize(
    ("about", "outside", "expected"),
    [
        (("limits",), False, "it has the same requests and limits, so going back cannot help."),
        (("node",), False, "the cause is nothing that a revision declares, so going back cannot help."),
        ((), True, "it would fail in the same way, so going back cannot help."),
    ],
)
def test_nothing_comes_back_in_vain(about: tuple[str, ...], outside: bool, expected: str) -> None:
    cluster = Recorded()
    outcome = failing("some", about, outside=outside)
    assert outcome.diagnosis is not None
    back = task(cluster)
    assert back._go_back(outcome, outcome.diagnosis, 1) == f"Revision 1 was not brought back: {expected}"
    assert (cluster.changes, back.rolled_back) == ([], False)
    assert _outside(outcome, outcome.diagnosis)


def test_what_differs_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = {"metadata": {"name": "stt", "namespace": "n", "generation": 7}, "spec": {"selector": {}}}
    outcome = failing("image-missing", ("image",), outside=True)
    assert outcome.diagnosis is not None
    template = outcome.last.revisions[0].template
    cluster = Recorded({DEPLOYMENT: {**deployment, "spec": {"selector": {}, "template": template}}})
    back = task(cluster)
    monkeypatch.setattr(back, "_follow", lambda *_: replace(outcome, verdict=Verdict.COMPLETE, diagnosis=None))
    assert not _outside(outcome, outcome.diagnosis)
    said = back._go_back(outcome, outcome.diagnosis, 1)
    assert (said, back.rolled_back) == ("Revision 1 is back and serves, after 1 s.", True)


# Somebody else


def test_a_watch_ends_when_somebody_else_changes_what_was_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as a success of the other's template, however ready that is."""
    target = Target("Deployment", "n", "stt", uid="d", generation=1)
    theirs = {"manager": "keel", "time": SOON, "fieldsV1": {"f:spec": {"f:template": {}}}}

    def deployment(generation: int, image: str) -> dict[str, Any]:
        meta = {"name": "stt", "uid": "d", "generation": generation, "managedFields": [theirs]}
        template = {"spec": {"containers": [{"name": "stt", "image": image}]}}
        status = {"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
        return {"metadata": meta, "spec": {"replicas": 1, "template": template}, "status": status}

    class Told:
        """Stands for the watches: what they would tell."""

        def __init__(self, _: Any) -> None:
            self.inbox: SimpleQueue[Any] = SimpleQueue()
            for path in (target.core("pods"), target.core("events"), target.replica_sets):
                self.inbox.put(Listed(path, ()))
            self.inbox.put(Listed(target.collection, (deployment(2, "img:2"),)))

        def add(self, *_: Any, **__: Any) -> None: ...
        def stop(self) -> None: ...

    monkeypatch.setattr(_follow, "Watches", Told)
    follower = _follow.Follower(Recorded({}), target, lambda *_: None)
    with pytest.raises(_follow.RolloutError) as error:
        follower.run(deployment(1, "img:1"), 10)
    assert str(error.value) == (
        "Deployment n/stt: It is no longer what this run declared: somebody else (field manager keel) changed it.\n"
        "  generation 2, declared 1\n"
        "See who deploys it too (kubectl get --show-managed-fields), let one do it, then run again."
    )


# Time


def waiting(reason: str, message: str) -> Seen:
    container = observed.Container("stt", "img:1", "waiting", reason, message)
    return seen(
        deployment=replace(READY, available=0), pods=(pod(ready=False, phase="Pending", containers=(container,)),)
    )


UNREACHABLE = waiting("ErrImagePull", "dial tcp 10.0.0.1:443: connect: connection refused")
BUSY = seen(
    deployment=replace(READY, available=0),
    pods=(pod(ready=False, containers=(observed.Container("stt", "img:1", "running"),)),),
)


def play(*looks: tuple[float, Seen], deadline: float = 900) -> list[tuple[float, str]]:
    """The verdict at each look, as (second, verdict and cause)."""
    memory, out = Memory(), []
    for now, view in looks:
        step = advance(memory, view, now, deadline)
        memory = step.memory
        out.append((now, f"{step.verdict}{f' {step.diagnosis.cause}' if step.diagnosis else ''}"))
    return out


def test_a_registry_that_does_not_answer_is_given_its_time() -> None:
    assert play((0, UNREACHABLE), (60, UNREACHABLE), (69, UNREACHABLE), (78, UNREACHABLE), (87, UNREACHABLE)) == [
        (0, "waiting"),
        (60, "waiting"),  # out of sight for a minute: the count begins anew
        (69, "waiting"),
        (78, "waiting"),
        (87, "waiting"),
    ]
    steady = [(float(second), UNREACHABLE) for second in range(0, 100, 5)]
    verdicts = dict(play(*steady))
    assert verdicts[85.0] == "waiting"
    assert verdicts[90.0] == "failed registry-unreachable"


def test_a_registry_that_comes_back_in_between_is_no_failure() -> None:
    looks = [
        (0.0, UNREACHABLE),
        (30.0, BUSY),
        (100.0, BUSY),
        (130.0, UNREACHABLE),
        (139.0, UNREACHABLE),
        (150.0, seen()),
    ]
    assert play(*looks)[-1] == (150.0, "complete")


def test_a_tag_that_is_missing_ends_it_at_once() -> None:
    assert play((3, waiting("ErrImagePull", "img:1: not found"))) == [(3, "failed image-missing")]


def test_a_slow_start_is_no_failure_until_the_time_is_over() -> None:
    looks = [(float(second), BUSY) for second in range(0, 901, 60)]
    verdicts = play(*looks)
    assert {verdict for _, verdict in verdicts[:-1]} == {"waiting"}
    assert verdicts[-1] == (900.0, "failed unknown")


def test_the_deployments_own_deadline_is_not_the_end_of_a_long_pull() -> None:
    late = {"Progressing": Condition("False", "ProgressDeadlineExceeded", "timed out progressing")}
    container = observed.Container("stt", "img:1", "waiting", "ContainerCreating")
    assert READY.conditions == {}
    pulling = seen(
        deployment=replace(READY, available=0, conditions=late),
        pods=(pod(ready=False, phase="Pending", containers=(container,)),),
    )
    assert play((700, pulling)) == [(700, "waiting")]


def test_progress_is_said_once_and_silence_is_broken() -> None:
    memory, said = Memory(), []
    for now in range(0, 100, 10):
        step = advance(memory, BUSY, float(now), 900)
        memory = step.memory
        said += [(now, line) for line in step.lines]
    assert said == [
        (0, Line("scheduled on node gpu-1", "stt-2-a")),
        (0, Line("container started", "stt-2-a")),
        (30, Line("still waiting for the container to be ready, for 30 s", "stt-2-a")),
        (60, Line("still waiting for the container to be ready, for 60 s", "stt-2-a")),
        (90, Line("still waiting for the container to be ready, for 90 s", "stt-2-a")),
    ]


def test_progress_of_a_captured_start() -> None:
    """A real Deployment that became ready, with its events."""
    raw = {
        name: json.loads((CAPTURED / f"ok-stt-{name}.json").read_text())["items"]
        for name in ("deploy", "rs", "pod", "events")
    }
    target = Target("Deployment", raw["deploy"][0]["metadata"]["namespace"], raw["deploy"][0]["metadata"]["name"])
    objects = {
        path: {one["metadata"]["uid"]: one for one in raw[name]}
        for path, name in {
            target.collection: "deploy", target.replica_sets: "rs", target.core("pods"): "pod",
            target.core("events"): "events",
        }.items()
    }  # fmt: skip
    view = assemble(target, objects)
    step = advance(Memory(), view, 0, 900)
    assert step.verdict is Verdict.COMPLETE
    name = view.pods[0].name
    assert Line("scheduled on node gpu-node-1", name) in step.lines
    assert step.lines[-1] == Line("ready", name)


# A captured crash, status by status


def test_replay_of_a_crash() -> None:
    """The third end of the container is the one that decides; the pod was Ready for a moment between the first two."""
    content = json.loads((CAPTURED / "crash-exit-3.json").read_text())
    memory, verdicts = Memory(), []
    for second, entry in enumerate(content["statusHistory"]):
        one = observed.pod({**content["pod"], "status": entry["status"]})
        view = seen(deployment=replace(READY, available=0), pods=(replace(one, owner="r2"),))
        view = replace(view, logs={(one.uid, "stt"): tuple(content["logs"].splitlines())})
        step = advance(memory, view, float(second), 900)
        memory = step.memory
        verdicts.append(step.verdict)
        if step.verdict is Verdict.FAILED:
            assert step.diagnosis is not None
            assert step.diagnosis.cause == "crash-loop"
            assert view.pods[0].containers[0].restarts == 2
            break
    assert verdicts[-1] is Verdict.FAILED


# What had failed before


@pytest.mark.parametrize(
    ("now", "names"),
    [("2026-11-24T05:00:20Z", []), ("2026-11-24T05:10:00Z", ["stt-2-a"])],
)
def test_pods_that_had_failed_before_the_run(now: str, names: list[str]) -> None:
    found = leftovers(UNREACHABLE, datetime.fromisoformat(now).astimezone(UTC))
    assert [one.name for one in found] == names


NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
REBOOTED = observed.Container("stt", "img:1", "running", restarts=1, exit=Exit(255, "Unknown", "", SOON))
CRASHED = replace(REBOOTED, restarts=5, exit=Exit(1, "Error", "", SOON))
BACKING_OFF = replace(CRASHED, state="waiting", reason="CrashLoopBackOff")
PULLING = observed.Container("stt", "img:1", "waiting", "ImagePullBackOff", "connection refused")
LOADING = observed.Container("stt", "img:1", "running")
UNREADY = observed.Container("stt", "img:1", "running", started=True, restarts=5, exit=Exit(1, "Error", "", SOON))


@pytest.mark.parametrize(
    ("pods", "names"),
    [
        pytest.param({"a": [LOADING]}, [], id="it starts slowly"),
        pytest.param({"a": [PULLING], "b": [LOADING]}, ["a"], id="one backs off, its neighbour loads"),
        pytest.param({"a": [PULLING], "b": [PULLING]}, ["a", "b"], id="two back off for the same cause"),
        pytest.param({"a": [REBOOTED]}, [], id="the node was restarted, and it loads"),
        pytest.param({"a": [CRASHED]}, [], id="it had crashed, and loads now"),
        pytest.param({"a": [UNREADY]}, [], id="it had crashed, and is not ready now"),
        pytest.param({"a": [BACKING_OFF]}, ["a"], id="it had crashed, and backs off"),
        pytest.param({"a": [replace(BACKING_OFF, restarts=1)]}, [], id="it has not crashed often enough to be final"),
        pytest.param({"a": [BACKING_OFF, replace(LOADING, name="helper")]}, [], id="its other container loads"),
    ],
)
def test_what_is_replaced_at_the_beginning(pods: dict[str, list[observed.Container]], names: list[str]) -> None:
    made = tuple(pod(name, ready=False, containers=tuple(containers)) for name, containers in pods.items())
    view = seen(deployment=replace(READY, available=0), pods=made)
    assert [one.name for one in leftovers(view, NOW)] == names


def test_evicted_pods_of_before_are_removed_unless_it_serves() -> None:
    evicted = tuple(pod(name, phase="Failed", reason="Evicted", ready=False) for name in "ab")
    view = seen(deployment=replace(READY, available=0), pods=evicted)
    assert leftovers(view, NOW) == evicted
    assert leftovers(seen(pods=(*evicted, pod())), NOW) == ()


def test_crashes_of_before_do_not_end_a_start_that_goes_on() -> None:
    killed = observed.Event(
        "Pod", "a", "uid-a", "Normal", "Killing", "Container stt failed liveness probe, …", 7, SOON, "e1"
    )
    first = seen(
        deployment=replace(READY, available=0), pods=(pod("a", ready=False, containers=(CRASHED,)),), events=(killed,)
    )
    before = past(first, (), NOW)
    assert play((0, without(first, before))) == [(0, "waiting")]
    ended = replace(CRASHED, state="terminated", exit=Exit(1, "Error", "", LATER))
    ends = [replace(ended, restarts=restarts) for restarts in range(5, 11)]
    views = [replace(first, pods=(pod("a", ready=False, containers=(one,)),)) for one in ends]
    looks = [(second, without(view, before)) for second, view in enumerate(views, 1)]
    assert play(*looks) == [*((second, "waiting") for second in range(1, 6)), (6, "failed crash-loop")]
    again = without(replace(first, events=(replace(killed, count=9),)), before)
    assert [event.count for event in again.events] == [2]


def test_failed_tries_of_before_do_not_end_a_job_whose_next_one_runs() -> None:
    said = json.dumps(
        {"error": "The hub has no such revision.", "cause": "HTTP 404", "remedy": "Correct it.", "again": False}
    )
    ended = observed.Container("seed", "img:1", "terminated", exit=Exit(12, "Error", said, SOON))
    failed = pod("seed-a", "j", phase="Failed", ready=False, containers=(ended,))
    downloads = pod("seed-b", "j", containers=(replace(LOADING, name="seed"),))
    view = Seen("Job", "n", "seed", job=observed.Job("seed", "j", False, 0, 1, {}), pods=(failed, downloads))
    assert play((0, view)) == [(0, "failed seed-failed")]
    assert play((0, without(view, past(view, (), NOW)))) == [(0, "waiting")]


@pytest.mark.parametrize("conditions", [{}, {"Complete": Condition("True")}])
def test_the_pod_of_a_job_that_did_its_work_is_left_alone(conditions: dict[str, Condition]) -> None:
    """Also in the moment before the Job's controller has counted it."""
    container = observed.Container("seed", "img:1", "terminated", exit=Exit(0, "Completed", "", LATER))
    done = pod("seed-c", "j", phase="Succeeded", ready=False, containers=(container,))
    tried = replace(
        done, name="seed-a", uid="uid-seed-a", containers=(replace(container, exit=Exit(10, "Error", "", SOON)),)
    )
    again = replace(tried, name="seed-b", uid="uid-seed-b")
    job = observed.Job("seed", "j", False, 1, 2, conditions)
    view = Seen("Job", "n", "seed", job=job, pods=(tried, again, done))
    assert leftovers(view, datetime(2026, 11, 24, 6, tzinfo=UTC)) == ()
    assert advance(Memory(), view, 60, 900).verdict is (Verdict.COMPLETE if conditions else Verdict.WAITING)


OLLAMA = Holder("llm", "ollama", 1, "nvidia.com/gpu", "gpu-1")


@pytest.mark.parametrize(
    ("line", "neighbours"),
    [
        (
            "RuntimeError: CUDA failed with error out of memory",
            (OLLAMA,),
        ),
        (
            "cublasCreate failed with CUBLAS_STATUS_ALLOC_FAILED",
            (OLLAMA,),
        ),
        ("RuntimeError: no kernel image is available for execution on the device", None),
    ],
)
def test_who_sits_on_a_card_is_asked_when_it_is_full(line: str, neighbours: tuple[Holder, ...] | None) -> None:
    class Told(Recorded):
        """Has a log, and a pod of somebody else on the node."""

        def request(self, method: str, path: str, **_: Any) -> bytes:
            return line.encode()

    spec = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    ollama = {"metadata": {"namespace": "llm", "name": "ollama"}, "spec": spec}
    cluster = Told({"/api/v1/pods": {"items": [ollama]}})
    view = seen(pods=(pod(ready=False, containers=(replace(BACKING_OFF, restarts=1),)),))
    watches = cast(Any, SimpleNamespace(add=lambda *_, **__: None))
    found = Lookups(cluster, Target("Deployment", "n", "stt")).complete(view, {}, watches)
    assert found.neighbours == neighbours


def test_who_is_on_the_nodes_is_asked_where_no_node_takes_the_pod() -> None:
    """And which other nodes there are, where none has the labels."""

    class Asked(Recorded):
        def get(self, path: str, query: Any = None) -> dict[str, Any]:
            asked.append((path, query))
            return super().get(path, query) if "labelSelector" not in query else {"items": []}

    asked: list[tuple[str, Any]] = []
    raw = {"metadata": {"name": "gpu-1"}, "status": {"allocatable": {"nvidia.com/gpu": "1"}}}
    unplaced = pod(
        node="", ready=False, selector={"gpu": "yes"}, conditions={"PodScheduled": Condition("False", "", "0/1 …")}
    )
    watches = cast(Any, SimpleNamespace(add=lambda *_, **__: None))
    lookups = Lookups(Asked({"/api/v1/nodes": {"items": [raw]}}), Target("Deployment", "n", "stt"))
    for _ in range(2):
        found = lookups.complete(seen(pods=(unplaced,)), {}, watches)
    assert (found.nodes, list(found.others), found.neighbours) == ({}, ["gpu-1"], ())
    assert asked == [
        ("/api/v1/nodes", {"labelSelector": "gpu=yes", "limit": "50"}),
        ("/api/v1/nodes", {"limit": "50"}),
    ]


def test_a_pod_that_was_replaced_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cause is gone, and the news that it is deleted comes later than the first verdict would."""
    template = {"metadata": {"labels": {"app": "stt"}}, "spec": {"containers": [{"name": "stt", "image": "img:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "stt"}}, "template": template}
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    deployment = {"metadata": {"name": "stt", "uid": "d", "generation": 1}, "spec": spec, "status": status}
    owned = {"ownerReferences": [{"uid": "d", "controller": True}]}
    revision = {"metadata": {"name": "stt-1", "uid": "r", **owned}, "spec": {"template": template}}
    missing = {"reason": "ErrImagePull", "message": "manifest unknown: not found"}

    def made(name: str, **status: Any) -> dict[str, Any]:
        owned = {"ownerReferences": [{"uid": "r", "controller": True}]}
        return {"metadata": {"name": name, "uid": name, **owned}, "spec": template["spec"], "status": status}

    failed = made("a", containerStatuses=[{"name": "stt", "state": {"waiting": missing}}])
    ready = made("b", conditions=[{"type": "Ready", "status": "True"}])
    target, said = Target("Deployment", "n", "stt"), list[str]()

    class Told:
        """Stands for the watches: what they would tell."""

        def __init__(self, _: Any) -> None:
            self.inbox: SimpleQueue[Any] = SimpleQueue()
            lists = {target.collection: deployment, target.replica_sets: revision, target.core("pods"): failed}
            for path, one in lists.items():
                self.inbox.put(Listed(path, (one,)))
            self.inbox.put(Listed(target.core("events"), ()))
            inboxes.append(self.inbox)

        def add(self, *_: Any, **__: Any) -> None: ...
        def stop(self) -> None: ...

    def begin(view: Seen) -> Past:
        (old,) = view.pods
        (inbox,) = inboxes
        inbox.put(Listed(target.core("pods"), (failed, ready)))
        inbox.put(Changed(target.collection, {**deployment, "status": {**status, "availableReplicas": 1}}, gone=False))
        return Past(frozenset([old.uid]))

    inboxes: list[SimpleQueue[Any]] = []
    monkeypatch.setattr(_follow, "Watches", Told)
    outcome = _follow.Follower(cast(Any, None), target, lambda line, pod="": said.append(line), begin=begin).run(
        deployment, 10
    )
    assert (outcome.verdict, outcome.diagnosis) == (Verdict.COMPLETE, None)


@pytest.mark.parametrize(
    ("ready", "observed_generation", "asked", "at_once"),
    [
        pytest.param("True", 1, ["pods", "replicasets"], True, id="it serves"),
        pytest.param("False", 1, ["pods", "replicasets"], False, id="its pod does not serve any more"),
        pytest.param("True", 0, [], False, id="its controller has not seen it yet"),
    ],
)
def test_what_is_complete_already_is_not_watched(
    monkeypatch: pytest.MonkeyPatch, ready: str, observed_generation: int, asked: list[str], at_once: bool
) -> None:
    template = {"metadata": {"labels": {"app": "stt"}}, "spec": {"containers": [{"name": "stt", "image": "img:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "stt"}}, "template": template}
    counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": observed_generation}
    deployment = {"metadata": {"name": "stt", "uid": "d", "generation": 1}, "spec": spec, "status": counts}
    revision = {"metadata": {"name": "stt-1", "uid": "r", "ownerReferences": [{"uid": "d", "controller": True}]}}
    serving = {
        "metadata": {"name": "stt-1-a", "uid": "p", "ownerReferences": [{"uid": "r", "controller": True}]},
        "spec": template["spec"],
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    }
    kinds = {"pods": serving, "replicasets": {**revision, "spec": {"template": template}}}
    listed, said = list[str](), list[tuple[str, str]]()

    class Watched(Exception):
        """The watches begin."""

    class Asked(Recorded):
        def get(self, path: str, query: Any = None) -> dict[str, Any]:
            assert query == {"labelSelector": "app=stt"}
            listed.append(path.rpartition("/")[2])
            return {"items": [kinds[listed[-1]]]}

    def watches(_: Any) -> None:
        raise Watched

    monkeypatch.setattr(_follow, "Watches", watches)
    follower = _follow.Follower(
        Asked({}), Target("Deployment", "n", "stt"), lambda line, pod="": said.append((line, pod))
    )
    if at_once:
        outcome = follower.run(deployment, 10)
        assert (outcome.verdict, [one.name for one in outcome.last.pods]) == (Verdict.COMPLETE, ["stt-1-a"])
        assert said == [("ready", "stt-1-a")]
    else:
        with pytest.raises(Watched):
            follower.run(deployment, 10)
        assert said == []
    assert listed == asked


def test_patience_begins_when_the_old_pod_has_gone() -> None:
    short = Condition("True", "FailedCreate", "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1")
    refused = replace(CURRENT, conditions={"ReplicaFailure": short})
    view = seen(deployment=replace(READY, available=0), current=refused, pods=(), old_pods=(pod("stt-1-a", "r1"),))
    memory, verdicts = Memory(), []
    for now in (0, 5, 9, 10, 11.6):
        step = advance(memory, view if now < 10 else replace(view, old_pods=()), now, 900)
        memory = step.memory
        verdicts.append(step.verdict)
    assert verdicts == [Verdict.WAITING] * 4 + [Verdict.FAILED]


def test_exit_of_a_pod_that_is_ready_again_is_history() -> None:
    container = observed.Container("stt", "img:1", "running", ready=True, restarts=5, exit=Exit(1, "Error", "", "x"))
    assert complete(seen(pods=(pod(containers=(container,)),)))


# The way back


def test_the_manifest_of_an_earlier_revision() -> None:
    """What our field manager owns stays; the template and the copied annotations are those of the revision."""
    deployment = {
        "metadata": {
            "name": "stt",
            "namespace": "n",
            "labels": {"app": "stt", "theirs": "x"},
            "annotations": {"portal-stt/image": "new", "keel.sh/policy": "minor"},
            "managedFields": [
                {"manager": "keel", "operation": "Update", "fieldsV1": {"f:metadata": {"f:annotations": {}}}},
                {
                    "manager": "portal-stt",
                    "operation": "Apply",
                    "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:app": {}}, "f:annotations": {"f:portal-stt/image": {}}},
                        "f:spec": {"f:replicas": {}, "f:strategy": {"f:type": {}}, "f:template": {"f:spec": {}}},
                    },
                },
            ],
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "stt"}},
            "template": {"spec": {"containers": ["new"]}},
        },
    }
    revision = replace(BEFORE, template={"spec": {"containers": ["old"]}}, annotations={"portal-stt/image": "old"})
    assert earlier_manifest(deployment, revision) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "stt",
            "namespace": "n",
            "labels": {"app": "stt"},
            "annotations": {"portal-stt/image": "old"},
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": "stt"}},
            "template": {"spec": {"containers": ["old"]}},
        },
    }


@pytest.mark.parametrize(
    ("created", "status", "expected"),
    [
        pytest.param(SOON, {"failed": 4, "conditions": [{"type": "Failed", "status": "True"}]}, True, id="for ever"),
        pytest.param(SOON, {"failed": 1, "active": 1}, False, id="its next try downloads"),
        pytest.param(SOON, {"failed": 1}, True, id="it waits for its next try"),
        pytest.param(SOON, {}, True, id="its pod was refused"),
        pytest.param("2026-11-24T05:59:50Z", {}, False, id="it was made just now"),
        pytest.param(
            SOON,
            {"failed": 1, "succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
            False,
            id="done",
        ),
    ],
)
def test_a_job_that_is_made_anew(created: str, status: dict[str, Any], expected: bool) -> None:
    assert stuck({"metadata": {"creationTimestamp": created}, "spec": {}, "status": status}, NOW) is expected


def test_the_manifest_of_a_job_that_had_failed() -> None:
    labels = {"app": "seed", "controller-uid": "1", "batch.kubernetes.io/job-name": "seed"}
    job = {
        "metadata": {"name": "seed", "namespace": "n", "uid": "1", "labels": labels},
        "spec": {
            "backoffLimit": 3,
            "selector": {"matchLabels": {"controller-uid": "1"}},
            "template": {"metadata": {"labels": labels, "creationTimestamp": None}, "spec": {"containers": []}},
        },
        "status": {"failed": 4},
    }
    assert job_manifest(job) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "seed", "namespace": "n", "labels": {"app": "seed"}},
        "spec": {"backoffLimit": 3, "template": {"metadata": {"labels": {"app": "seed"}}, "spec": {"containers": []}}},
    }


# What it needs


NEEDED = [
    *[("apps", kind, verb) for kind in ("deployments", "replicasets") for verb in ("get", "list", "watch", "patch")],
    *[("batch", "jobs", verb) for verb in ("get", "list", "watch", "create", "patch", "delete")],
    *[("", kind, verb) for kind in ("pods", "events", "persistentvolumeclaims", "nodes") for verb in ("list", "watch")],
    ("", "pods", "delete"),
    ("", "pods/log", "get"),
    ("metrics.k8s.io", "pods", "get"),
]


def test_the_account_of_rbac_yml_has_the_rights_that_a_rollout_needs() -> None:
    """Of its own Deployment by name, of all others not."""
    settings = Settings(namespace="n", name="stt")
    granted = {
        (right.group, kind, verb)
        for right in (*rbac.inside(settings), *rbac.outside(settings))
        if not right.names or (right.resources, right.names) == (("deployments",), ("stt",))
        for kind in right.resources
        for verb in right.verbs
    }
    assert [right for right in NEEDED if right not in granted] == []


def test_the_faults_that_the_role_makes_can_be_checked_by_molecule() -> None:
    """Its scenario wants each to be final, and what served before to be back."""
    made = [fault for fault in table() if fault.role is not None]
    assert [fault.cause for fault in made] == [
        "gpu-insufficient",
        "taint-not-tolerated",
        "no-gpu-node",
        "priority-class-missing",
        "runtime-class-missing",
    ]
    assert all(fault.final and not fault.outside and fault.at == "cluster" for fault in made)
    assert {name for fault in made for name in fault.role or {}} <= set(gpu_options())


def gpu_options() -> dict[str, Any]:
    """The options of the role's speaches_gpu."""
    specs = Path(__file__).parents[3] / "roles" / "speaches" / "meta" / "argument_specs.yml"
    main = yaml.safe_load(specs.read_text())["argument_specs"]["main"]
    return cast(dict[str, Any], main["options"]["speaches_gpu"]["options"])
