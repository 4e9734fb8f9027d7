"""The alerts, tried with Prometheus' own promtool: when each fires, and when it does not."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError
from ansible_collections.portal.stt.plugins.module_utils._speaches import alerts, manifests
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import (
    Alerts,
    GpuMemory,
    Model,
    Neighbour,
    Settings,
    Synthetic,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from lab import prometheus
from tests.unit.speaches.test_fuzz_manifests import HOSTILE

MIB = 1024 * 1024
SETTINGS = Settings(
    alerts=Alerts(enabled=True, rule_labels={"team": "home"}, cards={"Hostname": "gpu-1"}),
    synthetic=Synthetic(enabled=True),
    gpu_memory=GpuMemory(ours_mib=1500),
    neighbours=(Neighbour("immich/immich-ml", 6858), Neighbour("llama-cpp/llama-swap", 6996)),
)
OURS, OTHER = "portal-stt/portal-stt", "immich/immich-ml"
DEPLOYMENT = '{namespace="portal-stt",deployment="portal-stt"}'
CLIP = '{namespace="portal-stt",cronjob="portal-stt-clip"}'
CARD = 'DCGM_FI_DEV_FB_FREE{Hostname="gpu-1",UUID="GPU-1",gpu="0"}'


def rules(settings: Settings = SETTINGS) -> list[dict[str, Any]]:
    (group,) = manifests.prometheus_rule(settings)["spec"]["groups"]
    return list(group["rules"])


def promtool(*args: str | Path) -> str:
    """What it says; fails where it finds anything wrong."""
    done = subprocess.run([prometheus.find().with_name("promtool"), *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tried(
    folder: Path,
    name: str,
    at: str,
    series: dict[str, str],
    alarms: list[dict[str, str]],
    settings: Settings = SETTINGS,
) -> None:
    """Whether the alert `name` is what `alarms` say at a time, after these series of one value a minute.

    alarms: of each that fires its labels, without those that all alerts of the settings have.
    """
    rule = next(one for one in rules(settings) if one.get("alert") == f"PortalStt{name}")
    common = {"severity": rule["labels"]["severity"], "namespace": "portal-stt", "server": OURS, "team": "home"}
    case = {
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": at,
                "alertname": f"PortalStt{name}",
                "exp_alerts": [{"exp_labels": {**common, **{k: v for k, v in one.items() if k[0] != "_"}},
                                "exp_annotations": texts_of(settings, name, one)} for one in alarms],
            }
        ],
    }  # fmt: skip
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": manifests.prometheus_rule(settings)["spec"]["groups"]}))
    test = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]}
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", folder / "test.yml")


def texts_of(settings: Settings, name: str, alarm: dict[str, str]) -> dict[str, str]:
    """Those of the rule, with the alarm's labels and its value, `_value`, filled in."""
    found = [one for one in rules(settings) if one.get("alert") == f"PortalStt{name}"]
    about, tenant = alarm.get("about"), alarm.get("tenant", "")
    (rule,) = [
        one for one in found if one["labels"].get("about") == about and one["labels"].get("tenant", tenant) == tenant
    ]
    told = {}
    for key, text in rule["annotations"].items():
        for what, value in {"$value": alarm.get("_value", ""), **{f"$labels.{k}": v for k, v in alarm.items()}}.items():
            text = text.replace(f"{{{{ {what} }}}}", value)
        told[key] = text
    return told


# ---- what there is


def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": manifests.prometheus_rule(SETTINGS)["spec"]["groups"]})
    )
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", tmp_path / "rules.yml")


NAMES = {
    "NotWarm", "Blind", "MemoryOverBudget", "NeighbourOverBudget", "NeighbourGrew", "CardShortOfMemory",
    "SyntheticFailing", "SyntheticNotRunning",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({}, set()),
        ({"synthetic": Synthetic()}, {"SyntheticFailing", "SyntheticNotRunning"}),
        ({"neighbours": ()}, {"NeighbourOverBudget"}),
        ({"vram_headroom_mib": 0}, {"CardShortOfMemory"}),
        ({"alerts": Alerts(enabled=True, memory=("tenants",))}, {"CardShortOfMemory"}),
        (
            {"alerts": Alerts(enabled=True, memory=("card",))},
            {"MemoryOverBudget", "NeighbourOverBudget", "NeighbourGrew"},
        ),
        ({"gpu_memory": GpuMemory(), "models": (Model("a/unheard-of"),)}, {"MemoryOverBudget"}),
    ],
    ids=str,
)
def test_which_alerts_there_are(changed: dict[str, Any], missing: set[str]) -> None:
    found = {one["alert"].removeprefix("PortalStt") for one in rules(replace(SETTINGS, **changed)) if "alert" in one}
    assert found == NAMES - missing


