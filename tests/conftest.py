"""What tests share: a way to run a playbook and to read what it did."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NVIDIA_SMI = ROOT / "tests" / "fixtures" / "nvidia-smi" / "t4-530.txt"
"""What `nvidia-smi --query-gpu=compute_cap` and `nvidia-smi -q` (its head) say on a T4 with driver 530."""
_RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>ok=.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """A finished ansible-playbook: exit status, everything it printed, and the recap as counts by host."""

    rc: int
    output: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        return {
            match["host"]: {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", match["counts"])}
            for match in _RECAP.finditer(self.output)
        }

    @property
    def changed(self) -> int:
        return sum(counts["changed"] for counts in self.recap.values())


def play(playbook: str, *args: str, environment: Mapping[str, str] | None = None) -> Played:
    """Runs a playbook of the checkout as an operator does, without colours."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory/lab", playbook, *args],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Played(done.returncode, done.stdout + done.stderr)


def until(
    done: Callable[[], Any],
    seconds: float = 240,
    evidence: Callable[[], object] = lambda: "nothing else is known",
    *,
    every: float = 1,
) -> Any:
    """What `done` gives, once it gives something; asked every so many seconds. Fails after `seconds`, with evidence."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain: {evidence()}"
        time.sleep(every)
    return found
