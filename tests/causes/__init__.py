# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of failed rollouts with the right answer, each given to the diagnosis in the place where a cluster shows it.

A file is a list of objects: `id`, `area`, `where` (waiting, terminated, log, event, scheduler, eviction, replicaset,
probe) and `reason`; `text`; `cause` (of docs/rollout.md, or NONE with the name that is `proposed`) and `also` (others
that are right); `final` (waiting cannot help), `outside` (going back cannot help); `given` (what stands around it).

`corpus.json` is what kubelets, runtimes, schedulers, admission and programs said in public threads, named in `source`,
with names and addresses replaced; the answers were decided from the threads. `texts.json` is the project's own: made up
for a rule, or found later in the thread that its `source` names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.portal.stt.plugins.module_utils._kubernetes import objects as observed
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.objects import Event, Node, Pod
from ansible_collections.portal.stt.plugins.module_utils._rollout.diagnosis import NEVER, diagnose
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Seen

HERE = Path(__file__).parent
CORPUS, OWN = HERE / "corpus.json", HERE / "texts.json"

VAGUE = (
    *("image-not-pulled", "volume-not-mounted", "sandbox-failed", "container-refused", "start-failed", "crash-loop"),
    *("container-waits", "pod-refused", "unschedulable", "rejected-by-node", "job-failed", "deadline"),
)
"""Causes that may only repeat the words: true, but they name nothing."""

UNKNOWN = ("", "creating", "startup-failing")

SECONDS = 30
"""A wait that ends sooner was not given time."""

GPU = "nvidia.com/gpu"
_POD, _SET, _CLAIM = "stt-1", "rs", "cl"
_BACK_OFF = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=stt"}
_UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
Case = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """What came of one text. kind: right, vague, unknown or wrong; harm: what the answer does that it must not."""

    id: str
    expected: str
    got: str
    kind: str
    harm: tuple[str, ...]
    what: str
    ends: bool

    def __str__(self) -> str:
        harm = f"; {', '.join(self.harm)}" if self.harm else ""
        return f"{self.id}: expected {self.expected}, got {self.got or 'unknown'} ({self.kind}{harm})"