def test_no_two_alerts_are_the_same_to_alertmanager() -> None:
    """Which tells them by their labels; tenants and pods come with the series."""
    known = [(one["alert"], json.dumps(one["labels"], sort_keys=True)) for one in rules() if "alert" in one]
    assert len(set(known)) == len(known)


@pytest.mark.parametrize(
    ("gpu_memory", "most"),
    [(GpuMemory(ours_mib=2100), 2100), (GpuMemory(), 3119)],  # 1545 for turbo in int8 and 1574 for batches of 8
)
def test_the_budget_is_what_was_measured_or_the_tables(gpu_memory: GpuMemory, most: int) -> None:
    assert alerts.ours_mib(Settings(gpu_memory=gpu_memory)) == most


# ---- the server


@pytest.mark.parametrize(
    ("series", "at", "alarms"),
    [
        ({"spec_replicas": "1x20", "status_replicas_available": "1x20"}, "15m", []),
        ({"spec_replicas": "1x20", "status_replicas_available": "0x20"}, "9m", []),  # it may take ten to start
        ({"spec_replicas": "1x20", "status_replicas_available": "0x20"}, "11m", [{"_value": "0"}]),
        ({"spec_replicas": "2x20", "status_replicas_available": "1x20"}, "11m", [{"_value": "1"}]),
        ({"spec_replicas": "1x20", "status_replicas_available": "0x8 1x12"}, "15m", []),  # a rollout
        ({"spec_replicas": "0x20", "status_replicas_available": "0x20"}, "15m", []),  # nobody wants it
        ({"spec_replicas": "1x20"}, "15m", []),  # not known, which is no zero
        ({}, "15m", []),
    ],
)
def test_not_warm(tmp_path: Path, series: dict[str, str], at: str, alarms: list[dict[str, str]]) -> None:
    given = {f"kube_deployment_{what}{DEPLOYMENT}": values for what, values in series.items()}
    tried(tmp_path, "NotWarm", at, given, alarms)


def test_another_deployments_pods_are_no_alert(tmp_path: Path) -> None:
    other = '{namespace="portal-stt",deployment="other"}'
    series = {
        f"kube_deployment_spec_replicas{other}": "1x20",
        f"kube_deployment_status_replicas_available{other}": "0x20",
    }
    tried(tmp_path, "NotWarm", "15m", series, [])


# ---- memory


def process(
    namespace: str, container: str, pod: str = "a-1", pid: int = 1, *, renamed: bool = False, **more: str
) -> str:
    own = "exported_" if renamed else ""
    labels = {f"{own}namespace": namespace, f"{own}pod": pod, f"{own}container": container, "pid": str(pid), **more}
    if renamed:
        labels |= {"namespace": "nvidia", "pod": "gpu-pod-exporter-x", "container": "exporter"}
    return (
        f"gpu_pod_memory_used_bytes{{{','.join(f'{name}=%s' % json.dumps(value) for name, value in labels.items())}}}"
    )


def mib(*values: str) -> str:
    """Values of one a minute, each as MIBxTIMES."""
    return " ".join(f"{int(number) * MIB}x{times}" for number, times in (one.split("x") for one in values))


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize(
    ("values", "at", "alarms"),
    [
        (["1500x20"], "15m", []),
        (["1501x20"], "1m", [{"_value": "1501"}]),
        (["1400x5", "1900x1", "1400x20"], "7m", [{"_value": "1900"}]),  # a peak is told for ten minutes
        (["1400x5", "1900x1", "1400x20"], "18m", []),
    ],
)
def test_ours_over_its_budget(
    tmp_path: Path, renamed: bool, values: list[str], at: str, alarms: list[dict[str, str]]
) -> None:
    series = {process("portal-stt", "portal-stt", renamed=renamed): mib(*values)}
    tried(tmp_path, "MemoryOverBudget", at, series, [{"tenant": OURS, "pod": "a-1", **one} for one in alarms])


