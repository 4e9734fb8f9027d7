"""gpu_node_info on thousands of nodes, paired with one raw list request of the same nodes.

Inside a lab: python -m lab nodes fleet-5000; python -m lab run -- python -m benchmarks.gpu_nodes

Both sides are processes of their own that import the same client; `start` is what that alone costs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from ansible_collections.portal.stt.plugins.module_utils._gpu_nodes import PRESENT, selector_text

ROUNDS = 5
_COMMON = """
import sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.portal.stt.plugins.modules import gpu_node_info
"""
_CONNECT = """
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.portal.stt.plugins.module_utils._cluster import connect
with patch_module_args({}):
    cluster = connect(AnsibleModule(argument_spec=AUTH_ARG_SPEC))
"""
SIDES = {
    "start": _COMMON + _CONNECT,
    "raw list": _COMMON
    + _CONNECT
    + f"""
print(len(cluster.request("GET", "/api/v1/nodes", query={{"labelSelector": {selector_text(PRESENT)!r}}})))
""",
    "gpu_node_info": _COMMON
    + """
with patch_module_args({}):
    gpu_node_info.main()
""",
}


@dataclass(frozen=True)
class Run:
    """One process: wall seconds and those of processor time, peak resident memory in MiB, and what it printed."""

    seconds: float
    cpu: float
    mib: float
    printed: str


def measure(program: str) -> Run:
    begin = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"failed: {printed}")
    return Run(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)


def main() -> None:
    """Prints the table: medians of ROUNDS rounds, the sides of a round one after the other."""
    rounds = [{name: measure(program) for name, program in SIDES.items()} for _ in range(ROUNDS)]
    nodes = len(json.loads(rounds[0]["gpu_node_info"].printed)["nodes"])
    size = int(rounds[0]["raw list"].printed) / 2**20
    print(f"{nodes} nodes, {size:.1f} MiB of JSON, {ROUNDS} rounds\n")
    print("| | seconds | of them processor time | peak memory, MiB |\n|---|---|---|---|")
    for name in SIDES:
        seconds = statistics.median(one[name].seconds for one in rounds)
        cpu = statistics.median(one[name].cpu for one in rounds)
        mib = statistics.median(one[name].mib for one in rounds)
        print(f"| {name} | {seconds:.2f} | {cpu:.2f} | {mib:.0f} |")
    ratios = [one["gpu_node_info"].seconds / one["raw list"].seconds for one in rounds]
    print(
        f"\nseconds, gpu_node_info / raw list: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
