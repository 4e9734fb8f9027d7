"""What the role speaches declares for given variables, as its filters make it, and what it refuses. No cluster."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.portal.stt.plugins.filter.speaches import FilterModule, completed, objects, seed_again
from ansible_collections.portal.stt.plugins.filter.speaches import local_copies as copies

from tests.conftest import ROOT, Played

MODEL, OTHER = "deepdml/faster-whisper-large-v3-turbo-ct2", "Systran/faster-whisper-tiny"
OLD, NEW = "1" * 40, "2" * 40
ROLE = ROOT / "roles" / "speaches"
IMAGE = f"registry.invalid/speaches@sha256:{'0' * 64}"
SERVING = [
    {
        "spec": {"template": {"metadata": {"annotations": {"portal-stt/models": f"{MODEL}@{NEW} {OTHER}@"}}}},
        "status": {"readyReplicas": 1},
    }
]
FOUND: dict[str, Any] = {"role": str(ROLE), "image": IMAGE, "deployed": SERVING}
"""As the tasks before have found it."""


def made(part: str, found: dict[str, Any] | None = None, **variables: Any) -> dict[str, dict[str, Any]]:
    """The objects of a part by kind and name; those of the seed Job by their kind alone."""
    manifests = objects(variables, part, FOUND | (found or {}))
    return {one["kind"] if part == "seed" else f"{one['kind']} {one['metadata']['name']}": one for one in manifests}


def server(found: dict[str, Any] | None = None, **variables: Any) -> dict[str, Any]:
    """The Deployment."""
    return made("server", found, **variables)["Deployment portal-stt"]


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (one,) = manifest["spec"]["template"]["spec"]["containers"]
    return dict(one)


def environment(manifest: dict[str, Any]) -> dict[str, str]:
    """What a container is told in clear."""
    return {one["name"]: one["value"] for one in container(manifest)["env"] if "value" in one}


def from_secret(manifest: dict[str, Any]) -> dict[str, str]:
    """Variable → key of the Secret."""
    sources = {
        one["name"]: one["valueFrom"]["secretKeyRef"] for one in container(manifest)["env"] if "value" not in one
    }
    assert {one["name"] for one in sources.values()} <= {"portal-stt"}
    return {name: one["key"] for name, one in sources.items()}


def secret(**variables: Any) -> dict[str, str]:
    """What is in the Secret."""
    (one,) = [each for each in objects(variables, "base", FOUND) if each["kind"] == "Secret"]
    return {key: base64.b64decode(value).decode() for key, value in one["data"].items()}


# ---- which objects


@pytest.mark.parametrize(
    ("variables", "base", "secrets", "around"),
    [
        ({}, ["portal-stt", "portal-stt-seed"], [], ["Service", "Deployment"]),
        ({"speaches_model_source": "hub"}, ["portal-stt"], [], ["Service", "Deployment"]),
        ({"speaches_network": {"policy": False}}, [], [], ["Service", "Deployment"]),
        (
            {"speaches_replicas": 2},
            ["portal-stt", "portal-stt-seed"],
            [],
            ["Service", "PodDisruptionBudget", "Deployment"],
        ),
        ({"speaches_api_key": "x"}, ["portal-stt", "portal-stt-seed"], ["Secret"], ["Service", "Deployment"]),
        (
            {"speaches_alerts": {"enabled": True}},
            ["portal-stt", "portal-stt-seed"],
            [],
            ["Service", "Deployment", "PrometheusRule"],
        ),
        (
            {"speaches_synthetic": {"enabled": True}},
            ["portal-stt", "portal-stt-seed", "portal-stt-clip"],
            [],
            ["Service", "Deployment", "CronJob"],
        ),
    ],
)
def test_what_there_is(variables: dict[str, Any], base: list[str], secrets: list[str], around: list[str]) -> None:
    kinds = [one["kind"] for one in objects(variables, "base", FOUND)]
    assert kinds == [
        "Namespace",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "ConfigMap",
        *["NetworkPolicy"] * len(base),
        *secrets,
    ]
    policies = objects(variables, "base", FOUND)[4 : 4 + len(base)]
    assert [one["metadata"]["name"] for one in policies] == base
    assert [one["kind"] for one in objects(variables, "server", FOUND)] == around


VARIANTS: list[dict[str, Any]] = [
    {},
    {"speaches_api_key": "sesame"},
    {"speaches_hub": {"token": "hf_secret"}},
    {"speaches_hub": {"ca": "-----BEGIN CERTIFICATE-----"}},
    {"speaches_environment": {"PROXY_PASSWORD": "sesame"}},
    {"speaches_model_source": "hub"},
    {"speaches_network": {"policy": False}},
    {"speaches_network": {"namespaces": []}},
    {"speaches_replicas": 2},
    {"speaches_service_annotations": {"a": "b"}},
    {"speaches_strategy": "RollingUpdate"},
    {"speaches_alerts": {"enabled": True}},
    {"speaches_synthetic": {"enabled": True}},
    {"speaches_synthetic": {"enabled": True}, "speaches_network": {"policy": False}},
]


@pytest.mark.parametrize("now", VARIANTS, ids=json.dumps)
@pytest.mark.parametrize("before", VARIANTS, ids=json.dumps)
def test_what_is_not_made_any_more_is_removed_and_what_is_made_is_not(
    before: dict[str, Any], now: dict[str, Any]
) -> None:
    """Also of a setting that comes later: this test fails until what it makes is among what is removed."""

    def named(variables: dict[str, Any], *parts: str) -> set[tuple[str, str]]:
        every = [one for part in parts for one in objects(variables, part, FOUND)]
        return {(one["kind"], one["metadata"].get("name", "")) for one in every}

    def all_of(variables: dict[str, Any]) -> set[tuple[str, str]]:
        seeds = {("Job", "")} if variables.get("speaches_model_source") != "hub" else set()
        return named(variables, "base", "server") | seeds

    gone = named(now, "unwanted", "leftover")
    assert all_of(before) - all_of(now) <= gone
    assert not all_of(now) & gone
    assert all_of(before) <= named(now, "absent") | {("Namespace", "portal-stt")}


def test_the_volume() -> None:
    volume = made("base", speaches_volume={"driver": "", "server": "nfs.lan", "size": "5Gi"}, nfs_export_path="/srv/x")
    spec = volume["PersistentVolume portal-stt-models"]["spec"]
    assert (spec["nfs"], spec["capacity"]) == ({"server": "nfs.lan", "path": "/srv/x"}, {"storage": "5Gi"})
    assert spec["persistentVolumeReclaimPolicy"] == "Retain"
    spec = made("base", speaches_volume={"path": "/srv/y"}, nfs_export_path="/srv/x")[
        "PersistentVolume portal-stt-models"
    ]["spec"]
    assert spec["csi"]["volumeAttributes"] == {"server": "192.168.1.127", "share": "/srv/y"}
    assert "nfs" not in spec


def test_who_may_call_and_that_nothing_goes_out() -> None:
    policy = made("base")["NetworkPolicy portal-stt"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "portal-assistant"}}}]
    seed = made("base")["NetworkPolicy portal-stt-seed"]["spec"]
    assert (seed["ingress"], seed["egress"]) == ([], [{}])
    local = made("base", speaches_model_source="local")["NetworkPolicy portal-stt-seed"]["spec"]
    assert (local["policyTypes"], local["egress"]) == (["Ingress", "Egress"], [])


def test_nobody_may_call_where_nobody_is_named() -> None:
    """A rule without callers would let in everybody."""
    assert made("base", speaches_network={"namespaces": []})["NetworkPolicy portal-stt"]["spec"]["ingress"] == []


# ---- what tells when it does not work any more

CLIP: dict[str, Any] = {"speaches_synthetic": {"enabled": True}}


def clip_job(**variables: Any) -> dict[str, Any]:
    """What the CronJob makes, as a Job."""
    spec = made("server", **CLIP, **variables)["CronJob portal-stt-clip"]["spec"]
    return dict(spec["jobTemplate"])


def test_the_clip_goes_to_the_server_and_nowhere_else() -> None:
    base = made("base", **CLIP)
    policy = base["NetworkPolicy portal-stt-clip"]["spec"]
    labels = clip_job()["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert (policy["policyTypes"], policy["ingress"]) == (["Ingress", "Egress"], [])
    pods = {"podSelector": {"matchLabels": {"app": "portal-stt"}}}
    port = container(server())["ports"][0]["containerPort"]
    assert policy["egress"] == [{"to": [pods], "ports": [{"port": port, "protocol": "TCP"}]}]
    (rule,) = base["NetworkPolicy portal-stt"]["spec"]["ingress"]
    assert rule["from"][1:] == [{"podSelector": {"matchLabels": {"app": "portal-stt-clip"}}}]
    (alone,) = made("base", **CLIP, speaches_network={"namespaces": []})["NetworkPolicy portal-stt"]["spec"]["ingress"]
    assert alone["from"] == rule["from"][1:]
    assert "NetworkPolicy portal-stt-clip" not in made("base", **CLIP, speaches_network={"policy": False})


def test_nothing_selects_the_pods_that_send_the_clip() -> None:
    labels = clip_job()["spec"]["template"]["metadata"]["labels"]
    everything = {**made("server", **CLIP, speaches_replicas=2), **made("base", **CLIP)}
    for name, one in everything.items():
        spec = one.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector"))
        if selector and not name.endswith("-clip"):
            assert not selector.get("matchLabels", selector).items() <= labels.items(), name


def test_the_clip_takes_no_gpu_and_has_an_end() -> None:
    cron = made("server", **CLIP)["CronJob portal-stt-clip"]["spec"]
    assert (cron["concurrencyPolicy"], cron["schedule"], cron["timeZone"]) == ("Forbid", "*/15 * * * *", "Etc/UTC")
    assert (cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (1, 3)
    job = clip_job(speaches_gpu={"runtime_class": "nvidia"}, speaches_gpu_memory_resource={"name": "example.org/mem"})
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 180)
    pod = job["spec"]["template"]["spec"]
    assert not {"runtimeClassName", "priorityClassName"} & pod.keys()
    assert container(job)["resources"] == {
        "requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"},
    }  # fmt: skip
    assert environment(job)["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert [one["name"] for one in pod["volumes"]] == ["scripts"]


def test_the_clip_has_the_servers_key_image_and_models() -> None:
    job = clip_job(
        speaches_api_key="sesame",
        speaches_models=[{"model": MODEL}, {"model": OTHER}],
        speaches_environment={"WARM_LANGUAGE": "bg"},
        speaches_registry={"pull_secret": "pull"},
    )
    assert from_secret(job) == {"API_KEY": "api-key"}
    assert "sesame" not in json.dumps(job)
    told = environment(job)
    assert (json.loads(told["WARM_MODELS"]), told["WARM_LANGUAGE"]) == ([MODEL, OTHER], "bg")
    assert container(job)["image"] == IMAGE
    assert job["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "pull"}]


def test_the_longest_name_makes_a_cronjob_that_kubernetes_takes() -> None:
    """It appends eleven characters for its Jobs, and refuses a name of more than 52."""
    cron = made("server", **CLIP, speaches_name="x" * 47)[f"CronJob {'x' * 47}-clip"]
    assert len(cron["metadata"]["name"]) == 52


def test_the_variable_of_the_service_is_that_of_the_kubelet() -> None:
    job = made("server", **CLIP, speaches_name="my-stt-2")["CronJob my-stt-2-clip"]["spec"]["jobTemplate"]
    assert environment(job)["WARM_HOST"] == "$(MY_STT_2_SERVICE_HOST)"
    assert job["spec"]["template"]["spec"]["enableServiceLinks"] is True


def test_the_rule_has_the_labels_by_which_prometheus_chooses() -> None:
    labels = {"release": "kube-prometheus-stack", "tier": "monitoring"}
    rule = made("server", speaches_alerts={"enabled": True, "labels": labels})["PrometheusRule portal-stt"]
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["metadata"]["labels"] == {
        "app": "portal-stt",
        **labels,
        "app.kubernetes.io/managed-by": "portal-stt",
        "app.kubernetes.io/part-of": "portal-stt",
    }


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({}, set()),
        (CLIP, {("CronJob", "portal-stt-clip"), ("NetworkPolicy", "portal-stt-clip")}),
        ({"speaches_alerts": {"enabled": True}}, {("PrometheusRule", "portal-stt")}),
    ],
)
def test_what_is_switched_off_goes(variables: dict[str, Any], kept: set[tuple[str, str]]) -> None:
    every = {("CronJob", "portal-stt-clip"), ("NetworkPolicy", "portal-stt-clip"), ("PrometheusRule", "portal-stt")}

    def named(part: str) -> set[tuple[str, str]]:
        return {(one["kind"], one["metadata"].get("name", "")) for one in objects(variables, part, FOUND)}

    assert named("unwanted") & every == every - kept
    assert every <= named("absent")


def test_two_servers_stand_apart_and_go_one_by_one() -> None:
    spec = server(speaches_replicas=2, speaches_strategy="RollingUpdate")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    pod = spec["template"]["spec"]
    assert [one["topologyKey"] for one in pod["topologySpreadConstraints"]] == ["kubernetes.io/hostname"]
    assert pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]


def test_nothing_selects_the_pods_of_the_seed_job() -> None:
    """Neither the Service nor the Deployment, the budget or the policy that keeps audio in."""
    labels = made("seed")["Job"]["spec"]["template"]["metadata"]["labels"]
    found = made("server", speaches_replicas=2)
    policies = made("base")
    selectors = [
        found["Service portal-stt"]["spec"]["selector"],
        found["Deployment portal-stt"]["spec"]["selector"]["matchLabels"],
        found["PodDisruptionBudget portal-stt"]["spec"]["selector"]["matchLabels"],
        policies["NetworkPolicy portal-stt"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert not selector.items() <= labels.items()
        assert selector.items() <= found["Deployment portal-stt"]["spec"]["template"]["metadata"]["labels"].items()
    assert policies["NetworkPolicy portal-stt-seed"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_pods_are_restricted_and_take_nothing_from_the_cluster() -> None:
    for manifest in (server(), made("seed")["Job"], clip_job()):
        pod = manifest["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is (container(manifest)["name"] == "clip")
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(manifest)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_gpu_and_where_it_is() -> None:
    gpu = {"resource": "nvidia.com/mig-1g.5gb", "count": 2, "runtime_class": "nvidia", "priority_class": "p"}
    toleration = {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "30", "value": None}
    made_for = server(
        speaches_gpu=gpu | {"tolerations": [toleration], "node_selector": {"a": True}},
        speaches_registry={"pull_secret": "pull"},
        speaches_image_pin="tag",
        speaches_image="registry.invalid/other:1",
    )
    pod = made_for["spec"]["template"]["spec"]
    assert container(made_for)["resources"]["limits"] == {"nvidia.com/mig-1g.5gb": "2", "memory": "4Gi"}
    assert (pod["runtimeClassName"], pod["priorityClassName"]) == ("nvidia", "p")
    assert pod["tolerations"] == [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}]
    assert (pod["nodeSelector"], pod["imagePullSecrets"]) == ({"a": "true"}, [{"name": "pull"}])
    assert container(made_for)["image"] == "registry.invalid/other:1"
    assert container(server())["image"] == IMAGE


def test_a_share_of_the_cards_memory_is_declared_as_it_comes_back() -> None:
    declared = container(server(speaches_gpu_memory_resource={"name": "example.org/gpumem", "quantity": "5000"}))
    resources = declared["resources"]
    assert [resources[kind]["example.org/gpumem"] for kind in ("requests", "limits")] == ["5k", "5k"]
    assert "example.org/gpumem" not in str(container(server())["resources"])


# ---- models


def test_two_models_have_time_and_memory_for_two() -> None:
    models = [{"model": MODEL, "revision": NEW}, {"model": OTHER, "revision": OLD}]
    variables: dict[str, Any] = {"speaches_models": models, "speaches_startup_seconds": 95}
    deployment = server(**variables)
    one = container(deployment)
    probe = one["startupProbe"]
    # Ten runs of 20 s are not less than the budget of 190 s.
    assert (probe["periodSeconds"], probe["failureThreshold"], probe["timeoutSeconds"]) == (1, 10, 220)
    told = environment(deployment)
    assert (told["WARM_BUDGET_S"], told["WARM_RUN_S"]) == ("190", "20")
    assert json.loads(told["WARM_MODELS"]) == [MODEL, OTHER]
    assert one["resources"]["requests"]["memory"] == "4Gi"
    assert one["resources"]["limits"]["memory"] == "8Gi"
    assert deployment["spec"]["progressDeadlineSeconds"] == completed(variables)["rollout_budget"] == 900
    assert completed(variables | {"speaches_startup_seconds": 600})["rollout_budget"] == 1320
    assert json.loads(environment(made("seed", **variables)["Job"])["SEED_MODELS"]) == models


def test_each_revision_that_is_known_is_mounted_where_the_server_looks() -> None:
    models = [{"model": OTHER}, {"model": MODEL, "revision": NEW}, {"model": "b/c", "revision": OLD}]
    template = server(speaches_models=models)["spec"]["template"]
    assert template["metadata"]["annotations"] == {
        "portal-stt/models": f"{OTHER}@ {MODEL}@{NEW} b/c@{OLD}",
        "portal-stt/revision-0": NEW,
        "portal-stt/revision-1": OLD,
    }
    (one,) = template["spec"]["containers"]
    at = {mount["name"]: mount["mountPath"] for mount in one["volumeMounts"]}
    assert [volume["name"] for volume in template["spec"]["volumes"]] == [
        "models",
        "revision-0",
        "revision-1",
        "scripts",
        "tmp",
    ]
    for number, model in enumerate((MODEL, "b/c")):
        volume = template["spec"]["volumes"][1 + number]
        (item,) = volume["downwardAPI"]["items"]
        assert item["fieldRef"]["fieldPath"] == f"metadata.annotations['portal-stt/revision-{number}']"
        assert f"{at[volume['name']]}/{item['path']}" == f"/data/hub/models--{model.replace('/', '--')}/refs/main"


MODELS = [{"model": OTHER}, {"model": MODEL, "revision": ""}, {"model": "a/new"}, {"model": "b/c", "revision": OLD}]


@pytest.mark.parametrize(
    ("found", "annotation"),
    [
        pytest.param({"planning": True}, f"{OTHER}@ {MODEL}@{NEW} a/new@ b/c@{OLD}", id="plan"),
        pytest.param({}, f"{OTHER}@ {MODEL}@ a/new@ b/c@{OLD}", id="run, before the seed Job"),
        pytest.param(
            {"seeded": json.dumps({"models": [one | {"revision": OLD} for one in MODELS]})},
            f"{OTHER}@{OLD} {MODEL}@{OLD} a/new@{OLD} b/c@{OLD}",
            id="run",
        ),
    ],
)
def test_which_revisions_serve(found: dict[str, Any], annotation: str) -> None:
    annotations = server(found, speaches_models=MODELS)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["portal-stt/models"] == annotation


def test_the_seed_job_of_a_local_copy(tmp_path: Path) -> None:
    (tmp_path / "turbo.tar").write_text("x")
    models = [{"model": MODEL, "local": str(tmp_path / "turbo.tar")}, {"model": OTHER, "local": str(tmp_path)}]
    variables: dict[str, Any] = {"speaches_model_source": "local", "speaches_models": models}
    job = made("seed", **variables)["Job"]
    assert json.loads(environment(job)["SEED_MODELS"]) == [
        {"model": MODEL, "revision": "", "local": f"/data/import/{MODEL.replace('/', '--')}.archive"},
        {"model": OTHER, "revision": "", "local": f"/data/import/{OTHER.replace('/', '--')}"},
    ]
    assert [(one["path"], one["imported"]) for one in copies(variables)] == [
        (models[0]["local"], f"{MODEL.replace('/', '--')}.archive"),
        (models[1]["local"], OTHER.replace("/", "--")),
    ]
    (tmp_path / "turbo.tar").write_text("y")
    assert made("seed", **variables)["Job"]["metadata"]["name"] != job["metadata"]["name"]


def test_what_a_seed_job_does_is_part_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "verify" / "files" / "clips").mkdir(parents=True)
    (tmp_path / "verify" / "files" / "clips" / "en.wav").write_bytes(b"")
    role = tmp_path / "speaches"
    (role / "files").mkdir(parents=True)
    for name in ("seed.py", "warm.py"):
        (role / "files" / name).write_text("other")

    def proxy(password: str) -> dict[str, Any]:
        return {"speaches_hub": {"environment": {"HTTPS_PROXY": f"http://u:{password}@proxy:3128"}}}

    same = [made("seed")["Job"], made("seed", speaches_replicas=2, speaches_api_key="x")["Job"]]
    other = [
        made("seed", speaches_models=[{"model": OTHER}])["Job"],
        made("seed", speaches_volume={"server": "nfs.lan"})["Job"],
        made("seed", {"image": f"registry.invalid/speaches@sha256:{'1' * 64}"})["Job"],
        made("seed", {"role": str(role)})["Job"],
        made("seed", **proxy("one"))["Job"],
        made("seed", **proxy("two"))["Job"],
    ]
    names = [one["metadata"]["name"] for one in (*same, *other)]
    assert names[0] == names[1]
    assert len(set(names)) == 1 + len(other)
    assert all(name.startswith("portal-stt-seed-") and len(name) == 26 for name in names)


@pytest.mark.parametrize(("ready", "right"), [(1, False), (0, True)])
def test_what_was_seeded_is_seeded_again_where_nothing_serves(ready: int, right: bool) -> None:
    assert seed_again({}, {"deployed": [{"status": {"readyReplicas": ready}}]}) is right


# ---- the hub, and what is secret

CA = "/opt/portal-stt/ca.pem"
HUB = {
    "environment": {"HTTPS_PROXY": "http://user:sesame@proxy:3128", "NO_PROXY": ".lan"},
    "ca": "-----BEGIN CERTIFICATE-----\nMII\n",
    "endpoint": "https://hub.lan",
    "token": "hf_sesame",
}
PROXY = {"HTTPS_PROXY": "hub.HTTPS_PROXY", "NO_PROXY": "hub.NO_PROXY"}


@pytest.mark.parametrize(
    ("source", "clear", "hidden"),
    [
        ("seeded", {}, {}),
        (
            "hub",
            {"REQUESTS_CA_BUNDLE": CA, "SSL_CERT_FILE": CA, "HF_ENDPOINT": "https://hub.lan"},
            PROXY | {"HF_TOKEN": "hub-token"},
        ),
    ],
)
def test_who_goes_to_the_hub_has_proxy_and_ca(source: str, clear: dict[str, str], hidden: dict[str, str]) -> None:
    """With `hub` no seed Job is applied; what is rendered of it then does not matter."""
    variables: dict[str, Any] = {"speaches_model_source": source, "speaches_hub": HUB}
    job, deployment = made("seed", **variables)["Job"], server(**variables)
    told = environment(deployment)
    assert {name: value for name, value in told.items() if name in (*clear, *PROXY)} == clear
    assert from_secret(deployment) == hidden
    assert ("PRELOAD_MODELS" in told, "HF_HUB_OFFLINE" in told) == (source == "hub", source != "hub")
    assert from_secret(job) == PROXY | {"HF_TOKEN": "hub-token"}
    assert environment(job).items() >= {"SEED_CA": CA, "HF_ENDPOINT": "https://hub.lan"}.items()
    assert made("base", **variables)["ConfigMap portal-stt-scripts"]["data"]["ca.pem"] == HUB["ca"]
    assert "sesame" not in json.dumps([job, deployment])
    assert secret(**variables) == {
        "hub-token": "hf_sesame",
        "hub.HTTPS_PROXY": "http://user:sesame@proxy:3128",
        "hub.NO_PROXY": ".lan",
    }


def test_a_credential_in_the_servers_environment_is_in_the_secret() -> None:
    own = {
        "HTTPS_PROXY": "http://user:sesame@proxy",
        "CHAT_COMPLETION_BASE_URL": "http://llm.lan/v1",
        "CHAT_COMPLETION_API_KEY": "sesame",
        "LOG_LEVEL": "debug",
    }
    deployment = server(speaches_environment=own)
    keys = {"HTTPS_PROXY": "server.HTTPS_PROXY", "CHAT_COMPLETION_API_KEY": "server.CHAT_COMPLETION_API_KEY"}
    assert from_secret(deployment) == keys
    assert (
        environment(deployment).items()
        >= {
            "CHAT_COMPLETION_BASE_URL": "http://llm.lan/v1",
            "LOG_LEVEL": "debug",
        }.items()
    )
    assert secret(speaches_environment=own) == {key: own[name] for name, key in keys.items()}
    assert "sesame" not in json.dumps([deployment, completed({"speaches_environment": own})["environment"]])


def test_another_secret_restarts_the_server_and_is_not_shown() -> None:
    def annotations(**variables: Any) -> dict[str, str]:
        return dict(server(**variables)["spec"]["template"]["metadata"]["annotations"])

    keys = [annotations(speaches_api_key=key)["portal-stt/key"] for key in ("sesame", "caraway")]
    proxies = [
        annotations(speaches_environment={"HTTPS_PROXY": f"http://u:{password}@proxy"})["portal-stt/environment"]
        for password in ("sesame", "caraway")
    ]
    assert len({*keys, *proxies}) == 4
    assert all(len(one) == 8 for one in (*keys, *proxies))
    assert set(annotations()) == {"portal-stt/models"}


def test_the_operators_environment_wins_and_every_value_is_text() -> None:
    told = environment(
        server(speaches_environment={"HF_HOME": "/x", "N": 5, "F": 1.5, "B": False, "WARM_LANGUAGE": "de"})
    )
    assert told.items() >= {"HF_HOME": "/x", "N": "5", "F": "1.5", "B": "false", "WARM_LANGUAGE": "de"}.items()


# ---- what is refused


@pytest.mark.parametrize(
    ("found", "part"),
    [
        (
            {"seeded": json.dumps({"models": [{"model": MODEL, "revision": f"{OLD}\n---\nkind: ClusterRoleBinding"}]})},
            "server",
        ),
        ({"deployed": [{"spec": {"template": {"metadata": {"annotations": {"portal-stt/models": "a b"}}}}}]}, "base"),
        ({"image": "x\ny"}, "seed"),
    ],
)
def test_what_is_read_back_and_is_not_what_it_may_be(found: dict[str, Any], part: str) -> None:
    with pytest.raises(AnsibleFilterError):
        made(part, found)


def test_a_remedy_names_the_variable() -> None:
    with pytest.raises(AnsibleFilterError, match=r"Look at the hub \(speaches_hub\.endpoint\) and at who may write"):
        made("server", {"seeded": "x"}, settings={"hub.endpoint": "speaches_hub.endpoint"})


def settings(folder: Path, *args: str, then: list[dict[str, Any]] | None = None, **variables: Any) -> Played:
    """The role's own check of its variables, and tasks after it that see them."""
    include = {"name": "portal.stt.speaches", "tasks_from": "settings", "public": True}
    tasks = [{"ansible.builtin.include_role": include}, *(then or [])]
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    given = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
    program = str(Path(sys.executable).parent / "ansible-playbook")
    command = [program, "-i", "localhost,", str(folder / "play.yml"), *args]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        [*command, "-e", json.dumps(given)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return Played(done.returncode, done.stdout + done.stderr)


def test_the_role_gives_its_variables_and_what_it_found_to_the_filters(tmp_path: Path) -> None:
    """As Ansible evaluates them: the defaults, the operator's dicts, and what was registered."""
    expression = "{{ speaches__given | portal.stt.speaches_objects('server', speaches__found) | to_json }}"
    write = {
        "ansible.builtin.copy": {"content": expression, "dest": str(tmp_path / "out")},
        "check_mode": False,
        "vars": {"role_path": str(ROLE)},
    }
    registered = {"speaches__image": {"image": {"pinned": IMAGE}}, "speaches__deployed": {"resources": SERVING}}
    given: dict[str, Any] = {"speaches_api_key": "sesame", "speaches_hub": {"token": "hf"}}
    played = settings(tmp_path, "--check", then=[{"ansible.builtin.set_fact": registered}, write], **given)
    assert played.rc == 0, played.output
    right = objects(given, "server", FOUND | {"planning": True})
    assert json.loads((tmp_path / "out").read_text()) == right
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    expression = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["speaches__given"]
    own = dict(re.findall(r"'(speaches_\w+)': (\w+),", expression))
    assert len(own) > 20
    assert own == {name: name for name in own}
    assert set(own) <= set(defaults)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"speaches_api_key": "sesame\n"}, "speaches_api_key: has a blank, a line break"),
        ({"speaches_hub": {"token": "sesame é"}}, "speaches_hub.token: has a blank, a line break"),
        ({"speaches_hub": {"ca": "/etc/sesame.pem"}}, "speaches_hub.ca: is no certificate in PEM form. Give the text"),
    ],
)
def test_settings_that_are_refused_and_not_shown(tmp_path: Path, variables: dict[str, Any], said: str) -> None:
    refused = settings(tmp_path, "-vvv", **variables)
    assert refused.rc != 0
    assert said in " ".join(refused.output.split())
    assert "sesame" not in refused.output


def test_every_filter_is_documented() -> None:
    for name in FilterModule().filters():
        documented = yaml.safe_load((ROOT / "plugins" / "filter" / f"{name}.yml").read_text())
        assert documented["DOCUMENTATION"]["name"] == name


def test_no_template_of_the_server_prints_yaml() -> None:
    assert {path.name for path in (ROLE / "templates").glob("*")} <= {
        "absent.yaml.j2",
        "namespace.yaml.j2",
        "rbac.yaml.j2",
    }


def test_the_scripts_need_no_library_of_ours() -> None:
    """They run with the Python of the server's image."""
    for name in ("seed", "warm"):
        done = subprocess.run(
            [
                "/usr/bin/python3",
                "-I",
                "-S",
                "-c",
                f"import runpy; runpy.run_path({str(ROLE / 'files' / name)!r} + '.py')",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
