"""Jobs as AWX runs them, each template and the whole chain, on simulated nodes, with a stand-in for the NFS host.

Pods of simulated nodes mount nothing: that the models are on the export is shown where a node is (tests/e2e).
"""

from __future__ import annotations

import base64
import json
import os
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import api, simulated
from lab.console import LabError
from tests import surveys
from tests.awx_double import launched
from tests.conftest import ROOT, until
from tests.forward_proxy import proxying
from tests.integration.nfs_host import NfsHost, by_ssh, stand_in
from tests.jobs import NAMES, Job, Launch, checked_out, launch

VARIABLES = {
    **NAMES["awx__cluster"],
    **yaml.safe_load((ROOT / "inventory/lab/group_vars/all.yml").read_text()),
    "speaches_verify": {"requests": 3, "require_warm": False},  # warmth is shown where nothing else runs
    "speaches_gpu": {"node_selector": {"lab.portal-stt/simulated": "true"}},
    "nfs_export_min_free_mib": 100,
}
VOLUME = {"server": "10.77.0.2", "driver": ""}
NODE = "/api/v1/nodes/t4"


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    simulated.replace(ROOT / "lab" / "nodes" / "t4.yml")
    yield
    simulated.replace(None)


@pytest.fixture(scope="module")
def nfs_host() -> Iterator[NfsHost]:
    with stand_in("bookworm") as host:
        host.reset()
        yield host


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checked_out(tmp_path_factory.mktemp("project"))


class Awx:
    """A workflow's jobs: each gets what the ones before have left, and what its survey sends for the answers.

    Without an NFS host, the export is somebody else's.
    """

    def __init__(self, project: Path, folder: Path, namespace: str) -> None:
        self.project, self.folder, self.namespace = project, folder, namespace
        self.nfs_host: dict[str, Any] = {}
        self.variables: dict[str, Any] = {}
        self.ssh_key = ""
        self.artifacts: dict[str, Any] = {}

    def serve(self, host: NfsHost) -> None:
        """The export is ours, too, on this host."""
        host.reset()
        self.nfs_host, self.ssh_key = by_ssh(host)

    def run(
        self,
        template: str,
        answers: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None,
        kubeconfig: str = "",
        **how: Any,
    ) -> Job:
        """answers: by setting; whatever else is asked for is left empty, which may be sent as empty text."""
        survey = surveys.surveys().get(template, {"spec": []})
        given = {f"{surveys.ANSWER}{name}": value for name, value in (answers or {}).items()}
        sent = launched(survey, {**{one["variable"]: "" for one in survey["spec"]}, **given})
        assert given.keys() <= sent.keys()
        job = launch(
            template,
            self.project,
            self.folder,
            inventory(self.namespace, self.nfs_host, self.variables),
            {**sent, **self.artifacts, **(extra or {})},
            kubeconfig or os.environ["K8S_AUTH_KUBECONFIG"],
            Launch(ssh_key=self.ssh_key, **how),
        )
        self.artifacts |= job.artifacts
        return job


@pytest.fixture
def awx(project: Path, tmp_path: Path) -> Iterator[Awx]:
    namespace = f"awx-{uuid.uuid4().hex[:8]}"
    yield Awx(project, tmp_path, namespace)
    for path in (f"namespaces/{namespace}", f"persistentvolumes/{namespace}-models"):
        api.call("DELETE", f"/api/v1/{path}", accept=(404,))


