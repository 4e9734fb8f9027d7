"""Whose an object is, on a real API server: what k8s_apply refuses and takes, what k8s_remove leaves.

The modules are run in this process.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.apply import label
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster, connect
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.ownership import MANAGER
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.paths import Paths
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.selected import strangers
from ansible_collections.portal.stt.plugins.modules import k8s_apply, k8s_job, k8s_remove, k8s_rollout

from lab import api
from tests.conftest import Played, play, until
from tests.modules import run_module

SPACE = "whose"
MARKS = {"app.kubernetes.io/managed-by": "portal-stt", "app.kubernetes.io/part-of": "stt"}
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return connect({})


def of(version: str, kind: str, **content: Any) -> Manifest:
    place = {} if kind in ("Namespace", "PersistentVolume") else {"namespace": SPACE}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "whose", **place, "labels": MARKS}, **content}


POD: Manifest = {"containers": [{"name": "stt", "image": "10.77.0.1:5000/none"}]}
TEMPLATE: Manifest = {"metadata": {"labels": {"app": "stt"}}, "spec": POD}
SELECTOR: Manifest = {"matchLabels": {"app": "stt"}}
DEPLOYMENT: Manifest = of("apps/v1", "Deployment", spec={"replicas": 1, "selector": SELECTOR, "template": TEMPLATE})
SECRET = of("v1", "Secret", data={"api-key": base64.b64encode(b"sesame").decode()})
MODES: Manifest = {"accessModes": ["ReadWriteMany"], "storageClassName": "none"}
CLAIM = of(
    "v1",
    "PersistentVolumeClaim",
    spec={**MODES, "volumeName": "whose", "resources": {"requests": {"storage": "1Gi"}}},
)
VOLUME = of(
    "v1",
    "PersistentVolume",
    spec={
        **MODES,
        "capacity": {"storage": "1Gi"},
        "persistentVolumeReclaimPolicy": "Retain",
        "nfs": {"server": "10.77.0.2", "path": "/srv"},
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": SPACE, "name": "whose"},
    },
)
KINDS = [
    DEPLOYMENT,
    SECRET,
    VOLUME,
    CLAIM,
    of("v1", "Service", spec={"selector": {"app": "stt"}, "ports": [{"port": 80}]}),
    of("v1", "ConfigMap", data={"a": "1"}),
    of("batch/v1", "Job", spec={"template": {"spec": {**POD, "restartPolicy": "Never"}}}),
    of("networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {}}),
    of("policy/v1", "PodDisruptionBudget", spec={"maxUnavailable": 1, "selector": {"matchLabels": {"app": "stt"}}}),
]
JOB, SERVICE = (next(one for one in KINDS if one["kind"] == kind) for kind in ("Job", "Service"))


@pytest.fixture(scope="module", autouse=True)
def space() -> Iterator[None]:
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}})
    yield
    api.call("DELETE", f"/api/v1/namespaces/{SPACE}")


@pytest.fixture(autouse=True)
def nothing_is_left(space: None) -> Iterator[None]:
    yield
    at = {path(one).rsplit("/", 1)[0]: one for one in KINDS}
    at.pop("/api/v1/persistentvolumes")
    for where in at:
        for one in api.call("GET", where)["items"]:
            if one["metadata"]["name"] != "kube-root-ca.crt":
                api.call("DELETE", f"{where}/{one['metadata']['name']}", accept=(404,), propagationPolicy="Background")
    api.call("DELETE", path(VOLUME), accept=(404,))
    until(lambda: not any(map(there, KINDS)), 60, lambda: [there(one) for one in KINDS])


def path(manifest: Manifest) -> str:
    return Paths(connect({})).object(manifest)


def ours(cluster: Cluster, *manifests: Manifest) -> None:
    for one in manifests:
        cluster.apply(path(one), one, field_manager=MANAGER)


def theirs(manifest: Manifest, **labels: str) -> None:
    """Made by somebody else: another manager, other labels, and for the rest the same."""
    other = {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}
    api.call("POST", path(manifest).rsplit("/", 1)[0], other, fieldManager="kubectl-create")


def there(manifest: Manifest) -> dict[str, Any] | None:
    found = api.call("GET", path(manifest), accept=(404,))
    return found if found["kind"] == manifest["kind"] else None


def asked(*manifests: Manifest, **options: Any) -> dict[str, Any]:
    return run_module(k8s_apply, definition=list(manifests), **options)


def removed(*manifests: Manifest, **options: Any) -> dict[str, Any]:
    return run_module(k8s_remove, definition=list(manifests), **{"wait_timeout": 30, **options})


# ---- objects of others


@pytest.mark.parametrize("manifest", KINDS, ids=lambda one: one["kind"])
def test_an_object_of_somebody_else_is_neither_changed_nor_deleted(manifest: Manifest) -> None:
    theirs(manifest, owner="helen")
    before = there(manifest)
    assert before
    refused = asked(manifest, _ansible_check_mode=True)
    assert refused["failed"]
    assert f"{label(manifest)}: there is one of this name already, which was not made by us" in refused["msg"]
    assert "fields are set by kubectl-create" in refused["msg"]
    assert "labels: owner=helen" in refused["msg"]
    assert "Choose another metadata.name." in refused["msg"]
    left = removed(manifest)
    assert not left["changed"]
    assert [(one["status"], one["subject"]) for one in left["findings"]] == [("warning", label(manifest))]
    after = there(manifest)
    assert after
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]


@pytest.mark.parametrize("manifest", KINDS, ids=lambda one: one["kind"])
def test_an_object_of_ours_goes_and_is_then_gone(cluster: Cluster, manifest: Manifest) -> None:
    ours(cluster, manifest)
    planned = removed(manifest, _ansible_check_mode=True, _ansible_diff=True)
    assert planned["changed"]
    assert planned["diff"][0]["before"].startswith("apiVersion")
    assert planned["diff"][0]["after"] == ""
    assert there(manifest)
    assert removed(manifest)["objects_removed"] == [label(manifest)]
    assert not there(manifest)
    again = removed(manifest)
    assert (again["changed"], [one["status"] for one in again["findings"]]) == (False, ["ok"])


def test_another_installation_is_told_by_its_label(cluster: Cluster) -> None:
    other = {
        **DEPLOYMENT,
        "metadata": {**DEPLOYMENT["metadata"], "labels": {**MARKS, "app.kubernetes.io/part-of": "b"}},
    }
    ours(cluster, other)
    assert "which carries the label app.kubernetes.io/part-of=b" in asked(DEPLOYMENT)["msg"]
    assert not removed(DEPLOYMENT)["changed"]
    assert there(DEPLOYMENT)


def test_what_an_earlier_version_made_without_the_labels_is_ours(cluster: Cluster) -> None:
    before = {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "labels": {"app": "stt"}}}
    ours(cluster, before)
    assert asked(DEPLOYMENT, _ansible_check_mode=True)["objects_changed"] == [label(DEPLOYMENT)]
    assert removed(DEPLOYMENT)["changed"]


def test_a_volume_that_is_bound_to_a_claim_of_somebody_else_stays_bound(cluster: Cluster) -> None:
    """A deletionTimestamp could not be taken back."""
    held = {**VOLUME["spec"], "claimRef": {**VOLUME["spec"]["claimRef"], "name": "others"}}
    ours(cluster, {**VOLUME, "spec": held})
    claim = {**CLAIM, "metadata": {"name": "others", "namespace": SPACE}}
    api.call("POST", f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims", claim)
    bound = until(lambda: (there(VOLUME) or {})["status"].get("phase") == "Bound", 30, lambda: there(VOLUME))
    assert bound
    left = removed(VOLUME)
    assert f"it is for the claim {SPACE}/others, and is left" in left["findings"][0]["message"]
    assert "deletionTimestamp" not in (there(VOLUME) or {})["metadata"]


def test_claim_and_volume_go_one_after_the_other(cluster: Cluster) -> None:
    ours(cluster, VOLUME, CLAIM)
    until(lambda: (there(CLAIM) or {})["status"].get("phase") == "Bound", 30, lambda: there(CLAIM))
    assert removed(VOLUME, CLAIM)["objects_removed"] == [label(CLAIM), label(VOLUME)]
    assert not there(VOLUME)


def pod(name: str, **labels: str) -> Manifest:
    """Mounts the claim; no node takes it, so that it is there as long as it is not deleted."""
    volume = {"name": "models", "persistentVolumeClaim": {"claimName": "whose"}}
    spec = {**POD, "volumes": [volume], "nodeSelector": {"nowhere": ""}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


@pytest.fixture
def pods() -> Iterator[str]:
    """Where pods are; none is left."""
    where = f"/api/v1/namespaces/{SPACE}/pods"
    yield where
    for one in api.call("GET", where)["items"]:
        api.call("DELETE", f"{where}/{one['metadata']['name']}", accept=(404,), gracePeriodSeconds="0")
    until(lambda: not api.call("GET", where)["items"], 30, lambda: api.call("GET", where))


def bound(cluster: Cluster) -> None:
    ours(cluster, VOLUME, CLAIM)
    until(lambda: (there(CLAIM) or {})["status"].get("phase") == "Bound", 30, lambda: there(CLAIM))


def unmarked(*manifests: Manifest) -> list[str]:
    """Which of them are being deleted."""
    found = {label(one): there(one) for one in manifests}
    assert all(found.values()), found
    return [name for name, one in found.items() if one and "deletionTimestamp" in one["metadata"]]


@pytest.mark.parametrize("check", [True, False])
def test_nothing_is_removed_where_a_pod_of_somebody_else_mounts_the_claim(
    cluster: Cluster, pods: str, check: bool
) -> None:
    bound(cluster)
    ours(cluster, SERVICE)
    api.call("POST", pods, pod("backup"), fieldManager="helm")
    refused = removed(SERVICE, CLAIM, VOLUME, _ansible_check_mode=check)
    assert (refused["failed"], refused["changed"], refused["objects_removed"]) == (True, False, [])
    assert refused["msg"] == (
        f"{label(CLAIM)}: is to go, but is mounted by pods that are not ours: nothing was removed.\n"
        f"  Pod {SPACE}/backup, made by helm\n"
        "Have their owners delete them or give them another claim, then run again."
    )
    assert unmarked(SERVICE, CLAIM, VOLUME) == []


def test_a_pod_of_ours_that_stays_keeps_the_volume(cluster: Cluster, pods: str) -> None:
    """And does not have it marked for deletion, which could not be taken back."""
    bound(cluster)
    mine = {**pod("mine", **MARKS), "spec": {**pod("mine")["spec"], "nodeSelector": {}, "nodeName": "none-such"}}
    api.call("POST", pods, mine)
    held = removed(CLAIM, VOLUME, wait_timeout=1)
    assert held["objects_removed"] == [label(CLAIM)]
    assert (
        f"{label(VOLUME)}: its claim {SPACE}/whose is still there, and nothing was done to the volume." in held["msg"]
    )
    assert unmarked(CLAIM, VOLUME) == [label(CLAIM)]


def test_a_secret_that_others_have_put_something_into_is_left(cluster: Cluster) -> None:
    ours(cluster, SECRET)
    api.call("PATCH", path(SECRET), {"data": {"theirs": "eA=="}})
    left = removed(SECRET)
    assert left["findings"][0]["message"] == "it holds what others have put there: theirs, and is left as it is."
    assert there(SECRET)


def test_what_does_not_go_says_what_holds_it(cluster: Cluster) -> None:
    ours(cluster, SECRET)
    api.call("PATCH", path(SECRET), {"metadata": {"finalizers": ["example.net/vault"]}})
    held = removed(SECRET, wait_timeout=1)
    api.call("PATCH", path(SECRET), {"metadata": {"finalizers": None}})
    assert held["msg"] == (
        f"{label(SECRET)}: it is being deleted, and is still there.\n"
        "  example.net/vault: whoever set this finalizer has work to do\n"
        "It goes when what holds it is gone: look there, then run again."
    )


def test_all_jobs_of_the_installation_go_and_those_of_others_stay(cluster: Cluster) -> None:
    job = next(one for one in KINDS if one["kind"] == "Job")
    ours(cluster, job)
    other = {**job, "metadata": {**job["metadata"], "name": "theirs"}}
    api.call("POST", f"/apis/batch/v1/namespaces/{SPACE}/jobs", other)
    gone = removed({**job, "metadata": {"namespace": SPACE, "labels": MARKS}})
    assert gone["objects_removed"] == [label(job)]
    assert [one["subject"] for one in gone["findings"]] == [label(other)]
    assert there(other)


def finished(job: Manifest, manager: str = "", **annotations: str) -> None:
    """Made by a manager, ours by default, and over for more than a minute."""
    made = {**job, "metadata": {**job["metadata"], "annotations": annotations}}
    made["spec"] = {**job["spec"], "suspend": True}  # so that its controller makes no pod
    where = path(made)
    if manager:
        api.call("POST", where.rsplit("/", 1)[0], made, fieldManager=manager)
    else:
        ours(connect({}), made)
    when = {"lastProbeTime": "2026-11-24T06:00:00Z", "lastTransitionTime": "2026-11-24T06:00:00Z"}
    conditions = [{"type": kind, "status": "True", **when} for kind in ("SuccessCriteriaMet", "Complete")]
    times = {"startTime": "2026-11-24T05:00:00Z", "completionTime": "2026-11-24T06:00:00Z"}
    api.call("PATCH", f"{where}/status", {"status": {"conditions": conditions, "succeeded": 1, **times}})


@pytest.mark.parametrize("check", [True, False])
def test_a_job_of_somebody_else_with_our_labels_is_not_swept(check: bool) -> None:
    old, others = ({**JOB, "metadata": {**JOB["metadata"], "name": name}} for name in ("seed-0", "others-seed"))
    finished(JOB, **{"portal-stt/result": "two models"})
    finished(old)
    finished(others, "helm")
    suspended = {**JOB, "spec": {**JOB["spec"], "suspend": True}}
    done = run_module(k8s_job, definition=suspended, sweep=MARKS, timeout=10, _ansible_check_mode=check)
    assert (done["changed"], done["message"]) == (True, "two models")
    warned = [(one["subject"], one["message"]) for one in done["findings"] if one["status"] == "warning"]
    assert warned == [(label(others), "it was not made by us, and is left as it is.")]
    assert unmarked(others) == []
    assert bool(there(old)) is check


def test_a_finished_job_of_our_name_that_somebody_else_made_is_not_believed() -> None:
    finished(JOB, "helm", **{"portal-stt/result": "a lie"})
    refused = run_module(k8s_job, definition=JOB, timeout=10)
    assert refused["msg"].startswith(f"{label(JOB)}: is somebody else's: it was not made by us.\n")
    assert "fields are set by helm" in refused["msg"]
    assert "Delete it if its owner does not need it, then run again; or choose another metadata.name." in refused["msg"]
    assert "a lie" not in str(refused)
    assert unmarked(JOB) == []


def test_nothing_is_removed_where_not_even_the_namespace_is() -> None:
    away = {**SECRET, "metadata": {**SECRET["metadata"], "namespace": "nowhere"}}
    assert removed(away)["findings"][0]["message"] == "to remove: all is gone."


# ---- pods of others


@pytest.fixture
def deployed_pods() -> Iterator[str]:
    """Where pods are; all are gone at the end."""
    at = f"/api/v1/namespaces/{SPACE}/pods"
    yield at
    for name in ("whose", "whisper"):
        where = f"/apis/apps/v1/namespaces/{SPACE}/deployments/{name}"
        api.call("DELETE", where, accept=(404,), propagationPolicy="Background")
    until(lambda: not api.call("GET", at)["items"], 60, lambda: api.call("GET", at)["items"])


def test_pods_of_others_that_have_our_label_are_found(cluster: Cluster, deployed_pods: str) -> None:
    """Service, network policy and disruption budget would take them in."""
    helms = {"app.kubernetes.io/managed-by": "Helm"}
    whisper = {**DEPLOYMENT, "metadata": {"name": "whisper", "namespace": SPACE, "labels": helms}}

    def named(start: str) -> list[str]:
        return [
            name
            for one in api.call("GET", deployed_pods)["items"]
            if (name := one["metadata"]["name"]).startswith(start)
        ]

    assert strangers(cluster, [DEPLOYMENT]) == []
    ours(cluster, DEPLOYMENT)
    until(lambda: named("whose-"), 30, lambda: api.call("GET", deployed_pods))
    assert strangers(cluster, [SERVICE, DEPLOYMENT]) == []
    cluster.apply(path(whisper), whisper, field_manager="helm")
    (theirs_,) = until(lambda: named("whisper-"), 30, lambda: api.call("GET", deployed_pods))
    (found,) = strangers(cluster, [SERVICE, DEPLOYMENT])
    assert found.subject == label(DEPLOYMENT)
    assert found.evidence == (f"Pod {theirs_} of ReplicaSet {theirs_.rpartition('-')[0]}",)
    for planned in ([SERVICE, DEPLOYMENT], [SERVICE]):
        refused = asked(*planned, later=[DEPLOYMENT])
        assert refused["failed"]
        assert f"Pod {theirs_} of ReplicaSet" in refused["msg"]
        assert "Choose another spec.selector.matchLabels, or another metadata.name" in refused["msg"]
    assert not there(SERVICE)
    other = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "selector": {"matchLabels": {"app": "another"}}}}
    away = {**DEPLOYMENT, "metadata": {"name": "whose", "namespace": "nowhere"}}
    assert strangers(cluster, [other, away]) == []


# ---- fields of others


def get(manifest: Manifest) -> Manifest:
    found: Manifest = api.call("GET", path(manifest))
    return found


def scale(manager: str, replicas: int) -> None:
    api.call("PATCH", f"{path(DEPLOYMENT)}/scale", {"spec": {"replicas": replicas}}, fieldManager=manager)


def test_a_scale_by_hand_is_undone_and_told(cluster: Cluster) -> None:
    ours(cluster, DEPLOYMENT)
    scale("kubectl", 3)
    found = asked(DEPLOYMENT, _ansible_check_mode=True)
    assert found["objects_changed"] == [label(DEPLOYMENT)]
    assert found["findings"][0]["message"] == "was scaled by hand to 3, and is 1 again as declared."
    asked(DEPLOYMENT)
    assert get(DEPLOYMENT)["spec"]["replicas"] == 1


def test_an_autoscaler_is_left_in_peace(cluster: Cluster) -> None:
    """The horizontal pod autoscaler scales as the controller manager, and sets its number for ever."""
    ours(cluster, DEPLOYMENT)
    scale("kube-controller-manager", 4)
    found = asked(DEPLOYMENT)
    assert not found["changed"]
    said = "kube-controller-manager scales it, to 4 now: the 1 declared here is not set."
    assert (found["findings"][0]["status"], found["findings"][0]["message"]) == ("warning", said)
    annotated = {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "annotations": {"a": "b"}}}
    assert asked(annotated)["changed"]
    after = get(DEPLOYMENT)
    assert (after["spec"]["replicas"], after["metadata"]["annotations"]["a"]) == (4, "b")


def test_a_field_is_taken_from_those_who_are_named_and_from_no_other(cluster: Cluster) -> None:
    ours(cluster, DEPLOYMENT)
    sets: list[tuple[str, Manifest]] = [
        ("keel", {"spec": {"template": {"spec": {"containers": [{"name": "stt", "image": "other"}]}}}}),
        ("kyverno", {"spec": {"replicas": 2}}),
    ]
    for manager, patch in sets:
        cluster.apply(
            path(DEPLOYMENT),
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "whose", "namespace": SPACE}, **patch},
            field_manager=manager,
            force=True,
        )
    image = '.spec.template.spec.containers[name="stt"].image is owned by keel'
    replicas = ".spec.replicas is owned by kyverno"
    refused = asked(DEPLOYMENT)["msg"]
    assert image in refused
    assert replicas in refused
    assert "name keel, kyverno in take_over" in refused
    partly = asked(DEPLOYMENT, take_over=["keel"])["msg"]
    assert image not in partly
    assert replicas in partly
    assert asked(DEPLOYMENT, take_over=["keel", "kyverno"])["changed"]
    spec = get(DEPLOYMENT)["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (1, POD["containers"][0]["image"])


def test_an_object_can_be_taken_over_by_naming_who_made_it() -> None:
    theirs(DEPLOYMENT)
    assert asked(DEPLOYMENT, take_over=["kubectl-create"])["objects_changed"] == [label(DEPLOYMENT)]


# ---- two runs at once


def test_a_run_fails_when_another_one_changes_what_it_has_declared(cluster: Cluster) -> None:
    ours(cluster, DEPLOYMENT)
    (declared,) = asked(DEPLOYMENT)["objects"]
    other = json.loads(json.dumps(DEPLOYMENT))
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "10.77.0.1:5000/other"
    ours(cluster, other)
    ended = run_module(k8s_rollout, namespace=SPACE, name="whose", declared=declared, timeout=20, rollback=False)
    assert ended["failed"]
    assert f"It is no longer what this run declared: another run (field manager {MANAGER}) changed it." in ended["msg"]
    assert ended["seconds"] < 15


RULE = of("monitoring.coreos.com/v1", "PrometheusRule", spec={})  # a kind that the API server does not know


def cleared(*declared: Manifest) -> dict[str, Any]:
    """The Service goes, while what was declared beside it is so."""
    return run_module(k8s_remove, definition=[SERVICE], declared=list(declared))


def test_what_goes_at_the_end_goes_while_all_is_as_declared(cluster: Cluster) -> None:
    ours(cluster, DEPLOYMENT, SECRET, SERVICE)
    api.call("PATCH", path(DEPLOYMENT) + "/scale", {"spec": {"replicas": 2}}, fieldManager="kubectl")
    found = run_module(k8s_apply, definition=[], unwanted=[SERVICE, SECRET, CLAIM])
    assert found["unwanted"] == [label(SERVICE), label(SECRET)]
    assert cleared(DEPLOYMENT, SECRET, RULE)["objects_removed"] == [label(SERVICE)]


@pytest.mark.parametrize("done", ["gone", "changed"])
def test_nothing_goes_when_another_run_was_here(cluster: Cluster, done: str) -> None:
    """The Secret that our server reads was removed, or has another's key."""
    ours(cluster, DEPLOYMENT, SECRET, SERVICE)
    if done == "gone":
        run_module(k8s_remove, definition=[SECRET])
    else:
        ours(cluster, {**SECRET, "data": {"api-key": base64.b64encode(b"caraway").decode()}})
    ended = cleared(DEPLOYMENT, SECRET)
    assert ended["failed"]
    assert not ended["changed"]
    (finding,) = ended["findings"]
    told = {"gone": "it is gone", "changed": "it is no longer what this run declared"}[done]
    assert finding["subject"] == label(SECRET)
    assert finding["message"] == f"{told}: another run, or somebody else, was here meanwhile."
    assert finding["evidence"][:1] == ([] if done == "gone" else ["data.api-key is another"])
    ended.pop("invocation")  # as the action does: what was declared is in it
    keys = [base64.b64encode(word).decode() for word in (b"caraway", b"sesame")]
    assert not any(key in json.dumps(ended) for key in keys)
    api.call("GET", path(SERVICE))  # is there still


