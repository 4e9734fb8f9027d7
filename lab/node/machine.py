"""The machine: QEMU on the lab's tap device, with KVM where a kernel really boots with it, else emulated."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path

from lab.console import LabError, say
from lab.network import NODE, TAP
from lab.node.disk import STORE, Disk
from lab.processes import Service

QEMU = "qemu-system-x86_64"
MEMORY_MIB = 4096
CPUS = 2

EMULATED = ("-accel", "tcg,thread=multi", "-cpu", "max")
HARDWARE = (
    ("-accel", "kvm", "-cpu", "host"),
    ("-accel", "kvm", "-cpu", "host,-arch-capabilities"),  # nested KVM may refuse to set that register
)
_PROBE_SECONDS = 10
"""A kernel takes one or two with KVM that is worth having."""


def service(name: str, disk: Disk, configuration: Path) -> Service:
    """The machine as a service whose log is its console; it is ready when its SSH server answers.

    Everything it writes is thrown away when it ends, and outlives a reboot of the guest.
    """

    def drive(image: Path, more: str) -> tuple[str, str]:
        return "-drive", f"file={image},format=raw,if=virtio,{more}"

    argv: list[str | Path] = [
        *(_program(), "-name", name, "-nodefaults", "-display", "none", "-serial", "stdio"),
        *acceleration(disk),
        *("-smp", str(CPUS), "-m", str(MEMORY_MIB)),
        *("-kernel", disk.kernel, "-initrd", disk.initrd),
        *(
            "-append",
            "root=/dev/vda rw console=ttyS0 quiet mitigations=off tsc=reliable panic=1 TERM=dumb 8250.nr_uarts=1",
        ),
        *drive(disk.root, "snapshot=on,cache=unsafe"),
        *drive(disk.share, "snapshot=on,cache=unsafe"),
        *drive(configuration, "readonly=on"),
        *("-netdev", f"tap,id=lab,ifname={TAP},script=no,downscript=no"),
        *("-device", "virtio-net-pci,netdev=lab"),
        *("-device", "virtio-rng-pci"),
    ]
    return Service(name, argv, _ssh_answers, {"TMPDIR": str(STORE)}, patience=600)


def acceleration(disk: Disk) -> tuple[str, ...]:
    """QEMU's options for the fastest CPU that works here; LAB_ACCEL (kvm or tcg) forces one.

    KVM that is offered may still refuse a register or be slower than emulation, so the disk's kernel is
    booted until it misses its root file system. What came out is kept for this kernel, QEMU and machine.
    """
    forced = os.environ.get("LAB_ACCEL", "")
    if forced not in {"", "kvm", "tcg"}:
        raise LabError(f"LAB_ACCEL is {forced!r}: take kvm, tcg, or leave it out.")
    if forced == "tcg" or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        if forced == "kvm":
            raise LabError("LAB_ACCEL is kvm, but /dev/kvm cannot be opened. Load the module, or leave LAB_ACCEL out.")
        return EMULATED
    found = _probed(disk)
    if found is None and forced == "kvm":
        raise LabError(f"LAB_ACCEL is kvm, but no kernel boots with it in {_PROBE_SECONDS} s. Leave LAB_ACCEL out.")
    return EMULATED if found is None else HARDWARE[found]


def _probed(disk: Disk) -> int | None:
    """Which of HARDWARE boots a kernel; None where none does."""
    version = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True).stdout
    machine = f"{version} {platform.release()} {_cpu()} {disk.kernel.stat().st_size}"
    answer = STORE / f"kvm-{hashlib.sha256(machine.encode()).hexdigest()[:12]}"
    if not answer.exists():
        say("trying KVM")
        working = (number for number, options in enumerate(HARDWARE) if _boots(disk, options))
        answer.write_text(str(next(working, "")))
        say("KVM works" if answer.read_text() else "KVM does not boot a kernel here: the node is emulated")
    return int(kept) if (kept := answer.read_text()) else None


def _boots(disk: Disk, options: tuple[str, ...]) -> bool:
    argv = [_program(), *options, "-smp", str(CPUS), "-m", "1024", "-nodefaults", "-display", "none"]
    argv += ["-serial", "stdio", "-no-reboot", "-kernel", str(disk.kernel)]
    argv += ["-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return b"Unable to mount root fs" in done.stdout


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line for line in lines if line.startswith("model name")), "")


def _program() -> str:
    if found := shutil.which(QEMU):
        return found
    raise LabError(f"{QEMU} is missing. Install it: apt-get install qemu-system-x86")


def _ssh_answers() -> bool:
    with socket.create_connection((NODE, 22), timeout=2) as connection:
        return connection.recv(4) == b"SSH-"
