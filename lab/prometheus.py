"""A real Prometheus, Debian's: it scrapes a page that tests can set, and holds a past that is written into it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from lab import api, card, debian, network, processes
from lab.network import HOST
from lab.paths import STATE
from lab.processes import Argv, Service, answers

PORT = 9090
SERVICE = ("monitoring", "prometheus-server")
PAGE = STATE / "card.prom"
"""What the lab's card shows."""


def find() -> Path:
    """Prometheus' program."""
    return debian.program("prometheus", "prometheus")


def up() -> None:
    """The operator's card, a Prometheus that scrapes it, and the Services behind which they stand in the cluster."""
    PAGE.write_text(card.page({**card.STEADY, **card.OURS}))
    folder = STATE / "prometheus"
    folder.mkdir(exist_ok=True)
    with network.inside():
        processes.start([
            Service("card", [sys.executable, "-m", "lab.card", HOST, str(PAGE)], answers(f"http://{HOST}:{card.PORT}/")),
            Service("prometheus", _command(folder, f"{HOST}:{card.PORT}", "15s", PORT),
                    answers(f"http://{HOST}:{PORT}/-/ready")),
        ])  # fmt: skip
        expose(*SERVICE, 80, PORT)
        expose("nvidia", "gpu-pod-exporter", 80, card.PORT)


def expose(namespace: str, name: str, port: int, target: int) -> None:
    """A Service in front of a process of the lab.

    The API server's proxy goes to addresses of pods only (pkg/registry/core/service/storage, isValidAddress): there is
    one that no scheduler takes, which is said to have the lab's own address.
    """
    core = f"/api/v1/namespaces/{namespace}"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}}, accept=(409,))
    while api.call("GET", f"{core}/serviceaccounts/default", accept=(404,))["kind"] == "Status":
        time.sleep(0.05)  # a controller makes it, and no pod is taken without it
    pod = {
        "metadata": {"name": name},
        "spec": {"schedulerName": "none", "containers": [{"name": name, "image": name}],
                 "tolerations": [{"operator": "Exists"}]},
    }  # fmt: skip
    service = {"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": port, "targetPort": target}]}}
    address = {"ip": HOST, "targetRef": {"kind": "Pod", "namespace": namespace, "name": name}}
    behind = {
        "metadata": {"name": name},
        "subsets": [{"addresses": [address], "ports": [{"name": "http", "port": target}]}],
    }
    for kind, body in (("pods", pod), ("services", service), ("endpoints", behind)):
        api.call("POST", f"{core}/{kind}", body, accept=(409,))
    ready = {"phase": "Running", "podIP": HOST, "podIPs": [{"ip": HOST}],
             "conditions": [{"type": "Ready", "status": "True"}]}  # fmt: skip
    api.call("PATCH", f"{core}/pods/{name}/status", {"status": ready})


@contextmanager
def running(folder: Path, target: str, port: int, *, past: str = "", interval: str = "1s") -> Iterator[str]:
    """A Prometheus of a test's own, whose URL it yields. target: HOST:PORT of the page that it scrapes.

    past: OpenMetrics text with times, from which its storage is made first.
    """
    if past:
        (folder / "past.txt").write_text(past)
        promtool = find().with_name("promtool")
        data = folder / "data"
        argv: Argv = [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "past.txt", data]
        subprocess.run(argv, check=True, capture_output=True)
    command = _command(folder, target, interval, port)
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()


def _command(folder: Path, target: str, interval: str, port: int) -> Argv:
    configuration = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [{"job_name": "gpu-pod-memory", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    return [
        find(), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}", "--storage.tsdb.retention.time=30d", "--log.level=warn",
    ]  # fmt: skip
