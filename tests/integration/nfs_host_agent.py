"""Runs on the NFS host and answers requests, one JSON line each: a shell script, or the module, maybe killed.

The module runs as Ansible runs it, its parameters handed to AnsibleModule, in a forked process of its own; only
the imports are shared between the runs. It can be killed with SIGKILL before its n-th step that changes something.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

from ansible.module_utils.testing import patch_module_args
from ansible_collections.portal.stt.plugins.modules import nfs_export

_CHANGES = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.chmod",
    "os.chown",
    "subprocess.Popen",
    "shutil.rmtree",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main() -> None:
    """Answers until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = _shell(request["sh"]) if "sh" in request else _modules(**request)
        print(json.dumps(answer), flush=True)


def _shell(script: str) -> dict[str, Any]:
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, errors="surrogateescape", check=False)
    return {"rc": done.returncode, "out": done.stdout, "err": done.stderr}


def _modules(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results and steps of modules that run at the same time."""
    return [_finished(*each) for each in [_started(**run) for run in runs]]


def _started(params: dict[str, Any], kill_at: int = 0, within: bool = False) -> tuple[int, int, int]:
    """Process, output and steps; `kill_at` kills it before that step, `within` just after the step began."""
    output, steps = os.memfd_create("output"), os.memfd_create("steps")
    child = os.fork()
    if not child:
        _run(params, output, steps, kill_at, within)
    return child, output, steps


def _finished(child: int, output: int, steps: int) -> dict[str, Any]:
    _, status = os.waitpid(child, 0)
    printed = os.pread(output, 2**24, 0).decode("utf-8", "surrogateescape")
    taken = os.pread(steps, 2**24, 0).decode("utf-8", "surrogateescape").splitlines()
    os.close(output)
    os.close(steps)
    killed = os.WIFSIGNALED(status)
    return {"steps": taken, "result": None if killed else json.loads(printed)}


def _run(params: dict[str, Any], output: int, steps: int, kill_at: int, within: bool) -> None:
    os.setsid()
    os.dup2(output, 1)
    count = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _CHANGES and not (event == "open" and isinstance(args[2], int) and args[2] & _WRITES):
            return
        count += 1
        what = " ".join(map(str, args[1][:2])) if event == "subprocess.Popen" else str(args[0])
        os.write(steps, f"{event} {what}\n".encode("utf-8", "surrogateescape"))
        if count == kill_at and within:
            threading.Timer(0.02, os.killpg, (os.getpid(), signal.SIGKILL)).start()
        elif count == kill_at:
            os.killpg(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    code = 1
    with contextlib.suppress(SystemExit), patch_module_args(params):
        nfs_export.main()
        code = 0
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