def test_processes_of_a_pod_are_added_up_and_pods_are_not(tmp_path: Path) -> None:
    """In a rollout without a gap two pods are there, each on a card of its own."""
    series = {
        process("portal-stt", "portal-stt", pod, pid): mib("800x20") for pod, pid in (("a", 1), ("a", 2), ("b", 3))
    }
    tried(tmp_path, "MemoryOverBudget", "5m", series, [{"tenant": OURS, "pod": "a", "_value": "1600"}])


def test_a_process_that_two_jobs_scrape_counts_once(tmp_path: Path) -> None:
    series = {process("portal-stt", "portal-stt", job=job, instance=job): mib("1000x20") for job in ("one", "two")}
    tried(tmp_path, "MemoryOverBudget", "5m", series, [])


@pytest.mark.parametrize(
    ("metric", "labels", "scale"),
    [
        ("gpu_pod_memory_used_bytes", {"pod_namespace": "immich", "pod_name": "a", "container_name": "immich-ml"}, MIB),
        ("hami_vgpu_memory_used_bytes", {"namespace": "immich", "pod": "a", "container": "immich-ml"}, MIB),
        ("vGPU_device_memory_usage_in_bytes", {"podnamespace": "immich", "podname": "a", "ctrname": "immich-ml"}, MIB),
    ],
)
def test_other_exporters(tmp_path: Path, metric: str, labels: dict[str, str], scale: int) -> None:
    told = ",".join(f'{name}="{value}"' for name, value in labels.items())
    alarm = {"tenant": OTHER, "_value": "6900"}
    tried(tmp_path, "NeighbourOverBudget", "5m", {f"{metric}{{{told}}}": f"{6900 * scale}x20"}, [alarm])


def test_names_of_ones_own(tmp_path: Path) -> None:
    memory = GpuMemory(
        ours_mib=1500, metrics={"seats": ("my_gpu_mib",)}, labels={"namespace": ("team", "ns"), "container": ("app",)}
    )
    series = {'my_gpu_mib{team="immich",app="immich-ml",pod="a"}': "7000x20", 'my_gpu_mib{ns="x",app="y"}': "1x20"}
    settings = replace(SETTINGS, gpu_memory=memory)
    tried(tmp_path, "NeighbourOverBudget", "5m", series, [{"tenant": OTHER, "_value": "7000"}], settings)


@pytest.mark.parametrize(
    ("values", "at", "over", "grown"),
    [
        # The incident of 2026-08-31: flat for days, then 12044 within one interval.
        (["5700x120", "12044x30"], "119m", [], []),
        (["5700x120", "12044x30"], "121m", ["12044"], ["6344"]),
        # A step below what is counted for it is told, too, for an hour; a slope over the same time is none.
        (["1958x30", "2552x60", "5478x200"], "95m", [], ["2926"]),
        (["1958x30", "2552x60", "5478x200"], "200m", [], []),
        # It loads and unloads as it always has.
        (["300x70", "5000x70", "300x70", "5000x30"], "215m", [], []),
        (["300x70"], "75m", [], []),
    ],
)
def test_a_neighbour_that_grows(tmp_path: Path, values: list[str], at: str, over: list[str], grown: list[str]) -> None:
    series = {process("immich", "immich-ml"): mib(*values)}
    tried(tmp_path, "NeighbourOverBudget", at, series, [{"tenant": OTHER, "_value": value} for value in over])
    tried(tmp_path, "NeighbourGrew", at, series, [{"tenant": OTHER, "_value": value} for value in grown])


def test_a_neighbour_with_a_new_pod_has_not_grown_and_a_newcomer_neither(tmp_path: Path) -> None:
    """Pods are renamed at each rollout. Who was never seen before has nothing to be compared with."""
    series = {
        process("immich", "immich-ml", "a-1"): f"{mib('5000x100')} stale",
        process("immich", "immich-ml", "b-2", 2): f"_x105 {mib('5000x50')}",
        process("new", "come", "c-3", 3): f"_x105 {mib('9000x50')}",
    }
    tried(tmp_path, "NeighbourGrew", "110m", series, [])


def test_our_own_growth_is_no_neighbours(tmp_path: Path) -> None:
    tried(tmp_path, "NeighbourGrew", "125m", {process("portal-stt", "portal-stt"): mib("300x120", "9000x20")}, [])


