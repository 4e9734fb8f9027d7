"""A real Prometheus, Debian's: it scrapes what a test shows it, and holds a past that is written into it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from lab import debian
from lab.network import HOST

PORT = 9090
ADDRESS = f"{HOST}:{PORT}"


def find() -> Path:
    """Prometheus' program."""
    return debian.program("prometheus", "prometheus")


@contextmanager
def running(folder: Path, target: str, *, past: str = "", interval: str = "1s") -> Iterator[str]:
    """A Prometheus on ADDRESS, whose URL it yields. target: HOST:PORT of the page that it scrapes.

    past: OpenMetrics text with times, from which its storage is made first.
    """
    data = folder / "data"
    data.mkdir()
    if past:
        (folder / "past.txt").write_text(past)
        promtool = find().with_name("promtool")
        argv: list[str | Path] = [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "past.txt", data]
        subprocess.run(argv, check=True, capture_output=True)
    configuration = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [{"job_name": "gpu-pod-memory", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command: list[str | Path] = [
        find(), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={data}",
        f"--web.listen-address={ADDRESS}", "--storage.tsdb.retention.time=30d", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://{ADDRESS}"
        finally:
            process.terminate()
