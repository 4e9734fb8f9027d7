"""What gpu_memory_info costs beside the bare queries, of a real Prometheus with a week of forty tenants.

Inside a lab: python -m lab run -- python -m benchmarks.memory; the table goes into docs/performance.md.

Bare is what one would ask by hand: what is now, the peak over the week, the age of the newest measurement; and for the
history every measurement of the week. Parsed as JSON, and nothing more. Both are asked by the same client, in turn.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from ansible_collections.portal.stt.plugins.module_utils._gpu import places
from ansible_collections.portal.stt.plugins.module_utils._gpu.places import Place, way
from ansible_collections.portal.stt.plugins.modules.gpu_memory_info import ARGUMENTS, run

from benchmarks.page import put, ratio
from lab import card, prometheus
from lab.network import HOST

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ROUNDS = 9
TENANTS = 40
STEP = 120
WEEK = 7 * 86400
BY_TENANT = "sum by (namespace, container) (gpu_pod_memory_used_bytes)"
QUERIES = (BY_TENANT, f"max_over_time({BY_TENANT}[7d:2m])", "time() - timestamp(gpu_pod_memory_used_bytes)")


def past(now: int) -> str:
    lines = ["# TYPE gpu_pod_memory_used_bytes gauge\n"]
    for tenant in range(TENANTS):
        lines += [card.seat(f"team-{tenant}/app", 100 + tenant, at) for at in range(now - WEEK, now - 30, STEP)]
    return "".join(lines) + "# EOF\n"


def bare(url: str, *, history: bool) -> None:
    ask = way(Place(url=url), lambda: _nowhere(), 60)
    for query in QUERIES:
        json.loads(ask("/api/v1/query", {"query": query}))
    if history:
        now = int(time.time())
        window = {"start": str(now - WEEK), "end": str(now), "step": str(STEP)}
        json.loads(ask("/api/v1/query_range", {"query": BY_TENANT, **window}))


def _nowhere() -> Any:
    raise SystemExit("no cluster is asked")


def ours(url: str, *, history: bool) -> None:
    params: dict[str, Any] = {name: option.get("default") for name, option in ARGUMENTS["argument_spec"].items()}
    params |= {"prometheus": {"url": url, "scheme": "http"}, "history": history}
    seats = attempt(run, params, check_mode=False)["reading"]["seats"]
    if len(seats) != TENANTS:
        raise SystemExit(f"{len(seats)} seats were found")


def requests_of(side: Callable[..., None], url: str, *, history: bool) -> int:
    count, real = 0, places._good

    def counted(place: Place, status: int, body: bytes) -> bytes:
        nonlocal count
        count += 1
        return real(place, status, body)

    places._good = counted
    try:
        side(url, history=history)
    finally:
        places._good = real
    return count


def seconds(side: Callable[..., None], url: str, *, history: bool) -> float:
    begin = time.perf_counter()
    side(url, history=history)
    return time.perf_counter() - begin


def rows(url: str) -> list[str]:
    found = []
    for what, history in (("now and the peaks", False), ("and the week itself", True)):
        times: dict[str, list[float]] = {"bare": [], "ours": []}
        for _ in range(ROUNDS):
            times["bare"].append(seconds(bare, url, history=history))
            times["ours"].append(seconds(ours, url, history=history))
        against = [one / other for one, other in zip(times["ours"], times["bare"], strict=True)]
        for name, side, compared in (("bare queries", bare, "1.00"), ("gpu_memory_info", ours, ratio(against))):
            median = statistics.median(times["bare" if side is bare else "ours"])
            found.append(f"| {what} | {name} | {requests_of(side, url, history=history)} | {median:.2f} | {compared} |")
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        before = past(int(time.time()))
        with prometheus.running(Path(folder), f"{HOST}:9404", 9094, past=before) as url:
            for _ in range(100):
                try:
                    bare(url, history=True)
                    break
                except Exception:  # it is starting
                    time.sleep(0.2)
            table = ["| asked | by | requests | seconds | ratio |", "|---|---|---|---|---|", *rows(url)]
    print("\n".join(table))
    put(PAGE, "memory", "\n".join(table))


if __name__ == "__main__":
    main()
