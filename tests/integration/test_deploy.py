"""The deploy play and its neighbours on simulated nodes: what it declares, what it restarts, what it leaves alone.

The nodes are KWOK's; API server, scheduler and controllers are real. Behind every simulated pod is the lab's speech
server, which needs no key: that a key is wanted is shown in test_speech.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import api, simulated
from lab.certificates import KUBECONFIG
from lab.hub import MODEL
from tests.conftest import ROOT, Played, play

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
    """From preflight to teardown, with and without a key; and is refused nothing on the way."""
    done(run("rbac", "rights"))
    access = account("rights", tmp_path)
    key: dict[str, Any] = {"speaches_api_key": "sesame"}
    clips: dict[str, Any] = {"speaches_verify": {"requests": 2, "warm_factor": 100}, "speaches_model": MODEL}
    before = denied()
    for playbook, settings in [
        ("preflight", {}),
        ("deploy", key),
        ("verify", clips),
        ("verify", clips | key),
    ]:
        done(run(playbook, "rights", kubeconfig=access, **settings))
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
    assert left == ["kube-root-ca.crt", "of-somebody-else"]
    assert get("/apis/batch/v1/namespaces/rights/jobs")["items"] == []
    assert "rights-models" not in [one["metadata"]["name"] for one in get("/api/v1/persistentvolumes")["items"]]


# ---- a local copy


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_local_copy_is_put_on_the_export_and_imported(tmp_path: Path, kind: str) -> None:
    """The storage play's part on this machine, then the seed Job's script as the deploy play asks it to run."""
    copy, export = tmp_path / "turbo", tmp_path / "export"
    copy.mkdir()
    (export / "hub").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "vocabulary.json", "model.bin"):
        (copy / name).write_text(f'{{"name": "{name}"}}')
    (copy / "README.md").write_text("---\nlibrary_name: ctranslate2\npipeline_tag: automatic-speech-recognition\n---\n")
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
    assert done(store()).changed == 2
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
    subprocess.run(["python3", script], env=environment, check=True)
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
