"""Injects a fault of the lab's table and lets k8s_rollout's own code explain it, with a clock beside it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, cast

from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError, connect
from ansible_collections.portal.stt.plugins.module_utils._rollout.back import MANAGER
from ansible_collections.portal.stt.plugins.module_utils._rollout.follow import RolloutError
from ansible_collections.portal.stt.plugins.module_utils._rollout.reporter import Reporter
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Target
from ansible_collections.portal.stt.plugins.module_utils._rollout.task import Task

from lab import api, node, simulated
from lab.faults import SIMULATED, Fault, Manifest, table
from tests import webhook

PLURALS = {"ValidatingAdmissionPolicy": "validatingadmissionpolicies"}
ADMISSION = ("ResourceQuota", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration")
AT_ONCE = {"node": 2, "cluster": 6, "replay": 6}
"""Faults injected at the same time: a node that is emulated starts containers slowly."""


@dataclass(frozen=True)
class Explained:
    """What k8s_rollout said about a fault. after_s: seconds from the sign of the fault to the answer.

    total_s: seconds from the change of the Deployment to the answer.
    """

    cause: str
    final: bool
    message: str
    after_s: float
    total_s: float
    rolled_back: bool
    served_again: bool
    progress: tuple[str, ...]


class Witness(Cluster):
    """A cluster that notes when an object first shows the sign of a fault."""

    def look_for(self, sign: str, times: int) -> None:
        self._sign, self._left, self._known = re.compile(sign), times, set[str]()
        self.shown: float | None = None

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = super().get(path, query)
        for one in answer.get("items") or ():
            self._note(one)
        return answer

    def watch(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        for event in super().watch(*args, **kwargs):
            self._note(event["object"])
            yield event

    def _note(self, one: Mapping[str, Any]) -> None:
        version = f"{one['metadata'].get('uid')} {one['metadata'].get('resourceVersion')}"
        if self.shown is None and version not in self._known and self._sign.search(json.dumps(one, sort_keys=True)):
            self._known.add(version)
            self._left -= 1
            if self._left <= 0:
                self.shown = time.monotonic()


class TimedReporter(Reporter):
    """Notes when the answer was there, which is before a rollback."""

    answered: float | None = None

    def say(self, line: str, pod: str = "", /) -> None:
        if line.startswith("failed: ") and self.answered is None:
            self.answered = time.monotonic()
        super().say(line, pod)


def cluster(kind: type[Cluster] = Cluster, kubeconfig: Path | None = None) -> Cluster:
    """Access to the lab's cluster, as the module gets it; as its administrator, unless another kubeconfig is given."""
    made = connect({"kubeconfig": str(kubeconfig or os.environ["K8S_AUTH_KUBECONFIG"])})
    made.__class__ = kind
    return made


def path(one: Manifest) -> str:
    """Where an object is in the API."""
    version, meta = one["apiVersion"], one["metadata"]
    plural = PLURALS.get(one["kind"], f"{one['kind'].lower()}s")
    group = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    place = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{group}{place}/{plural}/{meta['name']}"


def apply(access: Cluster, one: Manifest) -> None:
    """The object is there, as our field manager would have it."""
    access.apply(path(one), one, field_manager=MANAGER)


def explain(fault: Fault) -> Explained:
    """Injects the fault and waits for the answer. What it made is gone afterwards."""
    access = cast(Witness, cluster(Witness))
    access.look_for(fault.sign, fault.signs)
    try:
        prepare(access, fault)
        start = time.monotonic()
        apply(access, fault.faulty())
        Thread(target=go_on, args=(fault,), daemon=True).start()
        return _answer(access, target(fault), fault, start)
    finally:
        remove(access, fault)


def prepare(access: Cluster, fault: Fault) -> None:
    """What surrounds the Deployment or Job is there, and the revision that serves before, if there is one."""
    if fault.own_node:
        for made in simulated.expand(fault.own_node):
            api.call("POST", "/api/v1/nodes", made)
    namespace, *others = fault.surroundings()
    wait(lambda: access.find(path(namespace)) is None)  # a namespace of before may still be going
    apply(access, namespace)
    wait(lambda: access.find(f"/api/v1/namespaces/{fault.namespace}/serviceaccounts/default") is not None)
    if any("webhooks" in one for one in others):
        webhook.serve()
    for one in others:
        apply(access, one)
    if any(one["kind"] in ADMISSION for one in others):
        wait(lambda: refused(access, fault))  # the API server takes a moment to heed what is new
    if fault.serves:
        apply(access, fault.healthy())
        Task(access, target(fault), Reporter()).run(timeout=240, rollback=False)