def inventory(namespace: str, nfs_host: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """As AWX prints it, with the templates of names.yml in it."""
    volume = {**VOLUME, "name": f"{namespace}-models"}
    own = {**VARIABLES, "speaches_namespace": namespace, "speaches_volume": volume, **more}
    hosts = {"lab": own} | ({"nas": {**own, "ansible_connection": "ssh", **nfs_host}} if nfs_host else {})
    return {
        "all": {"children": ["clusters", "nfs_servers"]},
        "clusters": {"hosts": ["lab"]},
        "nfs_servers": {"hosts": ["nas"] if nfs_host else []},
        "_meta": {"hostvars": hosts},
    }


def good(job: Job) -> Job:
    assert job.status == "successful", job.output
    assert "Traceback" not in job.output
    return job


def bad(job: Job) -> str:
    """What a job says that must have failed."""
    assert job.status == "failed", job.output
    assert "Traceback" not in job.output
    return plain(job)


def plain(job: Job) -> str:
    """What a job says, on one line and without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", job.output).split())


def reports(namespace: str) -> list[Any]:
    data = api.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/portal-stt-report").get("data", {})
    assert {name.replace(".html", ".json") for name in data} == {name for name in data if name.endswith(".json")}
    return [json.loads(one) for name, one in sorted(data.items()) if name.endswith(".json")]


def test_the_whole_chain(awx: Awx, nfs_host: NfsHost) -> None:
    awx.serve(nfs_host)
    before = nfs_host.table
    preflight = good(awx.run("preflight")).handed
    assert preflight["play"] == "preflight"
    assert preflight["verdict"] in ("ok", "warning")
    assert preflight["digest"].startswith("sha256:")
    assert "nfs.covered" in {one["check"] for one in preflight["report"]["findings"]}
    assert "frigate/frigate" in {one["name"] for one in preflight["seats"]}
    planned = good(awx.run("plan"))
    assert "+++ after" in planned.output
    assert awx.artifacts["portal_stt"]["play"] == "deploy"  # a plan proves nothing
    assert nfs_host.table == before
    stored = good(awx.run("storage"))
    assert stored.handed["play"] == "storage"
    assert "/srv/nfs-ssd/portal-stt" in nfs_host.sh("exportfs -s")
    answers = {"speaches_rollout_seconds": 1000, "speaches_rollback": "true"}
    deployed = good(awx.run("deploy", answers)).handed
    assert (deployed["play"], deployed["verdict"], deployed["digest"]) == ("deploy", "ok", preflight["digest"])
    proven = good(awx.run("verify")).handed
    assert proven["play"] == "verify"
    assert [one["name"] for one in proven["seats"]] == [one["name"] for one in preflight["seats"]]
    good(awx.run("report"))
    assert reports(awx.namespace) == [proven]
    for template in ("storage", "deploy"):
        assert "changed=0" in plain(good(awx.run(template, answers if template == "deploy" else {})))
    good(awx.run("teardown"))
    assert nfs_host.table == before
    with pytest.raises(LabError, match="not found"):
        reports(awx.namespace)


NOWHERE = "10.77.0.1:5999/speaches-ai/speaches:0.9.0-rc.3-cuda"


def test_a_report_of_a_failure_is_handed_over_and_not_kept_where_nothing_is(awx: Awx) -> None:
    """An answer of the survey comes before the inventory; what failed reaches the report, which fails, too."""
    assert "10.77.0.1:5999" in bad(awx.run("preflight", {"speaches_image": NOWHERE}))
    assert awx.artifacts["portal_stt"]["verdict"] == "refused"
    said = bad(awx.run("report"))
    assert "image.registry" in said
    assert f"Not kept: namespace {awx.namespace} is made by the deploy play, which has not run yet." in said
    assert "preflight ended as refused, and verify has not proven the server since" in said


def test_a_failed_deploy_is_kept(awx: Awx) -> None:
    good(awx.run("deploy"))
    said = bad(awx.run("deploy", {"speaches_image": NOWHERE}))
    assert "10.77.0.1:5999" in said
    handed = awx.artifacts["portal_stt"]
    assert (handed["play"], handed["verdict"]) == ("deploy", "refused")
    bad(awx.run("report"))
    assert reports(awx.namespace) == [handed]
    good(awx.run("teardown"))


@contextmanager
def cordoned() -> Iterator[None]:
    """Pods wait: there is time to end a job in the middle of a change."""
    api.call("PATCH", NODE, {"spec": {"unschedulable": True}})
    yield
    api.call("PATCH", NODE, {"spec": {"unschedulable": None}})


@pytest.mark.parametrize("how", ["timeout", "canceled"])
def test_a_job_that_is_killed_can_be_run_again(awx: Awx, how: str) -> None:
    """By AWX's timeout, and by its cancel while the model is put on the volume."""

    def seeding(_: Path) -> bool:
        pods = api.call("GET", f"/api/v1/namespaces/{awx.namespace}/pods", accept=(404,)).get("items")
        return bool(pods)

    good(awx.run("preflight"))
    with cordoned():
        killed = awx.run("deploy", **({"timeout": 6} if how == "timeout" else {"cancel": seeding}))
    assert killed.status == how
    assert killed.artifacts == {}
    bad(awx.run("report"))  # what is there is preflight's, and proves nothing
    good(awx.run("deploy"))
    good(awx.run("teardown"))


def test_a_rollout_that_is_canceled_is_completed_and_a_teardown_too(awx: Awx) -> None:
    """A second run goes on where a rollout stands, and where a removal waits for what somebody holds."""
    good(awx.run("deploy"))
    server = f"/apis/apps/v1/namespaces/{awx.namespace}/deployments/portal-stt"

    def rolling(_: Path) -> bool:
        return bool(api.call("GET", server)["status"].get("unavailableReplicas"))

    other = {"speaches_startup_seconds": 900}
    with cordoned():
        assert awx.run("deploy", other, cancel=rolling).status == "canceled"
    good(awx.run("deploy", other))
    held = f"/api/v1/namespaces/{awx.namespace}/configmaps/portal-stt-report"
    good(awx.run("verify"))
    good(awx.run("report"))
    api.call("PATCH", held, {"metadata": {"finalizers": ["lab.portal-stt/held"]}})

    def going(_: Path) -> bool:
        return "deletionTimestamp" in api.call("GET", held)["metadata"]

    assert awx.run("teardown", cancel=going).status == "canceled"
    api.call("PATCH", held, {"metadata": {"finalizers": None}})
    good(awx.run("teardown"))
    assert api.call("GET", server, accept=(404,))["kind"] == "Status"


def test_teardown_waits_for_a_deploy(awx: Awx) -> None:
    good(awx.run("deploy"))
    alone = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
             "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
    container = {"name": "seed", "image": "10.77.0.1:5000/none", "securityContext": alone}
    template = {"spec": {"restartPolicy": "Never", "containers": [container], "nodeSelector": {"no": "where"}}}
    labels = {"app.kubernetes.io/component": "seed", "app.kubernetes.io/part-of": "portal-stt"}
    job = {
        "metadata": {"name": "portal-stt-seed-held", "labels": labels},
        "spec": {"template": {"metadata": {"labels": labels}, **template}},
    }
    path = f"/apis/batch/v1/namespaces/{awx.namespace}/jobs"
    api.call("POST", path, job)
    until(lambda: api.call("GET", f"{path}/portal-stt-seed-held")["status"].get("active"), 30, lambda: "no pod")
    said = bad(awx.run("teardown"))
    assert "A deploy is at work: Job portal-stt-seed-held puts models on the volume. Let it end, or cancel it" in said
    assert api.call("GET", f"/apis/apps/v1/namespaces/{awx.namespace}/deployments/portal-stt")
    good(awx.run("teardown", extra={"teardown_during_deploy": True}))
    # Nobody of ours has made the Job: it is named and left.
    assert [one["metadata"]["name"] for one in api.call("GET", path)["items"]] == ["portal-stt-seed-held"]
    left = api.call("GET", f"/apis/apps/v1/namespaces/{awx.namespace}/deployments/portal-stt", accept=(404,))
    assert left["kind"] == "Status"


def test_the_account_of_rbac_runs_the_chain(awx: Awx, tmp_path_factory: pytest.TempPathFactory) -> None:
    """And keeps the report: no more rights are needed than rbac.yml gives."""
    good(awx.run("rbac"))
    account = f"/api/v1/namespaces/{awx.namespace}/serviceaccounts/portal-stt-deployer/token"
    token = api.call("POST", account, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    config = yaml.safe_load(Path(os.environ["K8S_AUTH_KUBECONFIG"]).read_text())
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path_factory.mktemp("account") / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    for template in ("preflight", "deploy", "verify", "report", "teardown"):
        good(awx.run(template, kubeconfig=str(kubeconfig)))


def test_the_chain_behind_a_proxy(awx: Awx, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Only the proxy knows the name of the cluster, so whatever goes past it fails. The key wants a port-forward."""
    config = yaml.safe_load(Path(os.environ["K8S_AUTH_KUBECONFIG"]).read_text())
    config["clusters"][0]["cluster"] |= {"server": "https://cluster.invalid:6443", "tls-server-name": "kubernetes"}
    kubeconfig = tmp_path_factory.mktemp("access") / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    awx.variables = {"speaches_api_key": "sesame-and-lilies"}
    with proxying(tmp_path_factory.mktemp("proxy")) as proxy:
        environment = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "localhost,.svc"}
        for template in ("preflight", "deploy", "verify", "report", "teardown"):
            before = len(proxy.asked)
            good(awx.run(template, kubeconfig=str(kubeconfig), environment=environment))
            assert set(proxy.asked[before:]) == {"CONNECT cluster.invalid:6443"}, template


SECRETS = {
    "PORTAL_STT_API_KEY": "a-key-that-nobody-may-see",
    "PORTAL_STT_HUB_TOKEN": "hf_aTokenThatNobodyMaySee",
}


def test_no_secret_is_in_what_awx_keeps(awx: Awx, nfs_host: NfsHost) -> None:
    """As credentials set them and names.yml looks them up; at the highest verbosity, with the diff."""
    awx.serve(nfs_host)
    looked_up = NAMES["awx__looked_up"]
    hub = {**VARIABLES["speaches_hub"], **looked_up["hub_token"]["speaches_hub"]}
    awx.variables = {**looked_up["api_key"], "speaches_hub": hub}
    config = yaml.safe_load(Path(os.environ["K8S_AUTH_KUBECONFIG"]).read_text())
    key = config["users"][0]["user"]["client-key-data"]
    lines = [
        *SECRETS.values(),
        *awx.ssh_key.splitlines()[1:-1],
        key,
        *base64.b64decode(key).decode().splitlines()[1:-1],
    ]
    secrets = [*lines, *(base64.b64encode(secret.encode()).decode() for secret in SECRETS.values())]
    for template in ("preflight", "plan", "storage", "deploy", "verify", "report", "teardown"):
        job = good(awx.run(template, environment=SECRETS, verbosity=5))
        assert [one for one in secrets if one in job.output or one in job.events] == [], template


TEMPLATES = ("preflight", "storage", "deploy", "verify", "rbac", "teardown")


def test_each_template_as_a_check_and_changes_nothing(awx: Awx, nfs_host: NfsHost) -> None:
    """Job type "Check" at launch: where nothing is, and where all is."""
    awx.serve(nfs_host)
    before = nfs_host.table
    for template in TEMPLATES:
        good(awx.run(template, job_type="check"))
    assert nfs_host.table == before
    assert api.call("GET", f"/api/v1/namespaces/{awx.namespace}", accept=(404,))["kind"] == "Status"
    for template in ("storage", "deploy", "verify"):
        good(awx.run(template))
    good(awx.run("report", job_type="check"))
    stands = api.call("GET", f"/apis/apps/v1/namespaces/{awx.namespace}/deployments/portal-stt")["metadata"]["uid"]
    served = nfs_host.table
    for template in ("deploy", "teardown"):
        good(awx.run(template, job_type="check"))
    assert nfs_host.table == served
    again = api.call("GET", f"/apis/apps/v1/namespaces/{awx.namespace}/deployments/portal-stt")["metadata"]
    assert (again["uid"], "deletionTimestamp" in again) == (stands, False)
    with pytest.raises(LabError, match="not found"):
        reports(awx.namespace)
    good(awx.run("teardown"))


def test_a_limit_or_a_slice_leaves_the_others_alone(awx: Awx, nfs_host: NfsHost) -> None:
    awx.serve(nfs_host)
    before = nfs_host.table
    good(awx.run("preflight", limit="clusters"))
    good(awx.run("preflight", limit="nas"))
    good(awx.run("storage", limit="lab"))
    assert nfs_host.table == before
    good(awx.run("storage", limit="nas"))
    served = nfs_host.table
    assert served != before
    good(awx.run("deploy", limit="nas"))
    assert api.call("GET", f"/api/v1/namespaces/{awx.namespace}", accept=(404,))["kind"] == "Status"
    good(awx.run("deploy", limit="lab"))
    good(awx.run("teardown", limit="lab"))
    assert nfs_host.table == served
    good(awx.run("teardown"))
    assert nfs_host.table == before
    assert "nowhere" in bad(awx.run("preflight", limit="nowhere"))


def test_two_jobs_at_once(awx: Awx) -> None:
    """AWX holds back the same template; another one, or somebody at a terminal, it does not."""
    with ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(lambda _: awx.run("deploy"), range(2)))
    for job in jobs:
        good(job)
    assert "changed=0" in plain(good(awx.run("deploy")))
    good(awx.run("teardown"))