def test_what_was_judged_a_moment_ago_is_not_asked_for_again(cluster: Cluster) -> None:
    ours(cluster, DEPLOYMENT, SECRET, SERVICE)
    plan = asked(DEPLOYMENT, SECRET, SERVICE)["plan"]
    assert "sesame" not in json.dumps(plan)
    for one in (DEPLOYMENT, SECRET):
        api.call("DELETE", path(one), propagationPolicy="Background")
    changed = {**SECRET, "data": {"api-key": base64.b64encode(b"caraway").decode()}}
    again = asked(DEPLOYMENT, changed, SERVICE, plan=plan)
    assert again["objects_changed"] == [label(SECRET)]
    assert {one["kind"] for one in again["objects"]} == {"Deployment", "Service", "Secret"}
    old = {**plan, "at": plan["at"] - 121}
    assert asked(DEPLOYMENT, plan=old)["objects_changed"] == [label(DEPLOYMENT)]


# ---- what an API server says of a plan


def test_all_that_is_wrong_is_told_at_once_also_without_the_namespace() -> None:
    """The form of an object is judged where its namespace is not there yet."""
    away = {"name": "whose", "namespace": "planned"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "planned"}}
    wrong = {**DEPLOYMENT, "metadata": away, "spec": {**DEPLOYMENT["spec"], "replicas": -1}}
    typo = {**SECRET, "metadata": away, "dta": {}}
    fine = {**next(one for one in KINDS if one["kind"] == "Service"), "metadata": away}
    found = asked(namespace, wrong, typo, fine)
    assert [one["subject"] for one in found["findings"]] == ["Deployment planned/whose", "Secret planned/whose"]
    assert "spec.replicas: Invalid value: -1" in found["msg"]
    assert 'unknown field "dta"' in found["msg"]
    planned = asked(namespace, fine, _ansible_check_mode=True)
    assert planned["objects_changed"] == ["Namespace planned", "Service planned/whose"]