@pytest.mark.parametrize(
    ("series", "at", "alarms"),
    [
        ({CARD: "4708x20"}, "15m", []),
        ({CARD: "1023x20"}, "1m", [{"_value": "1023"}]),
        ({CARD: "4708x5 52x1 4708x30"}, "8m", [{"_value": "52"}]),
        ({CARD: "4708x5 52x1 4708x30"}, "18m", []),
        ({CARD.replace("gpu-1", "gpu-2"): "52x20"}, "15m", []),  # no card that the server can get
        ({CARD: "9.223372036854776e+18x20"}, "15m", []),  # what an old DCGM says where it cannot tell
        ({}, "15m", []),
    ],
)
def test_a_card_that_is_short_of_memory(
    tmp_path: Path, series: dict[str, str], at: str, alarms: list[dict[str, str]]
) -> None:
    where = {"Hostname": "gpu-1", "UUID": "GPU-1", "gpu": "0"}
    tried(tmp_path, "CardShortOfMemory", at, series, [{**where, **one} for one in alarms])


def test_a_card_that_is_told_once_a_pod_is_one_alert(tmp_path: Path) -> None:
    series = {CARD.replace("}", f',exported_pod="{pod}"}}'): "500x20" for pod in "abc"}
    alarm = {"Hostname": "gpu-1", "UUID": "GPU-1", "gpu": "0", "_value": "500"}
    tried(tmp_path, "CardShortOfMemory", "5m", series, [alarm])


# ---- the clip


def job(minute: int, *, failed: bool) -> dict[str, str]:
    """What kube-state-metrics tells of a Job that was started in this minute and has ended."""
    name = f"portal-stt-clip-{29000000 + minute}"
    return {
        f'kube_job_status_start_time{{namespace="portal-stt",job_name="{name}"}}': f"{minute * 60}x100",
        f'kube_job_failed{{namespace="portal-stt",job_name="{name}",condition="true"}}': f"{int(failed)}x100",
        f'kube_job_failed{{namespace="portal-stt",job_name="{name}",condition="false"}}': f"{int(not failed)}x100",
    }


CREATED = {f"kube_cronjob_created{CLIP}": "1x100"}
LAST = f"kube_cronjob_status_last_successful_time{CLIP}"


@pytest.mark.parametrize(
    ("series", "alarms"),
    [
        ({**CREATED, **job(1, failed=False), LAST: "90x100"}, []),
        ({**CREATED, **job(1, failed=False), LAST: "90x100", **job(2, failed=True)}, []),  # once: it may be a rollout
        ({**CREATED, LAST: "90x100", **job(2, failed=True), **job(3, failed=True)}, [{"_value": "2"}]),
        ({**CREATED, LAST: "250x100", **job(2, failed=True), **job(3, failed=True)}, []),  # it works again
        ({**CREATED, **job(2, failed=True), **job(3, failed=True)}, [{"_value": "2"}]),  # never yet
        ({**CREATED}, []),
        ({**job(2, failed=True), **job(3, failed=True)}, []),  # of what is not known any more
    ],
)
def test_the_clip_fails(tmp_path: Path, series: dict[str, str], alarms: list[dict[str, str]]) -> None:
    tried(tmp_path, "SyntheticFailing", "10m", series, alarms)


def test_jobs_of_others_do_not_count(tmp_path: Path) -> None:
    series = {**CREATED, **job(2, failed=True), **job(3, failed=True)}
    for found, other in (("portal-stt-clip-", "my-portal-stt-clip-"), ("portal-stt-clip-", "portal-stt-clip-x-")):
        tried(tmp_path, "SyntheticFailing", "10m", {one.replace(found, other): v for one, v in series.items()}, [])


def test_two_kube_state_metrics_tell_of_one_job(tmp_path: Path) -> None:
    series = {**CREATED, LAST: "90x100", **job(2, failed=True)}
    both = {one.replace("{", f'{{instance="{n}",'): values for one, values in series.items() for n in "ab"}
    tried(tmp_path, "SyntheticFailing", "10m", both, [])


@pytest.mark.parametrize(
    ("due", "at", "alarms"),
    [("600x100", "20m", []), ("600x100", "26m", [{"_value": "960"}]), ("", "26m", [])],
)
def test_the_clip_is_late(tmp_path: Path, due: str, at: str, alarms: list[dict[str, str]]) -> None:
    """A CronJob that is suspended has no next time."""
    tried(tmp_path, "SyntheticNotRunning", at, {f"kube_cronjob_next_schedule_time{CLIP}": due} if due else {}, alarms)


