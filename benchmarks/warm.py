"""The first request, a restart, an upgrade and the seeding, beside the way of the first draft, in one run.

    python -m benchmarks.warm

SpeachesStandIn runs here as a process, with real Whisper base weights on the CPU and real speech; the seeding is the
Job's own script against HubStandIn; Ready is what the pod's own probe says (warm.py), or GET /health in the draft's
way. What a kubelet adds (its probe's period, the pull, the mount) is not in it. The sides of a round follow each
other; the table in docs/performance.md has medians.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks.page import put, ratio
from lab.hub import MODEL, HubStandIn
from lab.paths import ROOT
from lab.weights import revision, weights

PAGE = ROOT / "docs" / "performance.md"
CLIP = ROOT / "roles" / "verify" / "files" / "clips" / "en.wav"
FILES = ROOT / "roles" / "speaches" / "files"
ROUNDS = 9
LATER = 7
"""Requests after the first one of a server."""

OURS = {"HF_HUB_OFFLINE": "1", "STT_MODEL_TTL": "-1"}
DRAFT = {"PRELOAD_MODELS": json.dumps([MODEL]), "STT_MODEL_TTL": "-1"}


class Failed(Exception):
    """The server ended before it was Ready."""


@dataclass(frozen=True)
class Server:
    """A running server; ready: seconds from its start to Ready."""

    process: subprocess.Popen[bytes]
    url: str
    ready: float

    def request(self) -> float:
        """Seconds of one transcription."""
        began = time.perf_counter()
        with CLIP.open("rb") as clip:
            form = {"model": MODEL, "language": "en"}
            answer = requests.post(f"{self.url}/v1/audio/transcriptions", files={"file": clip}, data=form, timeout=60)
        answer.raise_for_status()
        assert answer.json()["text"]
        return time.perf_counter() - began


@contextmanager
def server(volume: Path, hub: HubStandIn, ours: bool) -> Iterator[Server]:
    """A server in our way or the draft's, once it is Ready. Raises Failed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = os.environ | {
        "HF_HUB_CACHE": str(volume / "hub"),
        "HF_HOME": str(volume),
        "HF_ENDPOINT": hub.endpoint,
        "UVICORN_HOST": "127.0.0.1",
        "UVICORN_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "lab.speech.server"]
        process = subprocess.Popen(command, cwd=ROOT, env=env | (OURS if ours else DRAFT), stdout=log, stderr=log)
        try:
            (_warm if ours else _healthy)(url, process)
            yield Server(process, url, time.perf_counter() - began)
        finally:
            process.kill()
            process.wait()


def _warm(url: str, process: subprocess.Popen[bytes]) -> None:
    """The role's own startup probe."""
    env = os.environ | {"WARM_MODELS": json.dumps([MODEL]), "WARM_CLIP": str(CLIP), "WARM_URL": url}
    env["WARM_BUDGET_S"] = "1e8"  # counts from the start of process 1, which here is this machine's
    subprocess.run([sys.executable, FILES / "warm.py"], env=env, check=True, stdout=subprocess.DEVNULL)
    assert process.poll() is None


def _healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    """The draft's: an answer from /health."""
    while process.poll() is None:
        try:
            requests.get(f"{url}/health", timeout=5).raise_for_status()
            return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise Failed(f"exit status {process.returncode}")


def seed(volume: Path, hub: HubStandIn, until: Callable[[], bool] | None = None) -> None:
    """The seed Job's script; killed when `until` holds."""
    env = os.environ | {
        "SEED_MODELS": json.dumps([{"model": MODEL, "revision": None}]),
        "HF_HUB_CACHE": str(volume / "hub"),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "SEED_RESULT": str(volume / "result"),
    }
    with subprocess.Popen([sys.executable, FILES / "seed.py"], env=env, stdout=subprocess.DEVNULL) as process:
        while until and process.poll() is None:
            if until():
                process.send_signal(signal.SIGKILL)
                return
            time.sleep(0.005)
    assert process.returncode == 0, (volume / "result").read_text()


