"""python -m lab up | status | down | run | nodes: the lab's command line."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import (
    binaries,
    certificates,
    controlplane,
    images,
    network,
    node,
    processes,
    prometheus,
    registry,
    simulated,
    weights,
)
from lab.console import LabError, say, step
from lab.hub import MODEL, client
from lab.paths import CACHE, NAME, STATE
from lab.processes import Service, answers


def up(*, with_node: bool = True) -> None:
    """Everything runs; what runs already is left alone."""
    # What comes from outside comes first: inside the namespace there is no outside.
    with step("programs, images, weights"):
        binaries.ensure()
        registry.find()
        prometheus.find()
        images.base_archive()
        weights.weights()
        client()
        if with_node:
            node.build()
    if network.exists() and not certificates.KUBECONFIG.exists():
        with step("remains of a crashed lab"):
            _clear()
    with step("network"):
        STATE.mkdir(parents=True, exist_ok=True)
        network.up()
        certificates.ensure()
    with step("control plane"):
        controlplane.up()
    with step("simulated nodes"):
        simulated.up()
    with step("registry"):
        registry.up()
    with step("images"), network.inside():
        images.publish(registry.ADDRESS)
    with step("speech server and hub"):
        processes.start([_speech(), _hub()])
    with step("card and Prometheus"):
        prometheus.up()
    if with_node:
        with step("node"):
            node.start()


def down() -> None:
    """Nothing of the lab is left, however it ended."""
    with step("down"):
        _clear()


def status() -> bool:
    """Prints a line a part; whether all that was started is up."""
    started = processes.records()
    if not network.exists() or not started:
        print(f"The lab {NAME!r} is not up. Start it: make lab")
        return False
    for record in started:
        state = f"running since {record.since}" if record.running else "NOT RUNNING"
        print(f"  {record.name:<24} {state}   log: {processes.LOGS / record.name}.log")
    running = {record.name for record in started if record.running}
    if {node.NAME, "kube-apiserver"} <= running:
        node.status()
    if len(running) < len(started):
        print("Start what is missing: make lab")
    return len(running) == len(started)


def run(command: list[str]) -> None:
    """This process becomes `command`, inside the lab. Does not return."""
    environment = {
        **os.environ,
        "KUBECONFIG": str(certificates.KUBECONFIG),
        "K8S_AUTH_KUBECONFIG": str(certificates.KUBECONFIG),
        "PORTAL_STT_LAB": NAME,
        "LAB_SSH_KEY": str(node.SSH_KEY),
        # All labs have the same address: one must not go on with the connection of another.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(STATE / "ssh"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with network.inside():
        try:
            os.execvpe(command[0], command, environment)
        except OSError as error:
            raise LabError(f"{command[0]} cannot be run: {error.strerror}") from error


def nodes(file: str | None) -> None:
    """The simulated nodes are those of a file: a path, or the name of one of lab/nodes/."""
    shipped = simulated.FILES / f"{file}.yml"
    with step(f"simulated nodes of {file}" if file else "no simulated nodes"):
        simulated.replace(None if file is None else shipped if shipped.exists() else Path(file))


def _clear() -> None:
    network.down()
    shutil.rmtree(STATE, ignore_errors=True)


def _speech() -> Service:
    """The stand-in of Speaches; it answers for every simulated pod with port 8000."""
    cache = STATE / "hub"
    if not cache.exists():
        weights.hub_cache(cache, MODEL)
    environment = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "STT_MODEL_TTL": "-1"}
    environment |= {"UVICORN_HOST": "0.0.0.0", "UVICORN_PORT": "8000"}
    argv = [sys.executable, "-m", "lab.speech.server"]
    return Service("speech", argv, answers("http://127.0.0.1:8000/health"), environment)


def _hub() -> Service:
    return Service("hub", [sys.executable, "-m", "lab.hub"], answers("http://127.0.0.1:8090/api/models"))


@contextmanager
def _alone() -> Iterator[None]:
    """One command that changes the lab at a time."""
    STATE.parent.mkdir(parents=True, exist_ok=True)
    with STATE.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that works on this lab")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="The lab for the demo and the tests.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    start = commands.add_parser("up", help="everything runs; what runs already is left alone")
    start.add_argument("--no-node", action="store_true", help="without the virtual machine: simulated nodes only")
    commands.add_parser("status", help="what runs, since when, and where its log is")
    commands.add_parser("down", help="nothing of the lab is left")
    inside = commands.add_parser("run", help="a command inside the lab: python -m lab run -- COMMAND ...")
    inside.add_argument("argv", nargs="+", metavar="COMMAND")
    which = commands.add_parser("nodes", help="replaces the simulated nodes")
    choice = which.add_mutually_exclusive_group(required=True)
    choice.add_argument("file", nargs="?", help="a node file, or the name of one of lab/nodes/: t4, mixed, …")
    choice.add_argument("--clear", action="store_true", help="no simulated nodes")
    return parser


def main() -> int:
    """Runs one command; the exit status."""
    given = _arguments().parse_args()
    try:
        if os.geteuid() != 0:
            raise LabError("The lab makes network namespaces and mounts: run it as root.")
        if given.command == "run":
            run(given.argv)
        if given.command == "status":
            return 0 if status() else 1
        with _alone():
            if given.command == "up":
                print(f"lab {NAME!r}: state in {STATE}, cache in {CACHE}", flush=True)
                up(with_node=not given.no_node)
            elif given.command == "down":
                down()
            else:
                nodes(given.file)
    except (RuntimeError, OSError) as error:  # LabError, and what requests raises
        print(f"lab: {error}", file=sys.stderr)
        if isinstance(error, FileNotFoundError):
            print("Set the machine up: python3 -m lab.bootstrap", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
