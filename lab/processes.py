"""Services of the lab: processes in its network namespace that outlive the command which started them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lab import network
from lab.console import LabError
from lab.paths import ROOT, STATE

LOGS = STATE / "logs"
_RECORDS = STATE / "services"

Argv = Sequence[str | Path]


@dataclass(frozen=True)
class Service:
    """A process and how one knows that it works.

    ready: asked, from inside the namespace, until it is true; OSError means no.
    patience: seconds until a start counts as failed.
    """

    name: str
    argv: Argv
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    patience: float = 60

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"


@dataclass(frozen=True)
class Record:
    """What is known of a service that was started: enough to find its process again, and no other one."""

    name: str
    pid: int
    ticks: int
    """Start time of the process in clock ticks since boot: a process id alone may have a new owner."""
    argv: list[str]
    environment: dict[str, str]
    since: str

    @property
    def running(self) -> bool:
        return _ticks(self.pid) == self.ticks


def start(services: Sequence[Service]) -> None:
    """Starts those of `services` that do not run as described, and waits until all of them are ready.

    Raises LabError with the end of the log when one ends or is not ready in time.
    """
    for service in services:
        record = _record(service.name)
        if record and record.running:
            if (record.argv, record.environment) == _identity(service):
                continue
            stop(service.name)
        _spawn(service)
    with network.inside():
        for service in services:
            _wait(service)


def stop(name: str, grace: float = 3.0) -> None:
    """Ends a service (SIGTERM, after `grace` seconds SIGKILL); nothing happens if it does not run."""
    record = _record(name)
    if record is None:
        return
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        until = time.monotonic() + patience
        if record.running:
            os.kill(record.pid, number)
        while record.running and time.monotonic() < until:
            time.sleep(0.02)
    (_RECORDS / f"{name}.json").unlink()


def records() -> list[Record]:
    """Every service that was started and not stopped, in order of the start; it may have died since."""
    found = [Record(**json.loads(path.read_text())) for path in _RECORDS.glob("*.json")]
    return sorted(found, key=lambda record: record.ticks)


def answers(url: str, status: int = 200) -> Callable[[], bool]:
    """A check that an HTTP(S) address answers with `status`; the certificate does not matter."""
    import requests
    import urllib3

    urllib3.disable_warnings()

    def check() -> bool:
        return requests.get(url, verify=False, timeout=2).status_code == status

    return check


def _spawn(service: Service) -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    _RECORDS.mkdir(parents=True, exist_ok=True)
    with service.log.open("ab") as log:
        process = subprocess.Popen(
            network.command(service.argv),
            env={**os.environ, **service.environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    argv, environment = _identity(service)
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    record = Record(service.name, process.pid, _ticks(process.pid) or 0, argv, environment, since)
    (_RECORDS / f"{service.name}.json").write_text(json.dumps(record.__dict__))


def _wait(service: Service) -> None:
    until = time.monotonic() + service.patience
    while True:
        record = _record(service.name)
        if record is None or not record.running:
            raise LabError(f"{service.name} ended. {_tail(service.log)}")
        try:
            if service.ready():
                return
        except OSError:  # also what requests raises
            pass
        if time.monotonic() > until:
            raise LabError(f"{service.name} is not ready after {service.patience:.0f} s. {_tail(service.log)}")
        time.sleep(0.1)


def _tail(log: Path, lines: int = 8) -> str:
    end = log.read_text(errors="replace").splitlines()[-lines:]
    return f"The end of {log}:\n" + "\n".join(f"    {line}" for line in end)


def _record(name: str) -> Record | None:
    path = _RECORDS / f"{name}.json"
    return Record(**json.loads(path.read_text())) if path.exists() else None


def _identity(service: Service) -> tuple[list[str], dict[str, str]]:
    return [str(part) for part in service.argv], dict(service.environment)


def _ticks(pid: int) -> int | None:
    """Start time of a process; None when there is none, or only its remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
