"""Healthy rollouts that look ill for a while, on the real API server with simulated nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread
from typing import Any

from ansible_collections.portal.stt.plugins.module_utils._rollout.reporter import Reporter
from ansible_collections.portal.stt.plugins.module_utils._rollout.task import Task

from lab import api, images, simulated
from lab.faults import MARK, SIMULATED, Fault, Manifest
from tests import rollouts

Step = Callable[["Hiccup"], None]
POD = "/api/v1/namespaces/{}/pods"


@dataclass(frozen=True)
class Hiccup:
    """A rollout that ends well. steps: what happens to its pod, or around it, one after the other.

    watched: the pod's status comes from the steps alone; without, the simulated kubelet makes it ready.
    """

    name: str
    steps: tuple[Step, ...]
    watched: bool = True
    nodes: dict[str, Any] | None = None
    objects: tuple[Manifest, ...] = ()
    pod: dict[str, Any] | None = None

    @property
    def fault(self) -> Fault:
        return Fault(
            name=f"ok-{self.name}",
            cause="",
            at="cluster",
            sign="",
            nodes=self.nodes,
            objects=list(self.objects),
            pod=self.pod or {},
            status={} if self.watched else None,
        )

    @property
    def namespace(self) -> str:
        return self.fault.namespace

    def pods(self) -> list[dict[str, Any]]:
        found = api.call("GET", POD.format(self.namespace), labelSelector="app=stt")["items"]
        return [one for one in found if one["spec"].get("nodeName")]


def _pod(hiccup: Hiccup) -> str:
    end = time.monotonic() + 60
    while not (found := hiccup.pods()):
        assert time.monotonic() < end, "no pod was scheduled"
        time.sleep(0.2)
    return str(found[-1]["metadata"]["name"])


def _status(**container: Any) -> Step:
    """The pod's one container has this status from now on."""
    one = {"name": "stt", "image": images.BASE, "imageID": "", "ready": False, "restartCount": 0, "started": False}
    ready = bool(container.get("ready"))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {"type": kind, "status": str(ready), "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")
    ]

    def step(hiccup: Hiccup) -> None:
        path = f"{POD.format(hiccup.namespace)}/{_pod(hiccup)}/status"
        before = api.call("GET", path)["status"].get("conditions", [])
        kept = [one for one in before if one["type"] not in ("Ready", "ContainersReady")]
        status: dict[str, Any] = {"phase": "Running" if "running" in container["state"] else "Pending"}
        status |= {"conditions": [*kept, *conditions], "containerStatuses": [{**one, **container}]}
        api.call("PATCH", path, {"status": status})

    return step


def waits(reason: str, message: str = "") -> Step:
    return _status(state={"waiting": {"reason": reason, "message": message}})


def runs(*, started: bool = True, ready: bool = False, restarts: int = 0, last: int | None = None) -> Step:
    more: dict[str, Any] = {}
    if last is not None:
        more["lastState"] = {"terminated": {"exitCode": last, "reason": "Error", "finishedAt": "2026-11-24T05:00:00Z"}}
    state = {"running": {"startedAt": "2026-11-24T05:00:00Z"}}
    return _status(state=state, started=started, ready=ready, restartCount=restarts, **more)


def ends(code: int, restarts: int = 0, reason: str = "Error") -> Step:
    ended = {"exitCode": code, "reason": reason, "finishedAt": f"2026-11-24T05:00:{restarts:02}Z"}
    return _status(state={"terminated": ended}, restartCount=restarts)


def tells(reason: str, message: str, count: int = 1) -> Step:
    def step(hiccup: Hiccup) -> None:
        name = _pod(hiccup)
        uid = api.call("GET", f"{POD.format(hiccup.namespace)}/{name}")["metadata"]["uid"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": hiccup.namespace, "uid": uid}
        event = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"generateName": "e-", "namespace": hiccup.namespace},
            "involvedObject": about, "reason": reason, "message": message, "type": "Warning", "count": count,
            "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "kubelet"},
        }  # fmt: skip
        api.call("POST", f"/api/v1/namespaces/{hiccup.namespace}/events", event)

    return step


