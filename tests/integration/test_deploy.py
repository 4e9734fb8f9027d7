"""The deploy play and its neighbours on simulated nodes: what it declares, what it restarts, what it leaves alone.

The nodes are KWOK's; API server, scheduler and controllers are real. Behind every simulated pod is the lab's speech
server, which needs no key: that a key is wanted is shown in test_speech.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from lab import api, simulated
from lab.certificates import API, KUBECONFIG, PKI
from lab.hub import MODEL, small_model
from tests.conftest import ROOT, Played, play, until

OTHER = "Systran/faster-whisper-tiny"
OLD, NEW = "1" * 40, "2" * 40


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    simulated.replace(ROOT / "lab" / "nodes" / "t4.yml")
    yield
    simulated.replace(None)


def run(playbook: str, namespace: str, *args: str, kubeconfig: str = "", **variables: Any) -> Played:
    """A play against the simulated cluster only, in a namespace and with a volume of its own."""
    given = {
        "speaches_namespace": namespace,
        "speaches_volume": {"name": f"{namespace}-models", "server": "10.77.0.2", "driver": ""},
        "speaches_gpu": {"node_selector": {"lab.portal-stt/simulated": "true"}},
        **variables,
    }
    environment = {"K8S_AUTH_KUBECONFIG": kubeconfig} if kubeconfig else None
    return play(f"playbooks/{playbook}.yml", "-l", "lab", "-e", json.dumps(given), *args, environment=environment)


def done(played: Played) -> Played:
    assert played.rc == 0, played.output
    return played


def get(path: str) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", path)
    return found


def server(namespace: str) -> dict[str, Any]:
    """The Deployment's spec."""
    spec: dict[str, Any] = get(f"/apis/apps/v1/namespaces/{namespace}/deployments/portal-stt")["spec"]
    return spec


