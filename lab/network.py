"""The lab's network namespace. Nothing of the host's own network is read or changed.

Addresses inside: 10.77.0.1 is the host's side (API server, registry), 10.77.0.2 the node, 10.77.1.0/24 the
pods on it; 10.89.0.0/16 are simulated pods, all of them local, so that a process which listens on 0.0.0.0
answers for each of them.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.console import LabError
from lab.paths import NAME

NAMESPACE = f"stt-{NAME}"
HOST = "10.77.0.1"
NODE = "10.77.0.2"
NODE_PODS = "10.77.1.0/24"
SIMULATED_PODS = "10.89.0.0/16"
SERVICES = "10.88.0.0/16"
TAP = "tap0"

_HANDLE = Path("/run/netns") / NAMESPACE
_CLONE_NEWNET = 0x40000000


def exists() -> bool:
    return _HANDLE.exists()


def up() -> None:
    """Makes the namespace and what is in it; what is there already stays.

    Raises LabError where the kernel has no TUN/TAP devices or the name of the lab is unusable.
    """
    if not re.fullmatch(r"[a-z0-9-]{1,20}", NAME):
        raise LabError(f"PORTAL_STT_LAB is {NAME!r}: take 1 to 20 lower-case letters, digits and dashes.")
    if not Path("/dev/net/tun").exists():
        raise LabError("The kernel offers no tap device (/dev/net/tun is missing). Load its module: modprobe tun")
    if not exists():
        _ip("netns", "add", NAMESPACE)
    _ip("-n", NAMESPACE, "link", "set", "lo", "up")
    if not inside_run("ip", "-brief", "link", "show", "dev", TAP, check=False):
        _ip("-n", NAMESPACE, "tuntap", "add", TAP, "mode", "tap")
    for line in (
        f"address replace {HOST}/24 dev {TAP}",
        f"link set {TAP} up",
        f"route replace {NODE_PODS} via {NODE} dev {TAP}",
        f"route replace local {SIMULATED_PODS} dev lo",
    ):
        _ip("-n", NAMESPACE, *line.split())


def down() -> None:
    """Ends every process inside, then removes the namespace; nothing happens if there is none."""
    if not exists():
        return
    _end(pids())
    _ip("netns", "delete", NAMESPACE)


def pids() -> list[int]:
    """Processes inside, without this one and those that it runs below."""
    ours = set(_ancestors(os.getpid()))
    return [pid for pid in map(int, _ip("netns", "pids", NAMESPACE).split()) if pid not in ours]


@contextmanager
def inside() -> Iterator[None]:
    """The calling thread, and the threads and processes that it starts, are in the namespace meanwhile."""
    if not exists():
        raise LabError("The lab is not up. Start it: make lab")
    with open("/proc/thread-self/ns/net") as before, _HANDLE.open() as handle:
        _setns(handle.fileno())
        try:
            yield
        finally:
            _setns(before.fileno())


def inside_run(*argv: str | Path, check: bool = True) -> str:
    """Standard output of a command in the namespace. Raises LabError with its standard error when it fails."""
    return _run(command(argv), check=check)


def command(argv: Sequence[str | Path]) -> list[str]:
    """`argv` so that it runs in the namespace, in the same process id."""
    return ["nsenter", f"--net={_HANDLE}", "--", *map(str, argv)]


def _setns(handle: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, _CLONE_NEWNET):
        raise LabError(f"The network namespace cannot be entered: {os.strerror(ctypes.get_errno())}. Run as root.")


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])


def _end(running: list[int], grace: float = 1.0) -> None:
    """SIGTERM, and SIGKILL after `grace` seconds: an API server would drain its watches for a minute."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        until = time.monotonic() + patience
        while running and time.monotonic() < until:
            time.sleep(0.05)
            running = pids()
    if running:
        raise LabError(f"Processes {running} of the lab do not end. Look at them with: ps -fp {running[0]}")


def _ip(*arguments: str) -> str:
    return _run(["ip", *arguments])


def _run(argv: Sequence[str], *, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode and check:
        raise LabError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout if done.returncode == 0 else ""
