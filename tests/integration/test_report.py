"""The reports that the plays leave: written where something stands in the way, and by each verify; named last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pytest_httpserver import HTTPServer

from lab import api, simulated
from lab.network import HOST
from tests.conftest import ROOT, Played, play
from tests.reports import INCIDENTS

MIB = 1024 * 1024
NAMESPACE, FAILING = "report-good", "report-bad"
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "report.schema.json").read_text()))


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    simulated.replace(ROOT / "lab" / "nodes" / "t4.yml")
    yield
    for namespace in (NAMESPACE, FAILING):
        api.call("DELETE", f"/api/v1/namespaces/{namespace}", accept=(404,))
        api.call("DELETE", f"/api/v1/persistentvolumes/{namespace}-models", accept=(404,))
    simulated.replace(None)


@pytest.fixture
def exporter() -> Iterator[HTTPServer]:
    """The page of an exporter, on an address of the lab."""
    with HTTPServer(host=HOST, port=9402) as server:
        yield server


def told(incident: str) -> str:
    lines = ["# TYPE gpu_pod_memory_used_bytes gauge\n"]
    for number, (tenant, (now, _)) in enumerate(INCIDENTS[incident].items()):
        namespace, container = tenant.split("/")
        labels = f'namespace="{namespace}",pod="{container}-x",container="{container}",process_name="x",pid="{number}"'
        lines.append(f"gpu_pod_memory_used_bytes{{{labels}}} {now * MIB}\n")
    return "".join(lines)


FOLDER = ROOT / "inventory" / "reports" / "lab"
"""Beside inventory/lab."""


def run(playbook: str, *args: str, namespace: str = NAMESPACE, **variables: Any) -> tuple[Played, dict[str, Any]]:
    """A play against the simulated cluster; and report.json, {} for none."""
    given = {
        "speaches_namespace": namespace,
        "speaches_verify": {"requests": 2, "require_warm": False},  # the simulated pods share a server
        "speaches_volume": {"name": f"{namespace}-models", "server": "10.77.0.2", "driver": ""},
        "speaches_gpu": {"node_selector": {"lab.portal-stt/simulated": "true"}},
        **variables,
    }
    shutil.rmtree(FOLDER, ignore_errors=True)
    played = play(f"playbooks/{playbook}.yml", "-l", "lab", "-e", json.dumps(given), *args)
    if not FOLDER.exists():
        return played, {}
    assert played.output.splitlines()[-1] == f"Report: {FOLDER / 'report.html'}"
    assert {path.name: path.stat().st_mode & 0o777 for path in FOLDER.iterdir()} == {
        "report.html": 0o600, "report.json": 0o600,
    }  # fmt: skip
    found = json.loads((FOLDER / "report.json").read_text())
    SCHEMA.validate(found)
    return played, found


def test_a_card_that_is_full_is_drawn(exporter: HTTPServer) -> None:
    """The operator's incident of 2026-08-31: everything was Ready, and the card had no room."""
    exporter.expect_request("/metrics").respond_with_data(told("2026-08-31"), content_type="text/plain; version=0.0.4")
    url = exporter.url_for("/metrics")
    memory = {"source": "exporter", "exporter": {"url": url}, "ours_mib": 1500}
    played, found = run("preflight", speaches_gpu_memory=memory)
    assert (played.rc, found["play"], found["verdict"]) == (2, "preflight", "refused"), played.output
    (card,) = found["memory"][0]["cards"]
    assert {one["name"]: one["now"] for one in card["tenants"]} == {
        tenant: now for tenant, (now, _) in INCIDENTS["2026-08-31"].items()
    }
    assert card["budget"]["shrink"][0]["name"] == "immich/ml"
    page = (FOLDER / "report.html").read_text()
    assert "× 2472 MiB too many" in page
    assert [group["nodes"] for group in found["images"][0]["groups"]] == ["t4"]


def test_what_goes_well_leaves_a_report_of_verify_alone() -> None:
    played, found = run("preflight")
    assert (played.rc, found) == (0, {}), played.output
    played, found = run("deploy")
    assert (played.rc, found) == (0, {}), played.output
    played, found = run("verify", "--check")
    assert (played.rc, found) == (0, {}), played.output
    assert "No report is written in check mode." in played.output
    played, found = run("verify")
    assert (played.rc, found["play"], found["cluster"]) == (0, "verify", "lab"), played.output
    assert [clip["clip"] for clip in found["speech"][0]["clips"]] == ["English", "Bulgarian"]
    played, _ = run("verify", "-e", "portal_stt_report_dir=")
    assert "Report: " not in played.output


def test_a_rollout_that_fails_is_a_timeline() -> None:
    """And so is what the deploy has changed until then."""
    card = {"node_selector": {"lab.portal-stt/simulated": "true"}, "count": 5000}
    played, found = run("deploy", namespace=FAILING, speaches_gpu=card)
    assert (played.rc, found["play"], found["verdict"]) == (2, "deploy", "refused"), played.output
    rollout = next(one for one in found["rollouts"] if one["name"].startswith("Deployment"))
    assert (rollout["status"], rollout["cause"]) == ("failed", "gpu-insufficient")
    assert f"Deployment {FAILING}/portal-stt" in [one["name"] for one in found["changes"]]


def test_a_place_that_cannot_be_written_to_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    played, _ = run("verify", "-e", f"portal_stt_report_dir={tmp_path}/file/below")
    assert "/file/below/lab: Not a directory. Set portal_stt_report_dir." in played.output


def test_in_awx_none_is_written_unless_a_place_is_named(tmp_path: Path) -> None:
    played, found = run("verify", "-e", "awx_job_id=7")
    assert found == {}, played.output
    named = tmp_path / "named"
    played, _ = run("verify", "-e", "awx_job_id=7", "-e", f"portal_stt_report_dir={named}")
    assert (named / "lab" / "report.html").exists(), played.output
