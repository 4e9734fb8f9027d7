"""k8s_rollout against what happens around it: the API server restarts, tokens expire, the run is ended or repeated."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, cast

import ansible_runner
import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import watch as _watch
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster, ClusterError
from ansible_collections.portal.stt.plugins.module_utils._rollout.back import MANAGER
from ansible_collections.portal.stt.plugins.module_utils._rollout.reporter import Reporter
from ansible_collections.portal.stt.plugins.module_utils._rollout.task import Task
from ansible_collections.portal.stt.plugins.modules import k8s_rollout

from lab import api, controlplane, processes
from lab.certificates import API, PKI
from lab.faults import SIMULATED, Fault
from tests import hiccups, rollouts
from tests.conftest import ROOT, play, until
from tests.hiccups import Hiccup
from tests.modules import run_module


@contextmanager
def rolling_out(hiccup: Hiccup) -> Iterator[Fault]:
    """A Deployment whose pod does what the steps say, one after the other; its namespace is gone afterwards."""
    rollouts.ensure_simulated(SIMULATED)
    access, fault = rollouts.cluster(), hiccup.fault
    rollouts.prepare(access, fault)
    rollouts.apply(access, fault.faulty())
    steps = Thread(target=lambda: [step(hiccup) for step in hiccup.steps])
    steps.start()
    try:
        yield fault
    finally:
        steps.join()
        rollouts.remove(access, fault)


class Errors(Cluster):
    """A cluster that notes the HTTP status of each request that failed, 0 for a broken connection."""

    def begin(self) -> None:
        self.statuses: list[int] = []

    def get(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with self._noted():
            return super().get(*args, **kwargs)

    def watch(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        with self._noted():
            yield from super().watch(*args, **kwargs)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except ClusterError as error:
            self.statuses.append(error.status)
            raise


def restarted(hiccup: Hiccup) -> None:
    """The API server is gone and comes back, with a younger memory: versions of before are 410 Gone."""
    processes.stop("kube-apiserver")
    time.sleep(1)
    controlplane.up()


def test_the_api_server_restarts(tmp_path: Path) -> None:
    """With the least rights: the administrator needs no roles, which it reads only after it answers."""
    kubeconfig = tmp_path / "kubeconfig"
    steps = (hiccups.waits("ContainerCreating"), hiccups.after(3), restarted, hiccups.after(1), hiccups.READY)
    with rolling_out(Hiccup("api-restart", steps)) as fault:
        grant(fault.namespace)
        kubeconfig.write_text(kubeconfig_with(token_of(fault.namespace, "first")))
        access = cast(Errors, rollouts.cluster(Errors, kubeconfig))
        access.begin()
        reporter = Reporter()
        result = Task(access, rollouts.target(fault), reporter).run(timeout=240, rollback=True)
    assert result["status"] == "complete"
    assert 0 in access.statuses
    assert sum("the watch goes on as soon as it can" in line for line in reporter.lines) == 1


def test_a_token_expires_and_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rights that docs/rollout.md names, and no other."""
    monkeypatch.setattr(_watch, "WATCH_SECONDS", 2.0)
    kubeconfig = tmp_path / "kubeconfig"

    def expired(hiccup: Hiccup) -> None:
        token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
        api.call("DELETE", f"/api/v1/namespaces/{hiccup.namespace}/secrets/first")
        until(lambda: not accepted(token), every=0.1)  # the API server remembers a good token for ten seconds
        time.sleep(3)
        kubeconfig.write_text(kubeconfig_with(token_of(hiccup.namespace, "second")))

    steps = (hiccups.waits("ContainerCreating"), hiccups.after(3), expired, hiccups.after(1), hiccups.READY)
    with rolling_out(Hiccup("token", steps)) as fault:
        grant(fault.namespace)
        kubeconfig.write_text(kubeconfig_with(token_of(fault.namespace, "first")))
        result = run_module(k8s_rollout, kubeconfig=str(kubeconfig), namespace=fault.namespace, name="stt", timeout=240)
    assert result.get("status") == "complete", result
    assert any("The credentials are not accepted or have expired" in line for line in result["progress"])


