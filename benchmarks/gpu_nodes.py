"""gpu_node_info on 5,000 GPU nodes, paired with the bare list of the same objects.

Inside a lab: python -m lab run -- python -m benchmarks.gpu_nodes; the table goes into docs/performance.md.

The bare list is the same pages of the same objects, asked for by the same client and parsed as JSON, and nothing more:
what it read is dropped page by page. Every side is a process of its own, from the start of Python to its end, as
Ansible runs modules; `start` is what that alone costs, and it is in the other sides, too.
"""

from __future__ import annotations

import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import put, ratio
from lab import api, simulated

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
FLEET = simulated.FILES / "fleet-5000.yml"
ROUNDS = 7
NODES = ("/api/v1/nodes", "nvidia.com/gpu.present=true")
PODS = ("/api/v1/namespaces/gpu-operator/pods", "app.kubernetes.io/component=nvidia-driver")

_START = """
import atexit, json, sys
from pathlib import Path
atexit.register(lambda: print(Path("/proc/self/status").read_text(), file=sys.stderr))
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import connect
from ansible_collections.portal.stt.plugins.module_utils._gpu.operator import PAGE
from ansible_collections.portal.stt.plugins.modules import gpu_node_info
"""
_CONNECT = """
with patch_module_args({}):
    cluster = connect(AnsibleModule(argument_spec=AUTH_ARG_SPEC).params)
"""
_LIST = """
count, token = 0, ""
while True:
    page = json.loads(cluster.request("GET", {path!r}, query={{"labelSelector": {selector!r}, "limit": PAGE,
                                                              **({{"continue": token}} if token else {{}})}}))
    count, token = count + len(page["items"]), page["metadata"].get("continue", "")
    if not token:
        break
print(count)
"""
_MODULE = """
with patch_module_args({}):
    gpu_node_info.main()
"""


@dataclass(frozen=True)
class Run:
    """One process: wall seconds and those of processor time, peak resident memory in MiB, and what it printed."""

    seconds: float
    cpu: float
    mib: float
    printed: str


def measure(program: str) -> Run:
    begin = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Not ru_maxrss: a child starts with that of the process it was forked from.
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", done.stderr, re.MULTILINE)
    if done.returncode or not peak:
        raise SystemExit(f"failed: {done.stdout}{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu, int(peak[1]) / 1024, done.stdout)


def compare(what: str, *lists: tuple[str, str]) -> list[str]:
    """Rows of the table: medians of ROUNDS rounds, the sides of a round one after the other."""
    bare = "".join(_LIST.format(path=path, selector=selector) for path, selector in lists)
    sides = {"start": _START + _CONNECT, "bare list": _START + _CONNECT + bare, "gpu_node_info": _START + _MODULE}
    rounds = [{name: measure(program) for name, program in sides.items()} for _ in range(ROUNDS)]
    counts = {int(count) for count in rounds[0]["bare list"].printed.split()}
    assert counts == {len(json.loads(rounds[0]["gpu_node_info"].printed)["nodes"])}, counts
    rows = []
    for name in sides:
        seconds = statistics.median(one[name].seconds for one in rounds)
        cpu = statistics.median(one[name].cpu for one in rounds)
        mib = statistics.median(one[name].mib for one in rounds)
        wall = ratio(one[name].seconds / one["bare list"].seconds for one in rounds)
        work = statistics.median(one[name].cpu / one["bare list"].cpu for one in rounds)
        rows.append(
            f"| {what} | {name} | {seconds:.2f} | {wall} | {net(rounds, name)} | {cpu:.2f} | {work:.2f} | {mib:.0f} |"
        )
    return rows


def net(rounds: list[dict[str, Run]], name: str) -> str:
    """The ratio of what a side does after its start, of the medians."""
    start, bare, side = (statistics.median(one[key].seconds for one in rounds) for key in ("start", "bare list", name))
    return f"{(side - start) / (bare - start):.2f}" if name != "start" else ""


@contextmanager
def driver_pods() -> Iterator[None]:
    """The GPU Operator's driver pod on every node, running."""
    path, namespace = PODS[0], {"metadata": {"name": "gpu-operator"}}
    api.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", **namespace}, accept=(409,))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    api.call("POST", path.replace("pods", "serviceaccounts"), account, accept=(409,))
    names = [node["metadata"]["name"] for node in api.call("GET", NODES[0], labelSelector=NODES[1])["items"]]

    def create(node: str) -> None:
        label = dict([PODS[1].split("=")])
        container = {"name": "nvidia-driver-ctr", "image": "nvcr.io/nvidia/driver:570.195.03"}
        spec = {"nodeName": node, "containers": [container], "tolerations": [{"operator": "Exists"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"driver-{node}", "labels": label}, "spec": spec}
        api.call("POST", path, pod)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, names))
    while api.call("GET", path, fieldSelector="status.phase!=Running", limit="1")["items"]:
        time.sleep(1)
    try:
        yield
    finally:
        api.call("DELETE", path, gracePeriodSeconds="0")


def main() -> None:
    """Measures, prints the table and puts it into the page."""
    nodes = simulated.replace(FLEET)
    try:
        rows = compare(f"{nodes:,} nodes", NODES)
        with driver_pods():
            rows += compare(f"{nodes:,} nodes and as many driver pods", PODS, NODES)
    finally:
        simulated.replace(None)
    head = [
        "| what is there | | seconds | ratio | without the start | processor seconds | ratio | peak memory, MiB |",
        "|---" * 8 + "|",
    ]
    table = "\n".join([*head, *rows])
    print(table)
    put(PAGE, "gpu-nodes", table)


if __name__ == "__main__":
    main()