def first_requests(volume: Path, hub: HubStandIn, ours: bool) -> tuple[float, float, float]:
    """Seconds to Ready, of the first request, and the median of later ones."""
    with server(volume, hub, ours) as running:
        first = running.request()
        return running.ready, first, statistics.median(running.request() for _ in range(LATER))


def restarts(volume: Path, hub: HubStandIn, first: bool) -> float:
    """Seconds to Ready with the hub unreachable, as a multiple of those with it; `first`: which one comes first."""
    ready = {}
    for down in (first, not first):
        hub.set(down=down)
        with server(volume, hub, ours=True) as running:
            ready[down] = running.ready
    hub.set()
    return ready[True] / ready[False]


def upgrade(volume: Path, hub: HubStandIn) -> float:
    """Seconds from the end that Recreate orders until the next server is Ready."""
    with server(volume, hub, ours=True) as running:
        running.request()
        began = time.perf_counter()
        running.process.terminate()
        running.process.wait()
        with server(volume, hub, ours=True):
            return time.perf_counter() - began


def killed_seeding(volume: Path, hub: HubStandIn) -> tuple[int, int]:
    """Bytes from the hub that came twice, and those of a third run, after a kill in the middle."""
    whole = sum(file.stat().st_size for file in weights().iterdir())
    hub.set(bytes_per_s=100e6)
    before = hub.stats.total
    seed(volume, hub, until=lambda: hub.stats.total - before > whole // 2)
    hub.set()
    seed(volume, hub)
    both = hub.stats.total - before
    seed(volume, hub)
    return both - whole, hub.stats.total - before - both


def measure(scratch: Path, hub: HubStandIn) -> str:
    """The table, in Markdown."""
    (scratch / "killed").mkdir()
    repeated, again = killed_seeding(scratch / "killed", hub)
    volume = scratch / "volume"
    volume.mkdir()
    seed(volume, hub)
    ours, draft, offline, upgrades = [], [], [], []
    hub.set(down=True)
    try:
        with server(volume, hub, ours=False):
            never = "Ready all the same"
    except Failed as failed:
        never = f"never: {failed}"
    hub.set()
    for number in range(ROUNDS):
        ours.append(first_requests(volume, hub, ours=True))
        draft.append(first_requests(volume, hub, ours=False))
        offline += [restarts(volume, hub, first=first) for first in (False, True)]
        upgrades.append(upgrade(volume, hub))
        print(f"round {number + 1} of {ROUNDS}", flush=True)

    ready = [one[0] for one in ours]
    firsts = [ratio(first / later for _, first, later in side) for side in (ours, draft)]
    seconds = [f"{statistics.median(first for _, first, _ in side):.2f}" for side in (ours, draft)]
    starts = [f"{statistics.median(start for start, _, _ in side):.2f}" for side in (ours, draft)]
    outages = ratio(outage / load for outage, load in zip(upgrades, ready, strict=True))
    rows = [
        ("first request after Ready / median of later", "≤ 1.2", *firsts),
        ("the first request, seconds", "", *seconds),
        ("restart → Ready, hub unreachable / reachable", "≤ 1.05", ratio(offline), never),
        ("restart → Ready, hub reachable, seconds", "", starts[0], f"{starts[1]}, cold"),
        ("outage of an upgrade / one model load (start → Ready)", "≤ 1.2", outages, ""),
        ("run again with the model in place: bytes from the hub", "0", f"{again:,}", ""),
        ("killed at 50 % of the download, run again: bytes repeated", "< one file", f"{repeated:,}", ""),
    ]
    lines = [f"| {what} | {target} | {own} | {theirs} |" for what, target, own, theirs in rows]
    return "\n".join(["| measure | target | portal.stt | first draft |", "|---|---|---|---|", *lines])


def main() -> None:
    """Measures, prints the table and puts it into the page."""
    files = {path.name: path for path in weights().iterdir()}
    with tempfile.TemporaryDirectory() as scratch, HubStandIn({MODEL: {revision(): files}}) as hub:
        table = measure(Path(scratch), hub)
    print(table)
    put(PAGE, "warm", table)


if __name__ == "__main__":
    main()