RIGHTS = [
    {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "delete"]},
    {"apiGroups": [""], "resources": ["events", "persistentvolumeclaims"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]


def grant(namespace: str) -> None:
    """Account `deployer` of the namespace has the rights."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    account = {"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}
    api.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "deployer"}})
    api.call("POST", f"{rbac}/roles", {"metadata": {"name": "deployer"}, "rules": RIGHTS})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"}
    api.call("POST", f"{rbac}/rolebindings", {"metadata": {"name": "d"}, "roleRef": role, "subjects": [account]})


def token_of(namespace: str, name: str) -> str:
    """A token of `deployer` that is valid as long as Secret `name` exists."""
    secret = api.call("POST", f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": name}})
    bound = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": secret["metadata"]["uid"]}
    asked = {"spec": {"audiences": [], "expirationSeconds": 3600, "boundObjectRef": bound}}
    answer = api.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/deployer/token", asked)
    return str(answer["status"]["token"])


def kubeconfig_with(token: str) -> str:
    return yaml.safe_dump(
        {
            "clusters": [{"name": "c", "cluster": {"server": API, "certificate-authority": str(PKI / "ca.crt")}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


def accepted(token: str) -> bool:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    return bool(answer["status"].get("authenticated"))


def test_a_job_that_had_failed_is_made_anew() -> None:
    rollouts.ensure_simulated(SIMULATED)
    ended = {"exitCode": 12, "reason": "Error", "finishedAt": "2026-11-24T05:00:00Z", "message": json.dumps(SAID)}
    status = {"phase": "Failed", "containerStatuses": [{"state": {"terminated": ended}}]}
    job = Fault("job-again", "", "replay", "", kind="Job", spec={"backoffLimit": 0}, status=status)
    access = rollouts.cluster()
    rollouts.prepare(access, job)
    try:
        rollouts.apply(access, job.faulty())
        first = run_module(k8s_rollout, namespace=job.namespace, job="stt", timeout=240)
        until(lambda: "Failed" in str(access.get(rollouts.path(job.faulty()))["status"].get("conditions")), every=0.1)
        again = run_module(k8s_rollout, namespace=job.namespace, job="stt", timeout=240)
    finally:
        rollouts.remove(access, job)
    assert (first["diagnosis"]["cause"], first["diagnosis"]["what"]) == ("seed-failed", "The hub has no such revision.")
    assert first["diagnosis"]["remedy"] == SAID["remedy"]
    assert not first["changed"]
    assert again["diagnosis"] == {**first["diagnosis"], "where": again["diagnosis"]["where"]}
    assert again["progress"][0].endswith("Job stt: had failed before this run began, is made anew")
    assert again["changed"]


SAID = {"error": "The hub has no such revision.", "cause": "HTTP 404", "remedy": "Correct speaches_models.", "code": 12}


def test_what_comes_back_is_exactly_what_served() -> None:
    """Also where another manager has put something into the pods' template; what it has elsewhere stays."""
    rollouts.ensure_simulated(SIMULATED)
    access, fault = rollouts.cluster(), Fault("set-by-others", "", "cluster", "", serves=True)
    where = rollouts.path(fault.healthy())
    broken = {"name": "stt", "env": [{"name": "BROKEN", "value": "1"}]}
    change = {
        "metadata": {"annotations": {"example.com/theirs": "1"}},
        "spec": {"template": {"spec": {"priorityClassName": "no-such-class", "containers": [broken]}}},
    }
    try:
        rollouts.prepare(access, fault)
        served = access.get(where)["spec"]["template"]
        access.request(
            "PATCH",
            where,
            query={"fieldManager": "kubectl-set"},
            body=json.dumps(change).encode(),
            headers={"Content-Type": "application/strategic-merge-patch+json"},
        )
        result = run_module(k8s_rollout, namespace=fault.namespace, name="stt", timeout=240)
        after = access.get(where)
        ours = fault.healthy()
        ours["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2
        access.apply(where, ours, field_manager=MANAGER, dry_run=True)  # the next deploy meets no conflict
    finally:
        rollouts.remove(access, fault)
    assert result["diagnosis"]["cause"] == "priority-class-missing"
    assert "is back and serves" in result["msg"]
    assert after["spec"]["template"] == served
    assert after["metadata"]["annotations"]["example.com/theirs"] == "1"


# With a real ansible-playbook


@pytest.fixture
def cordoned() -> Iterator[Fault]:
    """A simulated node that takes no pod until it is told so, and a namespace.

    Each has a name of its own: KWOK leaves a node alone for 200 s that was there a moment ago.
    """
    name = f"ended-{secrets.token_hex(4)}"
    access, fault = rollouts.cluster(), Fault(name, "", "cluster", "", nodes={"cordoned": True})
    try:
        rollouts.prepare(access, fault)
        yield fault
    finally:
        rollouts.remove(access, fault)


def uncordon(fault: Fault) -> None:
    api.call("PATCH", f"/api/v1/nodes/{fault.namespace}", {"spec": {"unschedulable": False}})


def playbook(folder: Path, fault: Fault, *, progress: bool = True) -> str:
    """Declares a Deployment and waits for it; the path of the file."""
    rollout = {"namespace": fault.namespace, "name": "stt", "timeout": 300, "progress": progress}
    tasks = [
        {"name": "It is declared", "portal.stt.k8s_apply": {"definition": [fault.healthy()]}},
        {"name": "It is ready", "portal.stt.k8s_rollout": rollout},
    ]
    file = folder / "rollout.yml"
    file.write_text(yaml.safe_dump([{"hosts": "clusters", "gather_facts": False, "tasks": tasks}]))
    return str(file)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_ended_is_taken_up_by_the_next(number: signal.Signals, cordoned: Fault, tmp_path: Path) -> None:
    file = playbook(tmp_path, cordoned)
    with playing(file) as (process, lines):
        for line in lines:
            if "not final yet: The node is cordoned." in line:
                break
        # Ansible waits for ever where a worker ends in the microseconds in which it passes a line on.
        time.sleep(0.5)
        # A terminal sends Ctrl-C to all processes of the run, a supervisor its signal to the first one.
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        rest = "".join(lines)
        assert process.wait(120) != 0
    assert "Traceback" not in rest
    until(lambda: not watching(), every=0.1)
    uncordon(cordoned)
    played = play(file)
    assert played.rc == 0, played.output
    assert re.search(r"\[lab\] +[\d.]+ s  (pod \S+: )?ready\b", played.output)
    assert play(file).changed == 0


def test_check_mode_on_an_empty_cluster_says_what_would_be() -> None:
    extra = {"speaches_namespace": "absent", "speaches_volume": {"name": "absent", "server": "10.77.0.2", "driver": ""}}
    played = play("playbooks/deploy.yml", "--check", "--diff", "-e", json.dumps(extra))
    assert played.rc == 0, played.output
    assert played.changed
    assert api.call("GET", "/api/v1/namespaces/absent", accept=(404,))["kind"] == "Status"


@contextmanager
def playing(file: str) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """A run of a playbook, and the lines that it prints."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory/lab", file],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    bound = threading.Timer(240, os.killpg, (process.pid, signal.SIGKILL))
    bound.start()
    try:
        assert process.stdout is not None
        yield process, iter(process.stdout)
    finally:
        bound.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def watching() -> bool:
    """Whether a process of the run, or a module, that watches this rollout still runs."""
    for one in Path("/proc").glob("[0-9]*/environ"):
        try:
            command, environment = one.with_name("cmdline").read_bytes(), one.read_bytes()
        except OSError:
            continue
        ours = b"k8s_rollout" in command or b"rollout.yml" in command
        if ours and os.environ["K8S_AUTH_KUBECONFIG"].encode() in environment:
            return True
    return False


@pytest.mark.parametrize("progress", [True, False])
def test_progress_as_awx_shows_it(progress: bool, tmp_path: Path, cordoned: Fault) -> None:
    """ansible-runner makes events of what is printed, without a terminal; AWX shows their text."""
    uncordon(cordoned)
    run = ansible_runner.run(
        private_data_dir=str(tmp_path),
        project_dir=str(ROOT),
        inventory=str(ROOT / "inventory" / "lab"),
        playbook=playbook(tmp_path, cordoned, progress=progress),
        envvars={"K8S_AUTH_KUBECONFIG": os.environ["K8S_AUTH_KUBECONFIG"], "ANSIBLE_NOCOLOR": "1"},
        quiet=True,
    )
    text = "\n".join(event["stdout"] for event in run.events)
    assert run.status == "successful", text
    assert bool(re.search(r"\[lab\] +[\d.]+ s  (pod \S+: )?ready\b", text)) is progress
    assert bool(re.search(r"TASK \[It is ready\] \*+\s+\[lab\] ", text)) is progress, "the lines are under their task"