def test_nothing_is_applied_where_a_later_object_would_be_refused(cluster: Cluster) -> None:
    ours(cluster, SECRET)
    wrong = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": -1}}
    changed = {**SECRET, "data": {"api-key": base64.b64encode(b"caraway").decode()}}
    refused = asked(changed, later=[wrong])
    assert refused["failed"]
    assert [one["subject"] for one in refused["findings"]] == [label(DEPLOYMENT)]
    assert not refused["changed"]
    found = asked(changed, later=[DEPLOYMENT])
    assert found["objects_changed"] == [label(SECRET)]
    assert found["findings"][-1]["subject"] == "1 object"


def test_what_was_written_before_a_refusal_is_told() -> None:
    """Of two Secrets each alone would be accepted: a quota is not charged by a dry run."""
    space = "whose-quota"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
    quota = {"metadata": {"name": "one"}, "spec": {"hard": {"count/secrets": "1"}}}
    api.call("POST", f"/api/v1/namespaces/{space}/resourcequotas", quota)
    until(
        lambda: api.call("GET", f"/api/v1/namespaces/{space}/resourcequotas/one")["status"].get("hard"), 30, every=0.2
    )
    first, second = ({**SECRET, "metadata": {"name": name, "namespace": space}} for name in ("first", "second"))
    ended = asked(first, second)
    api.call("DELETE", f"/api/v1/namespaces/{space}")
    assert ended["failed"]
    assert (ended["changed"], ended["objects_changed"]) == (True, [label(first)])
    assert ended["msg"].startswith(f"{label(second)}: the API server refuses it: ")
    assert "exceeded quota: one" in ended["msg"]
    assert [one["after_header"] for one in ended["diff"]] == [label(first)]