def seed_job(namespace: str) -> dict[str, Any]:
    """The newest."""
    jobs = get(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"]
    return dict(max(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"])))


# ---- many: two models, two servers, a key, a token

MANY: dict[str, Any] = {
    "speaches_models": [{"model": MODEL, "revision": NEW}, {"model": OTHER, "revision": OLD}],
    "speaches_replicas": 2,
    "speaches_strategy": "RollingUpdate",
    "speaches_startup_seconds": 100,
    "speaches_api_key": "sesame",
    "speaches_hub": {"token": "hf_secret"},
}


@pytest.fixture(scope="module")
def many() -> str:
    """The namespace, after two runs of which the second changed nothing."""
    outputs = [done(run("deploy", "many", "--diff", **MANY)) for _ in range(2)]
    assert outputs[1].changed == 0, outputs[1].output
    for played in outputs:
        assert "sesame" not in played.output
        assert "hf_secret" not in played.output
    return "many"


def test_two_servers_go_one_by_one(many: str) -> None:
    spec = server(many)
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    budget = get(f"/apis/policy/v1/namespaces/{many}/poddisruptionbudgets/portal-stt")
    assert (budget["spec"]["maxUnavailable"], budget["status"]["expectedPods"]) == (1, 2)


def test_what_the_seed_job_has_said_is_what_serves(many: str) -> None:
    annotations = server(many)["template"]["metadata"]["annotations"]
    assert annotations == {
        "portal-stt/key": digest("sesame"),
        "portal-stt/models": f"{MODEL}@{NEW} {OTHER}@{OLD}",
        "portal-stt/revision-0": NEW,
        "portal-stt/revision-1": OLD,
    }
    said = json.loads(seed_job(many)["metadata"]["annotations"]["portal-stt/result"])
    assert [(one["model"], one["revision"]) for one in said["models"]] == [(MODEL, NEW), (OTHER, OLD)]


def test_key_and_token_come_from_the_secret(many: str) -> None:
    kept = get(f"/api/v1/namespaces/{many}/secrets/portal-stt")["data"]
    assert set(kept) == {"api-key", "hub-token"}
    sources = {one["name"]: one["valueFrom"] for one in server(many)["template"]["spec"]["containers"][0]["env"]
               if "valueFrom" in one}  # fmt: skip
    assert sources == {"API_KEY": {"secretKeyRef": {"name": "portal-stt", "key": "api-key"}}}


def digest(key: str) -> str:
    return hashlib.sha256(f"many/portal-stt/{key}".encode()).hexdigest()[:8]


def test_another_key_restarts_the_server_and_is_not_shown(many: str) -> None:
    planned = done(run("deploy", many, "--check", "--diff", **MANY | {"speaches_api_key": "caraway"}))
    for sign, key in (("-", "sesame"), ("+", "caraway")):
        (line,) = [one for one in planned.output.splitlines() if one.startswith(f"{sign}        portal-stt/key:")]
        assert digest(key) in line
        assert key not in planned.output


INJECTED = f"""{NEW}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: portal-stt-attack}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}
subjects: [{{kind: User, apiGroup: rbac.authorization.k8s.io, name: stranger}}]
"""


@pytest.mark.parametrize(
    ("where", "said"),
    [("job", f"{MODEL} has a revision that is no commit"), ("deployment", "which is no MODEL@COMMIT")],
)
def test_what_a_stranger_writes_is_refused_before_anything_is_written(where: str, said: str) -> None:
    """A revision that brings an object of its own."""
    namespace = f"stranger-{where}"
    done(run("deploy", namespace))
    if where == "job":
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs/{seed_job(namespace)['metadata']['name']}"
        result = json.dumps({"models": [{"model": MODEL, "revision": INJECTED}]})
        patch: dict[str, Any] = {"metadata": {"annotations": {"portal-stt/result": result}}}
    else:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/portal-stt"
        annotations = {"portal-stt/models": f"{MODEL}@{INJECTED}"}
        patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    api.call("PATCH", path, patch)
    before = server(namespace)
    refused = run("deploy", namespace, "--diff")
    assert refused.rc != 0
    assert said in " ".join(refused.output.split())
    assert refused.changed == 0, refused.output
    found = api.call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/portal-stt-attack", accept=(404,))
    assert found["kind"] == "Status"
    assert server(namespace) == before


def test_a_proxys_password_is_in_the_secret_alone(many: str) -> None:
    proxy = {"environment": {"HTTPS_PROXY": "http://user:caraway@proxy.invalid:3128"}}
    other = {"environment": {"HTTPS_PROXY": "http://user:cumin@proxy.invalid:3128"}}
    played = done(run("deploy", many, "--diff", **MANY | {"speaches_hub": proxy}))
    first = seed_job(many)
    assert "caraway" not in played.output + json.dumps([first, server(many)])
    (container,) = first["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one.get("valueFrom") for one in container["env"]}["HTTPS_PROXY"] == {
        "secretKeyRef": {"name": "portal-stt", "key": "hub.HTTPS_PROXY"}
    }
    planned = done(run("deploy", many, "--check", "--diff", **MANY | {"speaches_hub": other}))
    assert "after: Job many/portal-stt-seed-" in planned.output
    assert f"Job many/{first['metadata']['name']}" not in planned.output
    assert "cumin" not in planned.output
    done(run("deploy", many, **MANY))


def test_another_revision_is_in_the_diff(many: str) -> None:
    planned = done(run("deploy", many, "--check", "--diff", speaches_models=[{"model": MODEL, "revision": OLD}]))
    assert f"-        portal-stt/models: {MODEL}@{NEW} {OTHER}@{OLD}" in planned.output
    assert f"+        portal-stt/models: {MODEL}@{OLD}" in planned.output


def test_a_revision_that_is_not_known_is_not_mounted(many: str) -> None:
    """Without one the volume's own refs/main counts; the others keep theirs."""
    done(run("deploy", many, speaches_models=[{"model": OTHER}, {"model": MODEL, "revision": NEW}]))
    template = server(many)["template"]
    assert template["metadata"]["annotations"] == {
        "portal-stt/models": f"{OTHER}@ {MODEL}@{NEW}",
        "portal-stt/revision-0": NEW,
    }
    mounted = [one for one in template["spec"]["containers"][0]["volumeMounts"] if one["name"].startswith("revision-")]
    assert [one["mountPath"] for one in mounted] == [f"/data/hub/models--{MODEL.replace('/', '--')}/refs"]
    assert [one["name"] for one in template["spec"]["volumes"]] == ["models", "revision-0", "scripts", "tmp"]


def test_the_way_back_to_recreate(many: str) -> None:
    """Kubernetes' own defaults for RollingUpdate must not stand in the way of a server-side apply."""
    done(run("deploy", many, speaches_models=[{"model": MODEL, "revision": NEW}]))
    spec = server(many)
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["replicas"] == 1


def test_a_plan_keeps_the_revision_that_serves(many: str) -> None:
    """Where none is set, and the seed Job that would tell it is only planned."""
    proxy = {"environment": {"HTTPS_PROXY": "http://proxy.invalid"}}
    planned = done(run("deploy", many, "--check", "--diff", speaches_models=[{"model": MODEL}], speaches_hub=proxy))
    assert "after: Job many/portal-stt-seed-" in planned.output
    for line in planned.output.splitlines():
        assert not (line.startswith(("+", "-")) and ("portal-stt/models" in line or "revision-0" in line)), line


def test_only_the_newest_seed_job_stays(many: str) -> None:
    jobs = get(f"/apis/batch/v1/namespaces/{many}/jobs")["items"]
    assert len(jobs) == 1


def test_no_secret_stays_where_nothing_is_secret(many: str) -> None:
    """The runs before this one had neither key nor token."""
    found = api.call("GET", f"/api/v1/namespaces/{many}/secrets/portal-stt", accept=(404,))
    assert found["kind"] == "Status"


def test_models_are_seeded_again_where_nothing_serves(many: str) -> None:
    """The volume may have lost them. Where the server is ready it has what it needs."""
    settings: dict[str, Any] = {"speaches_models": [{"model": MODEL, "revision": NEW}], "speaches_replicas": 1}
    done(run("deploy", many, **settings))
    seeded = seed_job(many)["metadata"]
    assert done(run("deploy", many, **settings)).changed == 0
    assert seed_job(many)["metadata"]["uid"] == seeded["uid"]
    api.call("DELETE", f"/apis/apps/v1/namespaces/{many}/deployments/portal-stt")
    assert done(run("deploy", many, "--check", **settings)).changed > 0
    assert seed_job(many)["metadata"]["uid"] == seeded["uid"]
    done(run("deploy", many, **settings))
    again = seed_job(many)["metadata"]
    assert again["name"] == seeded["name"]
    assert again["uid"] != seeded["uid"]


def test_a_budget_of_two_servers_goes_with_the_second_and_that_of_others_stays(many: str) -> None:
    settings: dict[str, Any] = {"speaches_models": [{"model": MODEL, "revision": NEW}]}
    budgets = f"/apis/policy/v1/namespaces/{many}/poddisruptionbudgets"

    def names() -> list[str]:
        return [one["metadata"]["name"] for one in get(budgets)["items"]]

    done(run("deploy", many, **settings, speaches_replicas=2))
    assert names() == ["portal-stt"]
    planned = done(run("deploy", many, "--check", "--diff", **settings))
    assert "--- before: PodDisruptionBudget many/portal-stt" in planned.output
    assert names() == ["portal-stt"]
    done(run("deploy", many, **settings))
    assert names() == []
    assert done(run("deploy", many, **settings)).changed == 0
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "portal-stt"}}}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "portal-stt"}, "spec": spec}
    api.call("POST", budgets, body, fieldManager="kubectl-create")
    assert done(run("deploy", many, **settings)).changed == 0
    assert names() == ["portal-stt"]
    api.call("DELETE", f"{budgets}/portal-stt")


