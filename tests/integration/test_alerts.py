"""Alerts and the clip's CronJob on a real API server, with and without the Prometheus operator's kind, and its rights.

The nodes are KWOK's; behind every simulated pod is the lab's speech server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import api, simulated
from lab.hub import MODEL
from tests.conftest import ROOT, Played, until
from tests.integration.test_deploy import account, asked, denied, done, get, run

NEW = "2" * 40
DEFINITION = yaml.safe_load((ROOT / "tests" / "fixtures" / "prometheusrules-stand-in.yml").read_text())
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "/apis/monitoring.coreos.com/v1"
BOTH: dict[str, Any] = {
    "speaches_models": [{"model": MODEL, "revision": NEW}],
    "speaches_alerts": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}},
    "speaches_synthetic": {"enabled": True},
    "speaches_gpu_memory": {"ours_mib": 1500, "prometheus": {"service": "watching/prometheus:9090"}},
    "speaches_neighbours": [{"name": "immich/immich-ml", "peak_mib": 6858}],
}
OFF: dict[str, Any] = {**BOTH, "speaches_alerts": {}, "speaches_synthetic": {}}


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    simulated.replace(ROOT / "lab" / "nodes" / "t4.yml")
    yield
    simulated.replace(None)


@pytest.fixture
def kind() -> Iterator[None]:
    """The API server knows PrometheusRule."""
    api.call("POST", DEFINITIONS, DEFINITION)
    try:
        until(known, 60)
        yield
    finally:
        _unknown()


@pytest.fixture
def no_kind() -> None:
    """It does not."""
    _unknown()


def _unknown() -> None:
    where = f"{DEFINITIONS}/{DEFINITION['metadata']['name']}"
    api.call("DELETE", where, accept=(404,))
    until(lambda: api.call("GET", where, accept=(404,))["kind"] == "Status" and not known(), 60)


def known() -> bool:
    found = api.call("GET", f"{GROUP}/prometheusrules", accept=(404, 429, 503))  # the last two: it comes or goes
    return isinstance(found, dict) and found["kind"] == "PrometheusRuleList"


def names(path: str) -> list[str]:
    return sorted(one["metadata"]["name"] for one in get(path)["items"])


def here(namespace: str) -> dict[str, list[str]]:
    """What the settings of this file make, by kind."""
    found = {
        "CronJob": names(f"/apis/batch/v1/namespaces/{namespace}/cronjobs"),
        "NetworkPolicy": names(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"),
    }
    if known():
        found["PrometheusRule"] = names(f"{GROUP}/namespaces/{namespace}/prometheusrules")
    return found


MADE = {
    "CronJob": ["portal-stt-clip"],
    "NetworkPolicy": ["portal-stt", "portal-stt-clip", "portal-stt-seed"],
    "PrometheusRule": ["portal-stt"],
}
NONE = {"CronJob": [], "NetworkPolicy": ["portal-stt", "portal-stt-seed"], "PrometheusRule": []}
SAID = "PrometheusRule without-kind/portal-stt: the API server knows no PrometheusRule in monitoring.coreos.com/v1"


def said(played: Played) -> str:
    return " ".join(played.output.split())


def test_without_the_kind_it_is_said_and_the_rest_is_there(no_kind: None) -> None:
    checked = done(run("preflight", "without-kind", **BOTH))
    assert SAID in said(checked)
    assert "or do without it (speaches_alerts.enabled)." in said(checked)
    deployed = done(run("deploy", "without-kind", **BOTH))
    assert f"[WARNING]: {SAID}" in said(deployed)
    assert here("without-kind") == {kind: found for kind, found in MADE.items() if kind != "PrometheusRule"}
    assert done(run("deploy", "without-kind", **BOTH)).changed == 0
    assert SAID not in said(done(run("deploy", "without-kind", **OFF)))
    done(run("teardown", "without-kind", **BOTH))
    assert here("without-kind") == {"CronJob": [], "NetworkPolicy": []}


def test_they_come_stay_and_go(kind: None) -> None:
    planned = done(run("deploy", "alarmed", "--check", "--diff", **BOTH))
    assert "PortalSttNotWarm" in planned.output
    assert "kind: CronJob" in planned.output
    done(run("deploy", "alarmed", **BOTH))
    assert here("alarmed") == MADE
    assert done(run("deploy", "alarmed", **BOTH)).changed == 0
    rule = get(f"{GROUP}/namespaces/alarmed/prometheusrules/portal-stt")
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus-stack"

    other = {**BOTH, "speaches_neighbours": [{"name": "immich/immich-ml", "peak_mib": 5000}]}
    planned = done(run("deploy", "alarmed", "--check", "--diff", **other))
    assert '"immich/immich-ml"}[10m]) > 5000' in planned.output
    assert get(f"{GROUP}/namespaces/alarmed/prometheusrules/portal-stt")["metadata"]["uid"] == rule["metadata"]["uid"]

    planned = done(run("deploy", "alarmed", "--check", "--diff", **OFF))
    for gone in ("PrometheusRule alarmed/portal-stt", "CronJob alarmed/portal-stt-clip", "alarmed/portal-stt-clip"):
        assert f"--- before: {gone}" in planned.output or f"NetworkPolicy {gone}" in planned.output
    assert here("alarmed") == MADE
    done(run("deploy", "alarmed", **OFF))
    assert here("alarmed") == NONE
    assert done(run("deploy", "alarmed", **OFF)).changed == 0

    done(run("deploy", "alarmed", **BOTH))
    done(run("teardown", "alarmed", **OFF))  # whatever the settings say by then
    assert here("alarmed") == {"CronJob": [], "NetworkPolicy": [], "PrometheusRule": []}


def test_rules_and_cronjobs_of_others_stay(kind: None) -> None:
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "of-others"}}, accept=(409,))
    rule = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "portal-stt"},
            "spec": {"groups": [{"name": "theirs", "rules": [{"alert": "Theirs", "expr": "up == 0"}]}]}}  # fmt: skip
    where = f"{GROUP}/namespaces/of-others/prometheusrules"
    api.call("POST", where, rule, fieldManager="kubectl-create")
    labels: dict[str, Any] = {"speaches_namespace_labels": {}}
    refused = run("deploy", "of-others", **BOTH, **labels)
    assert refused.rc != 0
    assert "PrometheusRule of-others/portal-stt: there is one of this name already, which was not made by us" in said(
        refused
    )
    assert refused.changed == 0
    done(run("deploy", "of-others", **OFF, **labels))
    done(run("teardown", "of-others", **BOTH, **labels))
    assert names(where) == ["portal-stt"]


def test_the_clip_runs_and_speech_comes_back_as_text(no_kind: None) -> None:
    """A Job as the CronJob makes it: admitted under Pod Security, scheduled beside the server without a GPU, and
    completed. What its container runs is then run here, against a real speech server."""
    done(run("deploy", "clips", **BOTH))
    cron = get("/apis/batch/v1/namespaces/clips/cronjobs/portal-stt-clip")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "portal-stt-clip", "uid": cron["metadata"]["uid"],
             "controller": True, "blockOwnerDeletion": True}  # fmt: skip
    template = cron["spec"]["jobTemplate"]
    job = {"metadata": {**template["metadata"], "generateName": "portal-stt-clip-", "ownerReferences": [owner]},
           "spec": template["spec"]}  # fmt: skip
    jobs = "/apis/batch/v1/namespaces/clips/jobs"
    name = api.call("POST", jobs, job)["metadata"]["name"]
    until(lambda: get(f"{jobs}/{name}").get("status", {}).get("succeeded"), 60, lambda: get(jobs))
    (pod,) = [
        one
        for one in get("/api/v1/namespaces/clips/pods")["items"]
        if one["metadata"]["labels"].get("batch.kubernetes.io/job-name") == name
    ]
    assert pod["spec"]["nodeName"] == "t4"
    assert "nvidia.com/gpu" not in json.dumps(pod["spec"]["containers"][0]["resources"])
    until(
        lambda: get("/apis/batch/v1/namespaces/clips/cronjobs/portal-stt-clip")["status"].get("lastSuccessfulTime"),
        60,
        lambda: get("/apis/batch/v1/namespaces/clips/cronjobs/portal-stt-clip"),
    )

    mounted = get("/api/v1/namespaces/clips/configmaps/portal-stt-scripts")
    assert mounted["data"]["warm.py"].strip() == (ROOT / "roles" / "speaches" / "files" / "warm.py").read_text().strip()
    environment = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
    assert environment["WARM_HOST"] == "$(PORTAL_STT_SERVICE_HOST)"
    environment |= {
        "WARM_HOST": "127.0.0.1",  # where the Service leads to here
        "WARM_CLIP": str(ROOT / "roles" / "verify" / "files" / "clips" / "en.wav"),
        "WARM_BUDGET_S": "1e9",  # the age of this machine's first process is no container's
        "PATH": os.environ["PATH"],
    }
    script = ROOT / "roles" / "speaches" / "files" / "warm.py"
    sent = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "open the window" in sent.stdout.lower()


# ---- rights


def test_the_account_can_do_what_the_plays_do_with_alerts(kind: None, tmp_path: Path) -> None:
    """And is refused nothing on the way."""
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "watching"}}, accept=(409,))
    done(run("rbac", "alarm-rights", **BOTH))
    access = account("alarm-rights", tmp_path)
    before = denied()
    for playbook, settings in [("preflight", BOTH), ("deploy", BOTH), ("deploy", OFF), ("deploy", BOTH)]:
        done(run(playbook, "alarm-rights", kubeconfig=access, **settings))
    assert here("alarm-rights") == MADE
    done(run("teardown", "alarm-rights", kubeconfig=access, **BOTH))
    assert here("alarm-rights") == {"CronJob": [], "NetworkPolicy": [], "PrometheusRule": []}
    assert denied() == before


def test_an_account_without_the_right_says_so(kind: None, tmp_path: Path) -> None:
    done(run("rbac", "few-rights", **OFF))
    refused = run("deploy", "few-rights", kubeconfig=account("few-rights", tmp_path), **BOTH)
    assert refused.rc != 0
    assert refused.changed == 0
    assert 'cannot create resource "prometheusrules"' in said(
        refused
    ) or 'cannot patch resource "prometheusrules"' in said(refused)
    assert "run playbooks/rbac.yml again" in said(refused)


def test_a_right_where_there_is_no_such_namespace_is_said_and_comes_later() -> None:
    memory: dict[str, Any] = {"speaches_gpu_memory": {"prometheus": {"service": "later/prometheus:9090"}}}
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/later/roles"
    api.call("DELETE", f"{roles}/early-portal-stt-deployer", accept=(404,))
    if api.call("GET", "/api/v1/namespaces/later", accept=(404,))["kind"] == "Status":
        early = done(run("rbac", "early", **memory))
        assert "Role later/early-portal-stt-deployer: there is no namespace later: it is left out." in said(early)
        assert done(run("rbac", "early", **memory)).changed == 0
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "later"}}, accept=(409,))
    done(run("rbac", "early", **memory))
    assert names(roles) == ["early-portal-stt-deployer"]
    assert done(run("rbac", "early", **memory)).changed == 0


BATCH = "/apis/batch/v1/namespaces/alarm-escape"
RULES = f"{GROUP}/namespaces/alarm-escape/prometheusrules"


@pytest.fixture(scope="module")
def escape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the token of an account that has all that can be asked for."""
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "watching"}}, accept=(409,))
    done(run("rbac", "alarm-escape", **BOTH))
    token = tmp_path_factory.mktemp("escape") / "token"
    access = yaml.safe_load(Path(account("alarm-escape", token.parent)).read_text())
    token.write_text(access["users"][0]["user"]["token"])
    return token


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{BATCH}/cronjobs", None),
        ("GET", f"{BATCH}/cronjobs/of-others", None),
        ("PATCH", f"{BATCH}/cronjobs/of-others", {"spec": {"suspend": True}}),
        ("DELETE", f"{BATCH}/cronjobs/of-others", None),
        ("DELETE", f"{BATCH}/cronjobs", None),
        ("POST", "/apis/batch/v1/namespaces/watching/cronjobs", {"metadata": {"name": "x"}}),
        ("GET", RULES, None),
        ("PATCH", f"{RULES}/of-others", {"spec": {"groups": []}}),
        ("DELETE", f"{RULES}/of-others", None),
        ("POST", f"{GROUP}/namespaces/watching/prometheusrules", {"metadata": {"name": "x"}}),
        ("GET", "/api/v1/services", None),
        ("GET", "/api/v1/namespaces/watching/services", None),
        ("GET", "/api/v1/namespaces/watching/services/prometheus", None),
        ("GET", "/api/v1/namespaces/watching/services/prometheus:9091/proxy/", None),
        ("GET", "/api/v1/namespaces/watching/services/https:prometheus:9090/proxy/", None),
        ("GET", "/api/v1/namespaces/watching/services/prometheus/proxy/", None),
        ("POST", "/api/v1/namespaces/watching/services/prometheus:9090/proxy/api/v1/admin/tsdb/delete_series", None),
        ("DELETE", "/api/v1/namespaces/watching/services/prometheus:9090/proxy/", None),
        ("GET", "/api/v1/namespaces/watching/services/alertmanager:9093/proxy/", None),
        ("GET", "/api/v1/namespaces/watching/secrets", None),
        ("GET", "/api/v1/namespaces/watching/pods/prometheus-0/log", None),
        ("POST", "/api/v1/namespaces/watching/pods/prometheus-0/portforward", None),
        ("GET", f"{DEFINITIONS}/prometheusrules.monitoring.coreos.com", None),
        ("PATCH", "/apis/rbac.authorization.k8s.io/v1/namespaces/watching/roles/alarm-escape-portal-stt-deployer", {}),
    ],
    ids=lambda value: value.rsplit("/api", 1)[-1] if isinstance(value, str) else "",
)
def test_the_account_with_all_that_can_be_asked_for_cannot_get_out(
    escape: Path, method: str, path: str, body: object
) -> None:
    answer = asked(escape, method, path, body)
    assert answer.status_code == 403, answer.text
    assert "cannot" in answer.json()["message"]


def test_it_reaches_the_one_service_that_is_named(escape: Path) -> None:
    """There is none: it is the API server's proxy that says so, and not RBAC."""
    answer = asked(escape, "GET", "/api/v1/namespaces/watching/services/prometheus:9090/proxy/api/v1/query", None)
    assert answer.status_code in (404, 503), answer.text


# ---- settings that are not what they mean


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"speaches_synthetic": {"enabled": True, "schedule": "every day"}}, "is no schedule."),
        (
            {
                "speaches_gpu_memory": {"metrics": {"free": ['x"} or vector(1) #']}},
                "speaches_alerts": {"enabled": True},
            },
            "is no name of a metric.",
        ),
        ({"speaches_synthetic": {"enabled": True, "time_zone": "Mars/Olympus"}}, "unknown time zone Mars/Olympus"),
    ],
)
def test_it_is_refused_before_anything_changes(settings: dict[str, Any], words: str) -> None:
    refused = run("deploy", "never-made", **settings)
    assert refused.rc != 0
    assert words in said(refused)
    assert refused.changed == 0