def load(path: Path) -> list[Case]:
    """Every text of a file. Raises OSError when it cannot be read, ValueError with what is wrong in it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise ValueError("it is not a list of texts")
    for one in content:
        missing = {"id", "where", "reason", "text", "cause", "final", "outside"} - set(one)
        if missing:
            raise ValueError(f"text {one.get('id', '?')} has no {', '.join(sorted(missing))}")
        if one["where"] not in _PLACES:
            raise ValueError(f"text {one['id']}: there is no place {one['where']}")
    return content


def judge(case: Case) -> Judged:
    """What the diagnosis makes of a text, beside the right answer."""
    found = diagnose(view(case))
    got = found[0].cause if found else ""
    ends = found is not None and found[2] and found[1].patience is not NEVER
    right = got in (case["cause"], *case.get("also", ())) or (case["cause"] == "NONE" and got == case.get("proposed"))
    kind = "right" if right else "unknown" if got in UNKNOWN else "vague" if got in VAGUE else "wrong"
    expected = f"NONE ({case['proposed']})" if "proposed" in case else str(case["cause"])
    harm = tuple(_harm(case, found)) if ends and not right else ()
    return Judged(str(case["id"]), expected, got, kind, harm, found[0].what if found else "", ends)


def _harm(case: Case, found: Any) -> Iterator[str]:
    diagnosis, rule, _ = found
    if not case["final"] and rule.patience < SECONDS:
        yield f"ends the wait after {rule.patience:g} s"
    if case["outside"] and not diagnosis.outside:
        yield "rolls back in vain"
    if not case["outside"] and diagnosis.outside:
        yield "does not roll back"


def view(case: Case) -> Seen:
    """A rollout of which a cluster shows nothing but the text."""
    parts = _PLACES[case["where"]](case, case.get("given", {}))
    template: Case = {"metadata": {}, "spec": {}}
    current = {
        "metadata": {"name": _POD, "uid": _SET, "annotations": {observed.REVISION: "2"}},
        "spec": {"template": template},
        "status": parts.pop("set_status", {}),
    }
    deployment = {
        "metadata": {"name": "stt", "uid": "d", "generation": 1},
        "spec": {"replicas": 1, "strategy": {"type": "Recreate"}, "template": {}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1},
    }
    usual: dict[str, Any] = {
        "claims": {"data": _claim("Bound")},
        "nodes": {"gpu-1": _node({"name": "gpu-1", "gpu": 1, "ready": "True", "taints": [], "unschedulable": False})},
    }
    events = tuple(sorted(parts.pop("events", ()), key=lambda event: event.last))
    return Seen(
        "Deployment",
        "portal-stt",
        "stt",
        deployment=observed.deployment(deployment),
        current=observed.replica_set(current),
        events=events,
        **(usual | parts),
    )


def _pull(case: Case, given: Case) -> dict[str, Any]:
    """The forms in which kubelets show it: at once; from 1.31 while they back off; before that while they back off."""
    image, text, form = given.get("image", "registry.example/stt:1"), case["text"], given.get("form", 0)
    waits = {"reason": "ErrImagePull", "message": text}
    if form:
        said = f": ErrImagePull: {text}" if form == 1 else ""
        waits = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"{said}'}
    told = (f'Failed to pull image "{image}": {text}', "Error: ErrImagePull")
    pod = _pod(case, _status({"waiting": waits}, image=image), image=image)
    return {"pods": (pod,), "events": [_event(case, "Failed", one) for one in told]}


def _waiting(case: Case, given: Case) -> dict[str, Any]:
    if case["reason"] in ("ErrImagePull", "ImagePullBackOff"):
        return _pull(case, given)
    pod = _pod(case, _status({"waiting": {"reason": case["reason"], "message": case["text"]}}))
    pulled = _event(case, "Pulled", "Container image already present on machine", kind="Normal")
    return {"pods": (pod,), "events": [pulled, _event(case, "Failed", f"Error: {case['text']}")]}


def _terminated(case: Case, given: Case) -> dict[str, Any]:
    last = _ended(given.get("exit", 128), case["reason"], case["text"])
    waits = _BACK_OFF if given.get("form", 0) % 2 else {"reason": "RunContainerError", "message": case["text"]}
    pod = _pod(case, _status({"waiting": waits}, last, 4), phase="Running")
    return {"pods": (pod,), "events": [_event(case, "Failed", f"Error: {case['text']}")]}


def _log(case: Case, given: Case) -> dict[str, Any]:
    pod = _pod(case, _status({"waiting": _BACK_OFF}, _ended(given.get("exit", 1), "Error"), 4), phase="Running")
    return {"pods": (pod,), "logs": {(pod.uid, "stt"): tuple(case["text"].splitlines())}}


def _told(case: Case, given: Case) -> dict[str, Any]:
    if given.get("about") == "claim":
        event = Event("PersistentVolumeClaim", "data", _CLAIM, "Warning", case["reason"], case["text"], 5, _stamp(5))
        pod = _pod(case, None, node="", conditions=_unscheduled(_UNBOUND))
        return {"pods": (pod,), "events": [event], "claims": {"data": _claim("Pending")}, "neighbours": ()}
    events = [_event(case, case["reason"], case["text"])]
    if "generic_after" in given:
        events.append(_event(case, "FailedMount", given["generic_after"], 3, 6))
    return {"pods": (_pod(case, _status({"waiting": {"reason": "ContainerCreating"}})),), "events": events}


def _scheduler(case: Case, given: Case) -> dict[str, Any]:
    limits = {GPU: str(given["gpu"])} if given.get("gpu") else {}
    pod = _pod(
        case, None, node="", conditions=_unscheduled(case["text"]), limits=limits, selector=given.get("selector")
    )
    nodes = {raw["name"]: _node(raw) for raw in given.get("nodes", ())}
    told = _event(case, "FailedScheduling", case["text"])
    return {"pods": (pod,), "events": [told], "nodes": nodes, "neighbours": ()}


def _eviction(case: Case, given: Case) -> dict[str, Any]:
    ran = _status(_ended(137, "Error")) if given.get("ran") else None
    about = {"phase": "Failed", "reason": case["reason"], "message": case["text"]}
    pods = tuple(_pod(case, ran, uid=f"uid-{case['id']}-{number}", **about) for number in range(4))
    return {"pods": pods, "events": [_event(case, case["reason"], case["text"])]}


def _replica_set(case: Case, given: Case) -> dict[str, Any]:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": case["text"]}
    said = f"Error creating: {case['text']}"
    event = Event("ReplicaSet", _POD, _SET, "Warning", "FailedCreate", said, 8, _stamp(5))
    return {"set_status": {"conditions": [failure]}, "events": [event]}


def _probe(case: Case, given: Case) -> dict[str, Any]:
    name = given.get("container", "stt")
    pod = _pod(case, _status({"running": {}}, started=given["probe"] != "Startup", name=name), "Running", name=name)
    events = [_event(case, "Unhealthy", case["text"], 20)]
    if "killing" in given:
        events.append(_event(case, "Killing", given["killing"], 3, 6, "Normal"))
    return {"pods": (pod,), "events": events}


_PLACES = {
    "waiting": _waiting,
    "terminated": _terminated,
    "log": _log,
    "event": _told,
    "scheduler": _scheduler,
    "eviction": _eviction,
    "replicaset": _replica_set,
    "probe": _probe,
}


def _pod(
    case: Case,
    status: Case | None,
    phase: str = "Pending",
    *,
    node: str = "gpu-1",
    conditions: list[Case] | None = None,
    limits: Case | None = None,
    selector: Case | None = None,
    uid: str = "",
    reason: str = "",
    message: str = "",
    image: str = "registry.example/stt:1",
    name: str = "stt",
) -> Pod:
    given = case.get("given", {})
    asked = {GPU: "1", **({"memory": given["limit"]} if "limit" in given else {})} if limits is None else limits
    placed = [{"type": "PodScheduled", "status": "True"}] if node else []
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    raw = {
        "metadata": {
            "name": _POD,
            "uid": uid or f"uid-{case['id']}",
            "creationTimestamp": _stamp(0),
            "ownerReferences": [{"uid": _SET, "controller": True}],
        },
        "spec": {
            "containers": [{"name": name, "image": image, "resources": {"limits": asked}}],
            "nodeSelector": selector or {},
            "volumes": [claim],
            **({"nodeName": node} if node else {}),
        },
        "status": {
            "phase": phase,
            "reason": reason,
            "message": message,
            "conditions": conditions or placed,
            **({"containerStatuses": [status]} if status else {}),
        },
    }
    return observed.pod(raw)


def _status(
    state: Case,
    last: Case | None = None,
    restarts: int = 0,
    *,
    started: bool = False,
    name: str = "stt",
    image: str = "registry.example/stt:1",
) -> Case:
    told = {"name": name, "image": image, "ready": False, "started": started, "restartCount": restarts}
    return {**told, "state": state, "lastState": last or {}}


def _ended(code: int, reason: str, message: str = "") -> Case:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": _stamp(4)}}


def _event(case: Case, reason: str, message: str, count: int = 5, minute: int = 5, kind: str = "Warning") -> Event:
    return Event("Pod", _POD, f"uid-{case['id']}", kind, reason, message.strip(), count, _stamp(minute))


def _unscheduled(said: str) -> list[Case]:
    return [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}]


def _claim(phase: str) -> observed.Claim:
    spec = {"volumeName": "v"} if phase == "Bound" else {"storageClassName": "nfs"}
    return observed.claim({"metadata": {"name": "data", "uid": _CLAIM}, "spec": spec, "status": {"phase": phase}})


def _node(raw: Case) -> Node:
    taints = []
    for said in raw["taints"]:
        key, _, rest = said.partition("=")
        value, _, effect = rest.rpartition(":")
        taints.append({"key": key, "value": value, "effect": effect})
    return observed.node(
        {
            "metadata": {"name": raw["name"], "labels": raw.get("labels", {})},
            "spec": {"unschedulable": raw["unschedulable"], "taints": taints},
            "status": {
                "allocatable": {GPU: str(raw["gpu"])} if raw["gpu"] else {},
                "conditions": [{"type": "Ready", "status": raw["ready"]}],
            },
        }
    )


def _stamp(minute: int) -> str:
    return f"2026-11-24T00:{minute:02d}:00Z"