def test_policies_go_when_none_are_wanted(many: str) -> None:
    settings: dict[str, Any] = {
        "speaches_models": [{"model": MODEL, "revision": NEW}],
        "speaches_network": {"policy": False},
    }
    policies = f"/apis/networking.k8s.io/v1/namespaces/{many}/networkpolicies"
    assert done(run("deploy", many, "--check", **settings)).changed
    assert len(get(policies)["items"]) == 2
    done(run("deploy", many, **settings))
    assert get(policies)["items"] == []
    assert done(run("deploy", many, **settings)).changed == 0


def test_seed_jobs_go_where_the_server_asks_the_hub_itself(many: str) -> None:
    settings: dict[str, Any] = {"speaches_models": [{"model": MODEL, "revision": NEW}]}
    jobs = f"/apis/batch/v1/namespaces/{many}/jobs"
    done(run("deploy", many, **settings))
    assert len(get(jobs)["items"]) == 1
    done(run("deploy", many, speaches_models=[{"model": MODEL}], speaches_model_source="hub"))
    assert get(jobs)["items"] == []


# ---- others


def theirs(namespace: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}}, accept=(409,))
    made: dict[str, Any] = api.call("POST", path, body, fieldManager="helm")
    return made


def test_what_stands_in_the_way_is_found_before_anything_is_written() -> None:
    """At the last objects of a deploy: somebody else's Deployment and Service of our name."""
    selector = {"matchLabels": {"app": "other"}}
    template = {"metadata": {"labels": {"app": "other"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    spec = {"replicas": 0, "selector": selector, "template": template}
    made = theirs(
        "way",
        "/apis/apps/v1/namespaces/way/deployments",
        {"metadata": {"name": "portal-stt", "labels": {"app.kubernetes.io/managed-by": "Helm"}}, "spec": spec},
    )
    for playbook in ("deploy", "preflight"):
        refused = run(playbook, "way", speaches_namespace_labels={})
        assert refused.rc != 0
        said = " ".join(refused.output.split())
        assert "Deployment way/portal-stt: there is one of this name already" in said
        assert "which carries the label app.kubernetes.io/managed-by=Helm: it is left as it is." in said
        assert "fields are set by helm" in said
        assert "Choose another speaches_name." in said
    for kind in ("/api/v1/namespaces/way/persistentvolumeclaims", "/apis/batch/v1/namespaces/way/jobs"):
        assert get(kind)["items"] == []
    assert api.call("GET", "/api/v1/persistentvolumes/way-models", accept=(404,))["kind"] == "Status"
    gone = done(run("teardown", "way"))
    assert "Deployment way/portal-stt: it carries the label app.kubernetes.io/managed-by=Helm" in " ".join(
        gone.output.split()
    )
    there = get("/apis/apps/v1/namespaces/way/deployments/portal-stt")["metadata"]
    assert (there["uid"], there.get("deletionTimestamp")) == (made["metadata"]["uid"], None)


def test_a_secret_of_our_name_that_is_somebody_elses_stays() -> None:
    """Neither a run without a key nor the way back deletes it."""
    secret = {"metadata": {"name": "portal-stt"}, "data": {"their": "c2VjcmV0"}}
    made = theirs("kept", "/api/v1/namespaces/kept/secrets", secret)
    done(run("deploy", "kept", speaches_namespace_labels={}, speaches_models=[{"model": MODEL, "revision": NEW}]))
    gone = done(run("teardown", "kept", speaches_namespace_labels={}))
    told = " ".join(gone.output.split())
    assert "Secret kept/portal-stt: it was not made by us, and is left as it is. fields are set by helm" in told
    assert get("/api/v1/namespaces/kept/secrets/portal-stt")["metadata"]["uid"] == made["metadata"]["uid"]
    assert "c2VjcmV0" not in gone.output


def test_a_run_fails_whose_secret_another_one_has_taken_away() -> None:
    """Two at once: the other, which has no key, ends while this one waits for its server."""
    namespace = "twice"
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/portal-stt"
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(run, "deploy", namespace, speaches_api_key="sesame")
        until(lambda: api.call("GET", path, accept=(404,)).get("kind") == "Deployment", every=0.05)
        api.call("DELETE", f"/api/v1/namespaces/{namespace}/secrets/portal-stt")
        ended = ours.result()
    assert ended.rc == 2, ended.output
    assert "Secret twice/portal-stt: it is gone: another run, or somebody else, was here meanwhile." in ended.output
    assert "sesame" not in ended.output
    done(run("deploy", namespace, speaches_api_key="sesame"))


def test_one_scale_by_hand_does_not_stop_a_run_and_an_autoscaler_keeps_its_number(many: str) -> None:
    settings: dict[str, Any] = {"speaches_models": [{"model": MODEL, "revision": NEW}], "speaches_replicas": 1}
    done(run("deploy", many, **settings))
    path = f"/apis/apps/v1/namespaces/{many}/deployments/portal-stt"
    for manager, left in (("kubectl", 1), ("kube-controller-manager", 2)):
        api.call("PATCH", f"{path}/scale", {"spec": {"replicas": 2}}, fieldManager=manager)
        done(run("deploy", many, **settings))
        assert get(path)["spec"]["replicas"] == left
    assert done(run("deploy", many, **settings)).changed == 0
    done(run("deploy", many, **settings, speaches_take_over=["kube-controller-manager"]))
    assert get(path)["spec"]["replicas"] == 1


# ---- rights


def account(namespace: str, folder: Path) -> str:
    """A kubeconfig with a token of the account that rbac.yml makes."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/portal-stt-deployer/token"
    access = yaml.safe_load(KUBECONFIG.read_text())
    access["users"][0]["user"] = {"token": api.call("POST", path, asked)["status"]["token"]}
    (folder / "kubeconfig").write_text(yaml.safe_dump(access))
    return str(folder / "kubeconfig")


def denied() -> float:
    """Requests that the API server has refused for lack of rights so far."""
    metrics: str = api.call("GET", "/metrics")
    lines = [
        line for line in metrics.splitlines() if line.startswith("apiserver_request_total{") and 'code="403"' in line
    ]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_the_account_of_rbac_yml_can_do_what_the_plays_do(tmp_path: Path) -> None:
    """From preflight to teardown, with and without a key; and is refused nothing on the way.

    Nothing warms the speech server behind simulated pods: a lab that is new has a cold one.
    """
    done(run("rbac", "rights"))
    access = account("rights", tmp_path)
    key: dict[str, Any] = {"speaches_api_key": "sesame"}
    clips: dict[str, Any] = {
        "speaches_verify": {"requests": 2, "warm_factor": 100, "require_warm": False},
        "speaches_model": MODEL,
    }
    before = denied()
    for playbook, settings in [
        ("preflight", {}),
        ("deploy", key),
        ("verify", clips),
        ("verify", clips | key),
    ]:
        done(run(playbook, "rights", kubeconfig=access, **settings))
    filled = get("/api/v1/namespaces/rights/secrets/portal-stt")
    assert set(filled["data"]) == {"api-key"}
    foreign = {"metadata": {"name": "of-somebody-else"}}
    api.call("POST", "/api/v1/namespaces/rights/configmaps", foreign, accept=(409,))
    gone = done(run("teardown", "rights", kubeconfig=access))
    assert denied() == before

    assert "Namespace rights stays, with all that others have in it" in gone.output
    left = [
        one["metadata"]["name"]
        for kind in ("configmaps", "secrets", "services", "persistentvolumeclaims", "pods")
        for one in get(f"/api/v1/namespaces/rights/{kind}")["items"]
        if "deletionTimestamp" not in one["metadata"]
    ]
    # What the administrator has made, and the account may fill, is empty again.
    assert left == ["kube-root-ca.crt", "of-somebody-else", "portal-stt-report", "portal-stt-scripts", "portal-stt"]
    for kind, name in (("configmaps", "portal-stt-scripts"), ("secrets", "portal-stt")):
        assert not {"data", "binaryData"} & get(f"/api/v1/namespaces/rights/{kind}/{name}").keys()
    assert get("/apis/batch/v1/namespaces/rights/jobs")["items"] == []
    assert "rights-models" not in [one["metadata"]["name"] for one in get("/api/v1/persistentvolumes")["items"]]


def test_an_account_finds_its_namespace_and_volume_there(tmp_path: Path) -> None:
    """It may not make them, and says who does."""
    done(run("rbac", "found"))
    access = account("found", tmp_path)
    api.call("DELETE", "/api/v1/persistentvolumes/found-models")
    api.call("PATCH", "/api/v1/namespaces/found", {"metadata": {"labels": {"tier": "other"}}})
    refused = run("deploy", "found", kubeconfig=access)
    said = " ".join(refused.output.split())
    assert refused.rc != 0
    assert "Namespace found: is not as declared, and this account may not change it" in said
    assert 'metadata.labels.tier is "other", and shall be "2-gpu"' in said
    assert "PersistentVolume found-models: is not there, and this account may not make it." in said
    assert "Have an administrator of the cluster run playbooks/rbac.yml" in said
    assert get("/apis/apps/v1/namespaces/found/deployments")["items"] == []
    assert "data" not in get("/api/v1/namespaces/found/configmaps/portal-stt-scripts")


def test_rbac_gives_no_right_to_a_secret_of_somebody_else() -> None:
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "given"}})
    secret = {"metadata": {"name": "portal-stt"}, "data": {"their": "c2VjcmV0"}}
    api.call("POST", "/api/v1/namespaces/given/secrets", secret, fieldManager="kubectl-create")
    refused = run("rbac", "given", speaches_namespace_labels={})
    assert refused.rc != 0
    said = " ".join(refused.output.split())
    assert "Secret given/portal-stt: there is one of this name already, which was not made by us" in said
    assert "Choose another speaches_name. To make it ours, name kubectl-create in speaches_take_over." in said
    assert get("/apis/rbac.authorization.k8s.io/v1/namespaces/given/roles")["items"] == []


POD: dict[str, Any] = {"containers": [{"name": "x", "image": "10.77.0.1:5000/x"}]}
PRIVILEGED: dict[str, Any] = {
    "containers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}],
    "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
}
IN = "/api/v1/namespaces/escape"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ADMIN = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
ME = [{"kind": "ServiceAccount", "name": "portal-stt-deployer", "namespace": "escape"}]
LABEL = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/api/v1/namespaces/escape", LABEL),
        ("PUT", "/api/v1/namespaces/escape", {**LABEL, "metadata": {**LABEL["metadata"], "name": "escape"}}),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "mine"}}),
        ("DELETE", "/api/v1/namespaces/escape", None),
        ("POST", "/api/v1/persistentvolumes", {"metadata": {"name": "root"}, "spec": {"hostPath": {"path": "/"}}}),
        ("PATCH", "/api/v1/persistentvolumes/escape-models", {"spec": {"hostPath": {"path": "/"}}}),
        ("DELETE", "/api/v1/persistentvolumes/of-others", None),
        ("POST", f"{IN}/pods", {"metadata": {"name": "x"}, "spec": POD}),
        ("GET", f"{IN}/secrets", None),
        ("GET", f"{IN}/secrets/of-others", None),
        ("DELETE", f"{IN}/secrets/of-others", None),
        ("POST", f"{IN}/secrets", {"metadata": {"name": "x"}, "type": "kubernetes.io/service-account-token"}),
        ("DELETE", f"{IN}/secrets/portal-stt", None),
        ("GET", f"{IN}/configmaps/of-others", None),
        ("POST", f"{IN}/configmaps", {"metadata": {"name": "x"}}),
        ("GET", "/api/v1/namespaces/kube-system/secrets", None),
        ("PATCH", "/apis/apps/v1/namespaces/escape/deployments/of-others", {"spec": {"replicas": 0}}),
        ("DELETE", "/apis/apps/v1/namespaces/escape/deployments/of-others", None),
        ("DELETE", f"{IN}/services/of-others", None),
        ("DELETE", f"{IN}/persistentvolumeclaims/of-others", None),
        ("GET", f"{IN}/services/of-others:http/proxy/", None),
        ("POST", f"{IN}/serviceaccounts/default/token", {"spec": {}}),
        ("POST", f"{IN}/serviceaccounts", {"metadata": {"name": "x"}}),
        ("POST", f"{IN}/pods/x/exec?command=id", None),
        ("POST", f"{IN}/pods/x/attach", None),
        ("PATCH", f"{IN}/pods/x/ephemeralcontainers", {"spec": {}}),
        ("POST", f"{IN}/pods/x/eviction", {"metadata": {"name": "x"}}),
        ("POST", f"{RBAC}/clusterrolebindings", {"metadata": {"name": "x"}, "roleRef": ADMIN, "subjects": ME}),
        (
            "POST",
            f"{RBAC}/namespaces/escape/rolebindings",
            {"metadata": {"name": "x"}, "roleRef": ADMIN, "subjects": ME},
        ),
        ("PATCH", f"{RBAC}/namespaces/escape/roles/portal-stt-deployer", {"rules": []}),
        ("PATCH", f"{RBAC}/clusterroles/escape-portal-stt-deployer", {"rules": []}),
        ("PATCH", "/api/v1/nodes/t4", {"metadata": {"labels": {"a": "b"}}}),
        ("GET", "/api/v1/nodes/t4/proxy/pods", None),
        ("GET", "/apis/apps/v1/deployments", None),
        ("GET", "/api/v1/services", None),
        ("POST", "/apis/batch/v1/namespaces/escape/cronjobs", {"metadata": {"name": "x"}}),
        ("PATCH", "/apis/batch/v1/namespaces/escape/cronjobs/portal-stt-clip", {"spec": {"suspend": True}}),
        ("DELETE", "/apis/batch/v1/namespaces/escape/cronjobs/of-others", None),
        ("POST", "/apis/monitoring.coreos.com/v1/namespaces/escape/prometheusrules", {"metadata": {"name": "x"}}),
        ("DELETE", "/apis/monitoring.coreos.com/v1/namespaces/escape/prometheusrules/of-others", None),
        ("GET", "/api/v1/namespaces/monitoring/services/prometheus-server:80/proxy/api/v1/query", None),
        ("DELETE", "/api/v1/namespaces/default/pods/x", None),
    ],
    ids=lambda value: value.rsplit("/api", 1)[-1] if isinstance(value, str) else "",
)
def test_the_account_cannot_get_out(escape: Path, method: str, path: str, body: object) -> None:
    answer = asked(escape, method, path, body)
    assert answer.status_code == 403, answer.text
    assert "cannot" in answer.json()["message"]


@pytest.mark.parametrize("user", ["system:admin", "system:serviceaccount:kube-system:node-controller"])
def test_the_account_cannot_be_another(escape: Path, user: str) -> None:
    answer = asked(escape, "GET", "/api/v1/nodes", None, {"Impersonate-User": user})
    assert answer.status_code == 403
    assert "cannot impersonate" in answer.json()["message"]


def test_a_privileged_pod_of_the_account_is_refused(escape: Path) -> None:
    """It may declare any Deployment; the namespace's Pod Security, which it cannot change, turns the pods away."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": PRIVILEGED}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/escape/deployments"
    assert asked(escape, "POST", path, {"metadata": {"name": "root"}, "spec": spec}).status_code == 201

    def condition() -> str:
        found = get(f"{path}/root").get("status", {}).get("conditions", [])
        return next((one["message"] for one in found if one["type"] == "ReplicaFailure"), "")

    assert 'violates PodSecurity "restricted:latest"' in until(condition, 30, lambda: get(f"{path}/root"))
    assert get(f"{IN}/pods")["items"] == []
    api.call("DELETE", f"{path}/root")


@pytest.fixture(scope="module")
def escape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the account's token, beside objects of others."""
    done(run("rbac", "escape", speaches_gpu_memory={}))  # who names a Prometheus gives the way to it
    token = tmp_path_factory.mktemp("escape") / "token"
    access = yaml.safe_load(Path(account("escape", token.parent)).read_text())
    token.write_text(access["users"][0]["user"]["token"])
    for kind in ("secrets", "configmaps"):
        api.call("POST", f"{IN}/{kind}", {"metadata": {"name": "of-others"}}, accept=(409,))
    return token


def asked(token: Path, method: str, path: str, body: object, headers: dict[str, str] | None = None) -> Any:
    """The API server's answer to the account."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    sent = {"Authorization": f"Bearer {token.read_text()}", "Content-Type": kind, **(headers or {})}
    return requests.request(method, API + path, json=body, headers=sent, verify=str(PKI / "ca.crt"), timeout=30)


# ---- a local copy


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_local_copy_is_put_on_the_export_and_imported(tmp_path: Path, kind: str) -> None:
    """The storage play's part on this machine, then the seed Job's script as the deploy play asks it to run."""
    copy, export = tmp_path / "turbo", tmp_path / "export"
    copy.mkdir()
    (export / "hub").mkdir(parents=True)
    small_model(copy)
    if kind == "archive":
        with tarfile.open(tmp_path / "turbo.tar", "w") as packed:
            packed.add(copy, "turbo")
        copy = tmp_path / "turbo.tar"
    local = {"speaches_model": MODEL, "speaches_model_source": "local", "speaches_model_local": str(copy)}

    def store(*args: str) -> Played:
        steps = [
            {
                "hosts": "lab",
                "gather_facts": False,
                "vars": {"nfs_export_path": str(export), "ansible_become": False},
                "tasks": [{"ansible.builtin.include_role": {"name": "portal.stt.speaches", "tasks_from": "local"}}],
            }
        ]
        (tmp_path / "store.yml").write_text(yaml.safe_dump(steps))
        return play(str(tmp_path / "store.yml"), "-e", json.dumps(local), *args)

    if kind == "folder":
        assert done(store("--check")).changed
        assert not (export / "import").exists()
    assert done(store()).changed == 1
    if kind == "folder":
        assert done(store()).changed == 0

    namespace = f"local-{kind}"
    done(run("deploy", namespace, **local))
    (container,) = seed_job(namespace)["spec"]["template"]["spec"]["containers"]
    wanted = next(one["value"] for one in container["env"] if one["name"] == "SEED_MODELS")
    environment = {
        "SEED_MODELS": wanted.replace("/data/", f"{export}/"),
        "HF_HUB_CACHE": str(export / "hub"),
        "SEED_RESULT": str(tmp_path / "result"),
    }
    script = ROOT / "roles" / "speaches" / "files" / "seed.py"
    subprocess.run([sys.executable, script], env=environment, check=True)
    (imported,) = json.loads((tmp_path / "result").read_text())["models"]
    assert (imported["model"], imported["status"]) == (MODEL, "imported")
    assert next((export / "hub").glob("*/refs/main")).read_text() == imported["revision"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"speaches_model_local": ""}, "Set the absolute path of the model's folder or archive on this machine"),
        ({"speaches_model_revision": NEW}, "whose revision is the digest of the copy's content"),
    ],
)
def test_a_local_source_without_a_copy_is_refused(settings: dict[str, str], said: str) -> None:
    local = {"speaches_model_source": "local", "speaches_model_local": "/srv/models/turbo"}
    refused = run("deploy", "refused", **(local | settings))
    assert refused.rc != 0
    assert said in " ".join(refused.output.split())