def test_nothing_is_declared_in_what_is_being_deleted(cluster: Cluster) -> None:
    held = {**SERVICE, "metadata": {**SERVICE["metadata"], "finalizers": ["example.net/vault"]}}
    ours(cluster, held, SECRET)
    api.call("DELETE", path(SERVICE))
    changed = {**SECRET, "data": {"api-key": base64.b64encode(b"caraway").decode()}}
    refused = asked(changed, later=[SERVICE])
    api.call("PATCH", path(SERVICE), {"metadata": {"finalizers": None}})
    assert refused["failed"]
    assert not refused["changed"]
    (finding,) = refused["findings"]
    assert finding["subject"] == label(SERVICE)
    assert finding["message"].startswith("it is being deleted, since ")
    assert finding["evidence"] == ["example.net/vault: whoever set this finalizer has work to do"]


def test_what_was_not_wanted_and_is_there_at_the_end(cluster: Cluster) -> None:
    ours(cluster, DEPLOYMENT, SECRET, SERVICE)
    ended = run_module(k8s_remove, definition=[SERVICE], declared=[DEPLOYMENT], gone=[SECRET, CLAIM])
    assert ended["failed"]
    assert [(one["subject"], one["message"]) for one in ended["findings"]] == [
        (label(SECRET), "it was not wanted, and is there: another run was here meanwhile.")
    ]
    api.call("GET", path(SERVICE))  # is there still


