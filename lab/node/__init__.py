"""The lab's real node: a Debian virtual machine that is Kubernetes node `gpu-node-1` and the NFS host.

It has what the first operator's host has: a kubelet with containerd, a Tesla T4 as the cluster sees one, and
/srv/nfs-ssd, a file system of its own that /etc/exports already exports. Its GPU is only said to be there: no
device plugin, no card. Debian 12, or another suite by LAB_SUITE.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lab import api, certificates, network, processes, simulated
from lab.certificates import PKI
from lab.console import LabError, say
from lab.network import NODE
from lab.node import disk, machine
from lab.paths import STATE, alone

NAME = "gpu-node-1"
SSH_KEY = STATE / "ssh_key"
KNOWN_HOSTS = STATE / "ssh_known_hosts"

_CONFIGURATION = STATE / "node-configuration.img"


def build() -> disk.Disk:
    """The disk image, made unless it is in the cache. Needs the outside network."""
    return disk.build(os.environ.get("LAB_SUITE", "bookworm"))


def start() -> None:
    """The node is Ready and looks like the first operator's; what runs already stays.

    Raises LabError with the end of the console and of the kubelet's journal when it does not get there.
    """
    image = build()
    if not _CONFIGURATION.exists():
        _write_configuration()
    service = machine.service(NAME, image, _CONFIGURATION)
    with alone(disk.STORE / "boot.lock"):  # several that boot at once starve each other
        began = time.monotonic()
        say(f"booting with {'KVM' if 'kvm' in service.argv else 'an emulated CPU'}, console in {service.log}")
        processes.start([service])
        say(f"SSH answers after {time.monotonic() - began:.1f} s")
        _wait_until_ready()
        say(f"Ready after {time.monotonic() - began:.1f} s")


def stop() -> None:
    """The machine is gone with all that it wrote. It is not shut down: nothing of it is kept."""
    processes.stop(NAME)


def status() -> None:
    """Prints what the API server says of the node."""
    with network.inside():
        ready = _ready_condition()
    if ready is None:
        print(f"  {NAME} is not in the cluster")
    else:
        print(f"  {NAME:<24} Ready={ready['status']} ({ready['message']})")


def ssh(command: str, *, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """What a command did that root's shell ran on the node.

    Raises subprocess.TimeoutExpired after `seconds`. Exit status 255 is SSH's own: no connection.
    """
    options = {"BatchMode": "yes", "ConnectTimeout": "10", "LogLevel": "ERROR", "UserKnownHostsFile": str(KNOWN_HOSTS)}
    argv = ["ssh", "-i", str(SSH_KEY), *(f"-o{key}={value}" for key, value in options.items()), f"root@{NODE}", command]
    return subprocess.run(network.command(argv), capture_output=True, text=True, timeout=seconds, check=False)


def reboot() -> None:
    """The node has booted again, with its disks as they were, and is Ready."""
    before = _boot()
    with suppress(subprocess.TimeoutExpired):  # the connection may hang when the guest goes
        ssh("systemctl reboot", seconds=30)
    _wait(lambda: _boot() not in {"", before}, f"{NAME} did not come back from a reboot", seconds=600)
    _wait_until_ready()


def _write_configuration() -> None:
    """A small file system with what only this lab's node has; /etc/lab on the node. The disk image has no secrets."""
    with tempfile.TemporaryDirectory(dir=STATE) as scratch:
        folder = Path(scratch, "lab")
        folder.mkdir()
        for key in (SSH_KEY, folder / "ssh_host_ed25519_key"):
            key.unlink(missing_ok=True)
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", key)
        host_key = (folder / "ssh_host_ed25519_key.pub").read_text()
        KNOWN_HOSTS.write_text(f"{NODE} {host_key}")
        shutil.copy(SSH_KEY.with_suffix(".pub"), folder / "authorized_keys")
        shutil.copy(PKI / "ca.crt", folder)
        (folder / "kubelet.kubeconfig").write_text(certificates.kubeconfig_for(f"system:node:{NAME}", ["system:nodes"]))
        for file in folder.iterdir():
            file.chmod(0o600)
        image = Path(scratch, "image")
        _run("mkfs.ext4", "-q", "-L", "lab-config", "-O", "^has_journal", "-d", folder, image, "4M")
        image.chmod(0o600)
        image.rename(_CONFIGURATION)


def _wait_until_ready() -> None:
    """The kubelet that runs now says Ready, and the node has its GPU."""

    def ready() -> bool:
        try:
            with network.inside():
                found = _ready_condition()
                if found is None or found["status"] != "True":
                    return False
                _publish_gpu()
        except OSError as error:  # a busy API server may not answer for a while; one that is gone never will
            if not any(one.name == "kube-apiserver" and one.running for one in processes.records()):
                raise LabError(f"{NAME} cannot become Ready: kube-apiserver does not run. {error}") from error
            return False
        return True

    _wait(ready, f"{NAME} is not Ready", seconds=600)


def _publish_gpu() -> None:
    """Labels, taint and seats of the card, as GPU operator, device plugin and administrator leave them.

    The kubelet keeps an extended resource that it has no device plugin for, also over its own restart.
    """
    like = next(simulated.expand(simulated.Declared(NAME)))
    labels = {key: value for key, value in like["metadata"]["labels"].items() if key.startswith("nvidia.com/")}
    seats = {"nvidia.com/gpu": like["status"]["capacity"]["nvidia.com/gpu"]}
    path = f"/api/v1/nodes/{NAME}"
    api.call("PATCH", path, {"metadata": {"labels": labels}, "spec": {"taints": like["spec"]["taints"]}})
    api.call("PATCH", f"{path}/status", {"status": {"capacity": seats, "allocatable": seats}})


def _ready_condition() -> dict[str, str] | None:
    """The node's condition Ready; None where the node is unknown."""
    node = api.call("GET", f"/api/v1/nodes/{NAME}", accept=(404,))
    conditions = node.get("status", {}).get("conditions", []) if node["kind"] == "Node" else []
    return next((condition for condition in conditions if condition["type"] == "Ready"), None)


def _boot() -> str:
    """Identity of the guest's current boot; empty while it cannot be asked."""
    with suppress(subprocess.TimeoutExpired):
        return ssh("cat /proc/sys/kernel/random/boot_id", seconds=30).stdout.strip()
    return ""


def _wait(done: Callable[[], bool], otherwise: str, *, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise LabError(f"{otherwise} after {seconds:.0f} s.\n{_evidence()}")
        time.sleep(0.5)


def _evidence() -> str:
    """The end of the guest's console and of its kubelet's journal."""
    console = (processes.LOGS / f"{NAME}.log").read_text(errors="replace").splitlines()[-10:]
    try:
        journal = ssh("journalctl --unit kubelet --output cat --lines 15 --no-pager", seconds=30)
        said = (journal.stdout or journal.stderr).splitlines()
    except subprocess.TimeoutExpired:
        said = ["SSH connects, but no answer came in 30 s."]
    parts = {f"The end of its console ({processes.LOGS / NAME}.log)": console, "The end of the kubelet's journal": said}
    return "\n".join(f"{title}:\n" + "\n".join(f"    {line}" for line in lines) for title, lines in parts.items())


def _run(*argv: str | Path) -> None:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{argv[0]} failed: {done.stderr.strip()}")
