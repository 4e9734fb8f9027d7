"""The lab's NFS host as tests use it: one SSH connection, a shell, the export table, and the module run there."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible
import dnslib
from ansible_collections.portal.stt.plugins.module_utils._exports.export import Table, parse_table

from lab.node import disk
from lab.paths import alone

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "10.77.0.2"
EXPORTS = "/srv/nfs-ssd *(rw,sync,no_subtree_check,no_root_squash,insecure,fsid=1)\n"
OTHERS = """# of somebody else
/srv/nfs-ssd/others/music 10.77.0.0/16(ro,no_subtree_check)
/srv/nfs-ssd/others/photos 10.77.0.7(rw,no_subtree_check) @house(ro,no_subtree_check)
"""
PATH = "/srv/nfs-ssd/torture"
FILE = "/etc/exports.d/torture.exports"
CLIENT = {"host": "10.77.0.0/24", "options": ["rw", "sync", "no_subtree_check", "root_squash"]}
PRESENT: Mapping[str, Any] = {
    "name": "torture",
    "path": PATH,
    "clients": [CLIENT],
    "directories": [{"path": ".", "owner": 1000, "group": 1000, "mode": "0755"}],
    "require_mountpoint": "/srv/nfs-ssd",
}
ABSENT: Mapping[str, Any] = {"name": "torture", "path": PATH, "state": "absent"}

FLAG = """flag() { python3 -c '
import fcntl, os, struct, sys
for path in sys.argv[2:]:
    if os.path.exists(path):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        flags, = struct.unpack("l", fcntl.ioctl(handle, 0x80086601, bytes(8)))
        fcntl.ioctl(handle, 0x40086602, struct.pack("l", flags | 16 if sys.argv[1] == "+" else flags & ~16))
' "$@"; }; flag"""
"""chattr(1) for the immutable flag alone, which Debian's smallest installation lacks: FLAG + FILE."""
NAME_SERVER = """cp -n /etc/resolv.conf /run/torture.resolv 2>/dev/null
printf 'search example.lan\\nnameserver 127.0.0.1\\n' > /etc/resolv.conf
python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x49))'  # loopback is up
python3 /run/portal-stt-test/nfs_host_dns.py > /dev/null 2>&1 & echo $! > /run/torture.dns
until getent hosts nas > /dev/null; do sleep 0.1; done
"""
"""A name server on the host, which knows a machine by two names, and a search domain for their short forms."""
_RESET = f"""
kill $(cat /run/torture.dns) 2>/dev/null; rm -f /run/torture.dns
[ ! -e /run/torture.resolv ] || mv /run/torture.resolv /etc/resolv.conf
for mount in /usr/sbin/exportfs /usr/bin/unshare /etc/exports.d /var/lib/nfs /srv/torture-disk {PATH}/disk; do
  while umount -l $mount 2>/dev/null; do :; done
done
{FLAG} - /etc/exports {FILE} {PATH}/model 2>/dev/null
rm -rf /etc/exports /etc/exports.d /srv/torture-disk
rm -rf {PATH} /srv/nfs-ssd/others /srv/nfs-ssd/many "/srv/nfs-ssd/моят глас"
mkdir -p /etc/exports.d /srv/nfs-ssd/others/music /srv/nfs-ssd/others/photos
printf %s '{EXPORTS}' > /etc/exports
printf %s '{OTHERS}' > /etc/exports.d/others.exports
exportfs -ra
"""
_LIBRARY = "/run/portal-stt-test"
_SSH = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")


def with_client(**client: Any) -> Mapping[str, Any]:
    """PRESENT for another client, or with other options for it."""
    return {**PRESENT, "clients": [{**CLIENT, **client}]}


@dataclass(frozen=True)
class Ran:
    """A run of the module: its result (None when it was killed) and the steps it took."""

    result: dict[str, Any] | None
    steps: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What came of it, in one word."""
        if self.result is None:
            return "killed"
        return "refused" if self.result.get("failed") else "changed" if self.result["changed"] else "unchanged"

    @property
    def message(self) -> str:
        """What the operator reads of a refusal."""
        return str((self.result or {}).get("msg", ""))

    def finding(self, check: str) -> dict[str, Any] | None:
        """The first finding of this check."""
        findings = (self.result or {}).get("findings", [])
        return next((each for each in findings if each["check"] == check), None)


class NfsHost:
    """The host; every call is answered by the agent that waits at the other end of the connection."""

    def __init__(self, agent: subprocess.Popen[str]) -> None:
        self._agent = agent

    def sh(self, script: str, *, check: bool = True) -> str:
        """What the script printed; it has to succeed unless `check` is false."""
        done = self._ask(sh=script)
        assert done["rc"] == 0 or not check, f"{script}\n{done['out']}{done['err']}"
        return str(done["out"])

    def reset(self) -> None:
        """The host as each test finds it: the tree exported to all, two exports of others, nothing of ours."""
        self.sh(_RESET, check=False)

    def run(self, *, kill_at: int = 0, within: bool = False, **params: Any) -> Ran:
        """The module with these parameters."""
        return self._runs({"params": params, "kill_at": kill_at, "within": within})[0]

    def run_together(self, *params: Mapping[str, Any]) -> list[Ran]:
        """The module several times at once."""
        return self._runs(*({"params": dict(each)} for each in params))

    def _runs(self, *runs: dict[str, Any]) -> list[Ran]:
        return [Ran(done["result"], tuple(done["steps"])) for done in self._ask(runs=list(runs))]

    @property
    def table(self) -> Table:
        """The export table as it is served."""
        return parse_table(self.sh("exportfs -s"))

    @property
    def process(self) -> int:
        """Whose namespaces a stand-in is."""
        return int(Path(f"/proc/{self._agent.pid}/task/{self._agent.pid}/children").read_text().split()[0])

    def _ask(self, **request: Any) -> Any:
        assert self._agent.stdin
        assert self._agent.stdout
        self._agent.stdin.write(json.dumps(request) + "\n")
        self._agent.stdin.flush()
        answer = self._agent.stdout.readline()
        assert answer, "the connection to the NFS host is gone"
        return json.loads(answer)


@contextmanager
def connected() -> Iterator[NfsHost]:
    """The lab's host, with what the module imports copied there; it gets back the exports that it had."""
    ssh = ["ssh", "-i", os.environ["LAB_SSH_KEY"], *_SSH, f"root@{ADDRESS}"]
    unpack = f"rm -rf {_LIBRARY}; mkdir {_LIBRARY}; tar -xz -C {_LIBRARY}"
    subprocess.run([*ssh, unpack], input=_library(), check=True)
    start = f"PYTHONPATH={_LIBRARY} exec python3 {_LIBRARY}/nfs_host_agent.py"
    with subprocess.Popen([*ssh, start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        host = NfsHost(agent)
        host.sh(
            "rm -rf /run/torture.etc; mkdir /run/torture.etc; cp -a /etc/exports /etc/exports.d /run/torture.etc/; true"
        )
        yield host
        host.reset()
        host.sh("rm -rf /srv/nfs-ssd/others /etc/exports /etc/exports.d; cp -a /run/torture.etc/. /etc/; exportfs -ra")
        assert agent.stdin
        agent.stdin.close()


_STAND_IN = """set -e
cd "$1"
mount --bind . .
cd "$1"
mount --rbind /dev dev
mount -t proc proc proc
mount -t tmpfs tmpfs proc/fs
mkdir -p proc/fs/nfsd etc/exports.d srv/nfs-ssd
mount -t tmpfs -o size=1g tmpfs srv/nfs-ssd
echo 8 > proc/fs/nfsd/threads
echo '-3 +4 +4.1 +4.2' > proc/fs/nfsd/versions
echo '0x3feff 0xf' > proc/fs/nfsd/export_features
echo '10.77.0.2 gpu-node-1' >> etc/hosts
pivot_root . mnt
umount -l /mnt
cp /usr/bin/sleep /run/rpc.mountd
/run/rpc.mountd infinity > /dev/null 2>&1 &
exec python3 "$2/nfs_host_agent.py"
"""


@contextmanager
def stand_in(suite: str) -> Iterator[NfsHost]:
    """A stand-in for the host: its Debian in private namespaces of this machine, with no kernel server behind it.

    What the parser decides is real. Mounts and the kernel's own refusals need the lab's host.
    """
    with alone(disk.BUILD):
        archive = disk.root_file_system(suite)
    with tempfile.TemporaryDirectory(prefix="nfs-host-") as root:
        needless = [f"--exclude=./{each}" for each in ("boot", "dev/*", "usr/lib/modules", "var/cache", "var/lib/apt")]
        subprocess.run(["tar", "-x", "-C", root, "-f", archive, "--numeric-owner", *needless], check=True)
        library = Path(f"{root}{_LIBRARY}")
        library.mkdir()
        subprocess.run(["tar", "-xz", "-C", library], input=_library(), check=True)
        argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", _STAND_IN]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": _LIBRARY}
        with subprocess.Popen(
            [*argv, "stand-in", root, _LIBRARY],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            host = NfsHost(process)
            yield host
            host.reset()  # no immutable file is left
            assert process.stdin
            process.stdin.close()


_SSHD = "/usr/sbin/sshd -i -f /dev/null -o UsePAM=no"


def by_ssh(host: NfsHost) -> tuple[dict[str, Any], str]:
    """How Ansible gets to a stand-in: variables of the host, and a private key. Each connection has an sshd of its own,
    which needs no network."""
    host.sh("ssh-keygen -A > /dev/null; mkdir -p /run/sshd /root/.ssh; rm -f /run/key; "
            "ssh-keygen -q -t ed25519 -N '' -f /run/key; mv /run/key.pub /root/.ssh/authorized_keys")  # fmt: skip
    through = f"nsenter --target {host.process} --mount --net --pid --root --wd {_SSHD}"
    return {
        "ansible_host": "stand-in",
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": " ".join([*_SSH, f'-o ProxyCommand="{through}"']),
    }, host.sh("cat /run/key; rm /run/key")


def _library() -> bytes:
    """A tar of the module, its module_utils, ansible-core's, and the agent."""
    core = Path(ansible.__file__).parent
    ours = "ansible_collections/portal/stt/plugins"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:

        def add(path: Path, name: str) -> None:
            tar.add(path, name, filter=lambda each: None if "__pycache__" in each.name else each)

        for name in ("__init__.py", "release.py", "module_utils", "_vendor"):
            add(core / name, f"ansible/{name}")
        add(ROOT / "plugins/module_utils", f"{ours}/module_utils")
        add(ROOT / "plugins/modules/nfs_export.py", f"{ours}/modules/nfs_export.py")
        for name in ("nfs_host_agent.py", "nfs_host_dns.py"):
            add(Path(__file__).with_name(name), name)
        add(Path(dnslib.__file__).parent, "dnslib")
    return packed.getvalue()
