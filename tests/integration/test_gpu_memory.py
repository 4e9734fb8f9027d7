"""Who sits in a card's memory, asked of a real Prometheus with a week of many tenants."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from ansible_collections.portal.stt.plugins.module_utils._gpu import places, sources
from ansible_collections.portal.stt.plugins.modules.gpu_memory_info import ARGUMENTS, run

from lab import prometheus
from lab.network import HOST
from tests.conftest import until

MIB = 1024 * 1024
TENANTS = 40
STEP = 120
DAYS = 7


@dataclass
class Page:
    """What the exporter shows."""

    text: str = ""


def process(tenant: int, mib: int, at: float | None = None) -> str:
    labels = f'namespace="team-{tenant}",pod="app-{tenant}-x",container="app",process_name="python",pid="{tenant}"'
    return f"gpu_pod_memory_used_bytes{{{labels}}} {mib * MIB}{f' {at:.0f}' if at else ''}\n"


def past(now: float) -> str:
    """A week of all tenants: 100 MiB and its own number each, and one jump of tenant 7, for one interval."""
    start, jump = int(now) - DAYS * 86400 + 600, int(now) - 86400
    lines = ["# TYPE gpu_pod_memory_used_bytes gauge\n"]
    for tenant in range(TENANTS):
        for at in range(start, int(now) - 900, STEP):
            high = tenant == 7 and jump <= at < jump + STEP
            lines.append(process(tenant, 6000 if high else 100 + tenant, at))
    return "".join(lines) + "# EOF\n"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    shown = Page("".join(process(tenant, 100 + tenant) for tenant in range(TENANTS)))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(shown.text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer((HOST, 9401), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield shown
        server.shutdown()


@pytest.fixture(scope="module")
def url(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with a week of 40 tenants."""
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus.running(folder, f"{HOST}:9401", past=past(time.time())) as address:
        several = "min(count_over_time(gpu_pod_memory_used_bytes[1m]))"
        until(lambda: scraped(address, several) >= 3, 60, (folder / "log").read_text)
        yield address


def scraped(address: str, query: str = "count(gpu_pod_memory_used_bytes)") -> int:
    try:
        answer = requests.get(f"{address}/api/v1/query", {"query": query}, timeout=5).json()
    except (requests.RequestException, ValueError):
        return -1
    return int(answer["data"]["result"][0]["value"][1]) if answer["data"]["result"] else 0


def looked(**given: Any) -> dict[str, Any]:
    params = {name: option.get("default") for name, option in ARGUMENTS["argument_spec"].items()}
    return attempt(run, {**params, **given}, check_mode=False)


def test_a_week_of_forty_tenants(url: str) -> None:
    result = looked(prometheus={"url": url}, history=True)
    reading = result["reading"]
    assert (reading["known"], len(reading["seats"]), reading["step"]) == (True, TENANTS, 1)
    peaks = {seat["namespace"]: (seat["now"], seat["peak"]) for seat in reading["seats"]}
    assert peaks["team-0"] == (100, 100)
    assert peaks["team-7"] == (107, 6000)
    assert len(result["history"]) == TENANTS
    assert [one["status"] for one in result["findings"]] == ["ok"]


def test_it_is_asked_three_times(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = places.way

    def counted(*args: Any) -> places.Ask:
        ask = real(*args)

        def count(path: str, query: Mapping[str, str]) -> bytes:
            asked.append(path)
            return ask(path, query)

        return count

    monkeypatch.setattr(sources, "way", counted)
    looked(prometheus={"url": url}, history=True)
    assert asked == ["/api/v1/query", "/api/v1/query", "/api/v1/query_range"]


def test_what_is_no_api(url: str) -> None:
    result = looked(prometheus={"url": url, "path": "/nowhere"})
    assert [one["message"] for one in result["findings"]] == ["it answers with HTTP status 404."]


def test_what_prometheus_refuses_is_told_in_its_words(url: str) -> None:
    result = looked(prometheus={"url": url}, window="99999w")
    assert result["findings"][0]["message"].startswith("it refuses the query (HTTP status 4")


def test_a_page_that_becomes_empty_is_blind_and_not_idle(url: str, page: Page) -> None:
    page.text, before = "# TYPE gpu_pod_memory_used_bytes gauge\n", page.text
    try:
        until(lambda: scraped(url) == 0, 60, lambda: scraped(url))
        reading = looked(prometheus={"url": url})["reading"]
        assert (reading["known"], [doubt["kind"] for doubt in reading["doubts"]]) == (False, ["ended"])
    finally:
        page.text = before
        until(lambda: scraped(url) == TENANTS, 60, lambda: scraped(url))