# ---- blind is not well

SEEN = {
    f"kube_deployment_spec_replicas{DEPLOYMENT}": "1x60",
    f"kube_deployment_status_replicas_available{DEPLOYMENT}": "1x60",
    process("portal-stt", "portal-stt"): f"{1000 * MIB}x60",
    CARD: "4708x60",
    f"kube_cronjob_created{CLIP}": "1x60",
}


@pytest.mark.parametrize(
    ("without", "stale", "about"),
    [
        ((), False, []),
        (("kube_deployment",), False, ["server"]),
        (("gpu_pod",), False, ["tenants"]),
        (("gpu_pod",), True, ["tenants"]),
        (("DCGM",), False, ["card"]),
        (("DCGM",), True, ["card"]),
        (("kube_cronjob",), False, ["synthetic"]),
        (("kube_deployment", "kube_cronjob"), True, ["server", "synthetic"]),
        (("kube_deployment", "gpu_pod"), False, ["server"]),  # a server that may be gone need not be on the card
    ],
)
def test_what_is_not_seen_is_told(tmp_path: Path, without: tuple[str, ...], stale: bool, about: list[str]) -> None:
    """Never there, or there until its target went away."""
    kept = {one: values for one, values in SEEN.items() if not one.startswith(without or "none")}
    gone = {one: f"{values.split('x')[0]}x10 stale" for one, values in SEEN.items() if one not in kept} if stale else {}
    tried(tmp_path, "Blind", "14m", {**kept, **gone}, [])
    tried(tmp_path, "Blind", "40m", {**kept, **gone}, [{"about": one} for one in about])


def test_a_server_that_nobody_wants_need_not_be_seen_on_the_card(tmp_path: Path) -> None:
    series = {**SEEN, f"kube_deployment_status_replicas_available{DEPLOYMENT}": "0x60"}
    tried(tmp_path, "Blind", "40m", {one: v for one, v in series.items() if "gpu_pod" not in one}, [])


# ---- what strangers write

TEXTS = st.one_of(st.sampled_from([*HOSTILE, '"} or vector(1) #', "{{ $labels }}", "`", "\ud800"]), st.text(max_size=9))


@pytest.mark.parametrize("text", [*HOSTILE, '"} or vector(1) #', '\\"} or vector(1)', "{{ query `up` }}", "{{", "`"])
def test_a_hostile_text_stays_within_its_quotes(tmp_path: Path, text: str) -> None:
    """The card of that very name is the only one that is meant, and an alert's label says the text itself."""
    settings = replace(SETTINGS, alerts=Alerts(enabled=True, rule_labels={"team": text}, cards={"Hostname": text}))
    rule = next(one for one in rules(settings) if one.get("alert") == "PortalSttCardShortOfMemory")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
    alarm = {"severity": "warning", "namespace": "portal-stt", "server": OURS, "UUID": "GPU-1"} | (
        {"Hostname": text, "team": text} if text else {}
    )
    quoted = alerts.quoted(text)
    case = {
        "interval": "1m",
        "input_series": [
            {"series": f'DCGM_FI_DEV_FB_FREE{{Hostname={quoted},UUID="GPU-1"}}', "values": "52x10"},
            {"series": 'DCGM_FI_DEV_FB_FREE{Hostname="other",UUID="GPU-2"}', "values": "52x10"},
        ],
        "alert_rule_test": [
            {
                "eval_time": "5m",
                "alertname": rule["alert"],
                "exp_alerts": [
                    {
                        "exp_labels": alarm,
                        "exp_annotations": texts_of(settings, "CardShortOfMemory", {"_value": "52"}),
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [case]}))
    promtool("test", "rules", tmp_path / "test.yml")


@profile(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=TEXTS, other=TEXTS)
def test_a_name_that_is_none_is_refused_and_never_written(name: str, other: str) -> None:
    """Metrics and labels stand in expressions without quotes."""
    memory = GpuMemory(metrics={"seats": (name,), "free": (other,)}, labels={"namespace": (other,), "uuid": (name,)})
    try:
        found = rules(replace(SETTINGS, gpu_memory=memory))
    except CollectionError:
        return
    assert all(one.isascii() and one.replace("_", "").replace(":", "").isalnum() for one in (name, other))
    assert found