def after(seconds: float) -> Step:
    return lambda hiccup: time.sleep(seconds)


def patched(path: str, body: dict[str, Any]) -> Step:
    return lambda hiccup: api.call("PATCH", path.format(ns=hiccup.namespace), body) and None


def made(one: Manifest) -> Step:
    def step(hiccup: Hiccup) -> None:
        kind = rollouts.PLURALS.get(one["kind"], f"{one['kind'].lower()}s")
        place = "" if one["kind"] == "PersistentVolume" else f"/namespaces/{hiccup.namespace}"
        api.call("POST", f"/api/v1{place}/{kind}", one)

    return step


def deleted(path: str) -> Step:
    return lambda hiccup: api.call("DELETE", path.format(ns=hiccup.namespace), accept=(404,)) and None


def node_ready(ready: bool) -> Step:
    def step(hiccup: Hiccup) -> None:
        path = f"/api/v1/nodes/{hiccup.namespace}"
        (told,) = simulated.expand(simulated.Declared(name=hiccup.namespace, ready=ready))
        api.call("PATCH", path, {"metadata": {"annotations": told["metadata"]["annotations"]}})
        api.call("PATCH", f"{path}/status", {"status": {"conditions": told["status"]["conditions"]}})

    return step


READY = runs(ready=True)
REFUSED = 'Head "https://ghcr.io/v2/stt/manifests/1": dial tcp 140.82.121.34:443: connect: connection refused'
MOUNT = 'MountVolume.SetUp failed for volume "m" : mount failed: exit status 32\nOutput: mount.nfs: '
CACHE = 'MountVolume.SetUp failed for volume "s" : failed to sync configmap cache: timed out waiting for the condition'
BACK_OFF = f'Back-off pulling image "x": ErrImagePull: {REFUSED}'
NODE = "/api/v1/nodes/fault-ok-{}"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
NEIGHBOUR = {
    "terminationGracePeriodSeconds": 0,
    "nodeSelector": {MARK: "ok-gpu-freed"},
    "tolerations": [{"operator": "Exists"}],
    "containers": [{"name": "c", "image": "neighbour:1", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
}
CLAIM = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
VOLUME = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": ""}
WEBHOOK = {
    "name": "late.example.com", "failurePolicy": "Fail", "timeoutSeconds": 1, "sideEffects": "None",
    "admissionReviewVersions": ["v1"], "namespaceSelector": {"matchLabels": {"fault": "ok-webhook-late"}},
    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    "clientConfig": {"url": "https://10.77.0.1:9/"},
}  # fmt: skip

HICCUPS = (
    Hiccup("slow-container", (waits("ContainerCreating"), after(8), READY)),
    Hiccup(
        "slow-probe",
        (
            runs(started=False),
            *(tells("Unhealthy", f"Startup probe failed: warm: loading {n}") for n in range(6)),
            after(6),
            READY,
        ),
    ),
    Hiccup(
        "pull-refused", (waits("ErrImagePull", REFUSED), after(3), waits("ImagePullBackOff", BACK_OFF), after(4), READY)
    ),
    Hiccup("pull-dns", (waits("ErrImagePull", "dial tcp: lookup ghcr.io: no such host"), after(5), READY)),
    Hiccup("pull-503", (waits("ErrImagePull", "unexpected status: 503 Service Unavailable"), after(5), READY)),
    Hiccup("pull-limit", (waits("ErrImagePull", "429 Too Many Requests - toomanyrequests"), after(5), READY)),
    Hiccup(
        "sandbox",
        (waits("ContainerCreating"), tells("FailedCreatePodSandBox", "cni plugin not initialized", 3), after(5), READY),
    ),
    Hiccup(
        "mount-denied-once",
        (
            waits("ContainerCreating"),
            tells("FailedMount", f"{MOUNT}access denied by server while mounting h:/x"),
            after(4),
            READY,
        ),
    ),
    Hiccup(
        "mount-refused",
        (waits("ContainerCreating"), tells("FailedMount", f"{MOUNT}Connection refused", 3), after(5), READY),
    ),
    Hiccup("mount-cache", (waits("ContainerCreating"), tells("FailedMount", CACHE), after(4), READY)),
    Hiccup(
        "crash-once",
        (ends(1), after(2), runs(started=False, restarts=1, last=1), after(3), runs(ready=True, restarts=1, last=1)),
    ),
    Hiccup(
        "crash-twice",
        (
            ends(1),
            after(1),
            ends(1, 1),
            after(2),
            runs(started=False, restarts=2, last=1),
            after(2),
            runs(ready=True, restarts=2, last=1),
        ),
    ),
    Hiccup(
        "hub-late",
        (ends(3), after(2), runs(started=False, restarts=1, last=3), after(2), runs(ready=True, restarts=1, last=3)),
    ),
    Hiccup(
        "liveness-once",
        (
            runs(),
            tells("Killing", "Container stt failed liveness probe, will be restarted"),
            after(3),
            runs(ready=True, restarts=1, last=137),
        ),
    ),
    Hiccup(
        "not-ready-yet",
        (
            runs(),
            tells("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 5),
            after(6),
            READY,
        ),
    ),
    Hiccup("node-blip", (waits("ContainerCreating"), node_ready(False), after(5), node_ready(True), READY), nodes={}),
    Hiccup(
        "cordoned",
        (after(5), patched(NODE.format("cordoned"), {"spec": {"unschedulable": False}})),
        watched=False,
        nodes={"cordoned": True},
    ),
    Hiccup(
        "gpu-freed",
        (after(5), deleted("/api/v1/namespaces/{ns}/pods/neighbour")),
        watched=False,
        nodes={"replicas": 1},
        objects=({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "neighbour"}, "spec": NEIGHBOUR},),
    ),
    Hiccup(
        "volume-late",
        (
            after(5),
            made(
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolume",
                    "metadata": {"name": "fault-ok-volume-late"},
                    "spec": {**VOLUME, "nfs": {"server": "10.77.0.2", "path": "/x"}},
                }
            ),
        ),
        watched=False,
        pod={"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]},
        objects=(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "c"},
                "spec": {**CLAIM, "volumeName": "fault-ok-volume-late"},
            },
        ),
    ),
    Hiccup(
        "webhook-late",
        (after(3), deleted(f"{WEBHOOKS}/fault-ok-webhook-late")),
        watched=False,
        objects=(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": "fault-ok-webhook-late"},
                "webhooks": [WEBHOOK],
            },
        ),
    ),
    Hiccup(
        "account-late",
        (after(0.5), made({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "late"}})),
        watched=False,
        pod={"serviceAccountName": "late"},
    ),
)


def outcome(hiccup: Hiccup) -> str:
    """``complete``, or what was wrongly said of a rollout that ends well."""
    access, fault = rollouts.cluster(), hiccup.fault
    try:
        rollouts.prepare(access, fault)
        rollouts.apply(access, fault.faulty())
        Thread(target=_play, args=(hiccup,), daemon=True).start()
        reporter = Reporter()
        try:
            result = Task(access, rollouts.target(fault), reporter).run(timeout=240, rollback=True)
        except Exception as error:
            return f"{error}\n" + "\n".join(reporter.lines)
        return str(result["status"])
    finally:
        rollouts.remove(access, fault)
        api.call("DELETE", f"/api/v1/persistentvolumes/{fault.namespace}", accept=(404,))


def _play(hiccup: Hiccup) -> None:
    for step in hiccup.steps:
        step(hiccup)


def outcomes() -> dict[str, str]:
    """How each ended, several at a time."""
    rollouts.ensure_simulated(SIMULATED)
    with ThreadPoolExecutor(6) as pool:
        return dict(zip([one.name for one in HICCUPS], pool.map(outcome, HICCUPS), strict=True))
