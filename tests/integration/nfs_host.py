"""The lab's NFS host as tests use it: one SSH connection, a shell, the export table, and the module run there."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible
from ansible_collections.portal.stt.plugins.module_utils._exports import Table, parse_table

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "10.77.0.2"
_LIBRARY = "/run/portal-stt-test"
_SSH = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")


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
    """The host with what the module imports, copied there as Ansible would ship it."""
    ssh = ["ssh", "-i", os.environ["LAB_SSH_KEY"], *_SSH, f"root@{ADDRESS}"]
    unpack = f"rm -rf {_LIBRARY}; mkdir {_LIBRARY}; tar -xz -C {_LIBRARY}"
    subprocess.run([*ssh, unpack], input=_library(), check=True)
    start = f"PYTHONPATH={_LIBRARY} exec python3 {_LIBRARY}/nfs_host_agent.py"
    with subprocess.Popen([*ssh, start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        yield NfsHost(agent)
        assert agent.stdin
        agent.stdin.close()


_STAND_IN = """set -e
scratch=$1
mkdir -p $scratch/etc $scratch/work $scratch/bin
mount -t overlay -o lowerdir=/etc,upperdir=$scratch/etc,workdir=$scratch/work overlay /etc
mkdir -p /etc/exports.d
printf '10.77.0.2 gpu-node-1\n' >> /etc/hosts
for folder in /var/lib /run /srv; do mount -t tmpfs tmpfs $folder; done
mkdir /var/lib/nfs /srv/nfs-ssd
mount -t tmpfs tmpfs /srv/nfs-ssd
mount -t tmpfs tmpfs /proc/fs/nfsd
echo 8 > /proc/fs/nfsd/threads
echo '-3 +4 +4.1 +4.2' > /proc/fs/nfsd/versions
echo '0x3feff 0xf' > /proc/fs/nfsd/export_features
cp $(command -v sleep) $scratch/bin/rpc.mountd
$scratch/bin/rpc.mountd infinity > /dev/null 2>&1 &
exec "$2" "$3"
"""


@contextmanager
def stand_in(scratch: Path) -> Iterator[NfsHost]:
    """A stand-in for the host: this machine's own exportfs in private namespaces, with no kernel server behind it.

    What the parser decides is real. Mounts and the kernel's own refusals need the lab's host.
    """
    agent = Path(__file__).with_name("nfs_host_agent.py")
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _STAND_IN]
    argv += ["stand-in", str(scratch), sys.executable, str(agent)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield NfsHost(process)
        assert process.stdin
        process.stdin.close()


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
        add(Path(__file__).with_name("nfs_host_agent.py"), "nfs_host_agent.py")
    return packed.getvalue()