def test_a_namespace_that_is_going_says_so(cluster: Cluster) -> None:
    away = "whose-going"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": away}})
    metadata = {**SECRET["metadata"], "namespace": away}
    ours(cluster, kept := {**SECRET, "metadata": {**metadata, "finalizers": ["example.net/vault"]}})
    api.call("DELETE", f"/api/v1/namespaces/{away}")
    said = asked({**DEPLOYMENT, "metadata": metadata})["msg"]
    api.call("PATCH", path(kept), {"metadata": {"finalizers": None}})
    assert "is being terminated. The namespace is being deleted: wait until it is gone" in said
    assert "status (kubectl get namespace -o yaml)" in said


def test_what_the_api_server_adds_is_not_in_the_diff_of_a_new_object() -> None:
    found = asked(DEPLOYMENT, SECRET, _ansible_check_mode=True, _ansible_diff=True)
    shown = [yaml.safe_load(one["after"]) for one in found["diff"]]
    for one in shown:
        assert "status" not in one
        assert set(one["metadata"]) == {"name", "namespace", "labels"}
    assert shown[1]["data"] == {"api-key": "(hidden)"}
    assert "sesame" not in str(found)


def test_a_namespace_of_somebody_else_is_used_as_it_is() -> None:
    """As declared, it may be anybody's; to be changed, it has to be ours."""
    bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    assert not asked(bare)["changed"]
    labelled = {**bare, "metadata": {"name": SPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    assert asked(labelled)["failed"]


# ---- through the action


def test_only_what_changes_is_applied_and_nothing_twice(tmp_path: Path) -> None:
    service = next(one for one in KINDS if one["kind"] == "Service")

    def run(*manifests: Manifest) -> Played:
        task = {"name": "It is applied", "portal.stt.k8s_apply": {"definition": list(manifests)}, "register": "it"}
        shown = {"name": "It is told", "ansible.builtin.debug": {"msg": "{{ it | to_json }}"}}
        steps = [{"hosts": "lab", "gather_facts": False, "tasks": [task, shown]}]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(steps))
        done = play(str(tmp_path / "play.yml"), "-l", "lab")
        assert done.rc == 0, done.output
        return done

    assert run(DEPLOYMENT, service).changed == 1
    first = there(DEPLOYMENT)
    assert first
    scale("kubectl", 2)
    grown = json.loads(json.dumps(DEPLOYMENT))
    grown["metadata"]["annotations"] = {"a": "b"}
    assert run(grown, service).changed == 1
    after = there(DEPLOYMENT)
    assert after
    assert (after["spec"]["replicas"], after["metadata"]["annotations"]["a"]) == (1, "b")
    again = run(grown, service)
    assert again.changed == 0
    assert f'"uid": "{first["metadata"]["uid"]}"' in again.output.replace('\\"', '"')