def refused(access: Cluster, fault: Fault) -> bool:
    """Whether the API server refuses the faulty pod."""
    pod = {"metadata": {"name": "try"}, "spec": fault.faulty()["spec"]["template"]["spec"]}
    pods = f"/api/v1/namespaces/{fault.namespace}/pods"
    try:
        access.request("POST", pods, query={"dryRun": "All"}, body=json.dumps(pod).encode())
    except ClusterError:
        return True
    return False


def target(fault: Fault) -> Target:
    return Target(fault.kind, fault.namespace, "stt")


def go_on(fault: Fault) -> None:
    """What happens around the pod meanwhile."""
    time.sleep(2)
    for one in fault.meanwhile:
        api.call(one["method"], one["path"], one["body"])


def _answer(access: Witness, awaited: Target, fault: Fault, start: float) -> Explained:
    reporter = TimedReporter()
    task = Task(access, awaited, reporter)
    try:
        task.run(timeout=fault.timeout, rollback=True)
    except RolloutError as error:
        answered = reporter.answered or time.monotonic()
        told = error.result["diagnosis"]
        return Explained(
            told["cause"],
            told["final"],
            str(error),
            answered - (access.shown or float("nan")),
            answered - start,
            task.rolled_back,
            "is back and serves" in error.message,
            tuple(reporter.lines),
        )
    raise AssertionError(f"{fault.name}: the rollout was found complete:\n" + "\n".join(reporter.lines))


def wait(done: Callable[[], bool], seconds: float = 240) -> None:
    """Returns when something is so; fails after `seconds`, a bound for a machine that is busy."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def remove(access: Cluster, fault: Fault) -> None:
    """What a fault has made is gone, or goes: deleting a namespace takes the cluster a while.

    A node that is emulated is given the time: pods that still stop would slow down the next ones.
    """
    for one in fault.surroundings():
        if "namespace" not in one["metadata"]:
            api.call("DELETE", path(one), accept=(404,))
    if fault.own_node:
        # Pods whose node is gone would keep the namespace for up to two minutes.
        pods = f"/api/v1/namespaces/{fault.namespace}/pods"
        api.call("DELETE", pods, accept=(404,), gracePeriodSeconds="0")
        for one in simulated.expand(fault.own_node):
            api.call("DELETE", path(one), accept=(404,))
    if fault.at == "node":
        with suppress(AssertionError):
            wait(lambda: access.find(path(fault.surroundings()[0])) is None)


def explain_all(*places: str) -> Iterator[tuple[str, Explained | Exception]]:
    """All faults of some places, several at a time: name and answer; an exception where there was none."""
    faults = [fault for fault in table() if fault.at in places]
    if "node" not in places:
        ensure_simulated(SIMULATED)

    def attempt(fault: Fault) -> Explained | Exception:
        try:
            return explain(fault)
        except Exception as error:
            return error

    with ThreadPoolExecutor(AT_ONCE[places[0]]) as pool:
        yield from zip([fault.name for fault in faults], pool.map(attempt, faults), strict=True)


def check(fault: Fault, got: Explained | Exception) -> None:
    """The answer is as the table wants it."""
    assert isinstance(got, Explained), got
    assert (got.cause, got.final) == (fault.cause, fault.final), got.message
    assert got.rolled_back == got.served_again == (fault.serves and not fault.outside), got.message


def ensure_simulated(name: str) -> None:
    """The simulated node that has everything is there."""
    if api.call("GET", f"/api/v1/nodes/{name}", accept=(404,))["kind"] == "Status":
        for one in simulated.expand(simulated.Declared(name=name)):
            api.call("POST", "/api/v1/nodes", one)


def node_is_there() -> bool:
    """Whether the lab runs with its real node."""
    return any(one["metadata"]["name"] == node.NAME for one in api.call("GET", "/api/v1/nodes")["items"])
