"""Every fault of the lab: what k8s_rollout says and when, and kubernetes.core.k8s with wait beside it.

Inside a lab: python -m lab run -- python -m benchmarks.rollout [node] [cluster] [replay]
Writes benchmarks/rollout.json (what is measured now replaces what was measured of the same fault before) and the
tables of docs/rollout.md.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from threading import Thread
from typing import Any

from ansible_collections.portal.stt.plugins.module_utils._rollout.diagnosis import NEVER, RULES, Rule

from benchmarks.page import put
from lab.faults import Fault, table
from lab.paths import ROOT
from tests import hiccups, rollouts

KEPT = ROOT / "benchmarks" / "rollout.json"
PAGE = ROOT / "docs" / "rollout.md"
WAIT_SECONDS = 30
HEALTHY = "healthy rollouts"
PLACES = {"node": "kubelet", "cluster": "API server", "replay": "replayed"}


def beside(fault: Fault) -> dict[str, Any]:
    """What kubernetes.core.k8s says of the same fault with wait, and after how many seconds."""
    access = rollouts.cluster()
    try:
        rollouts.prepare(access, fault)
        Thread(target=rollouts.go_on, args=(fault,), daemon=True).start()
        arguments = {"definition": fault.faulty(), "apply": True, "wait": True, "wait_timeout": WAIT_SECONDS}
        arguments |= {"server_side_apply": {"field_manager": "portal-stt"}}
        start = time.monotonic()
        done = subprocess.run(
            ["ansible", "localhost", "-m", "kubernetes.core.k8s", "-a", json.dumps(arguments)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = re.search(r'msg"?: (.*)', done.stdout)
        message = said[1].strip('", ') if said else ("changed" if done.returncode == 0 else done.stdout[-200:])
        return {"failed": done.returncode != 0, "said": message, "seconds": time.monotonic() - start}
    finally:
        rollouts.remove(access, fault)


def measure(places: list[str]) -> None:
    """Measures the faults of some places, and the healthy rollouts, and keeps the results."""
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    unexplained: list[Exception] = []
    for at in places:
        for name, got in rollouts.explain_all(at):
            if isinstance(got, Exception):
                unexplained.append(got)
                continue
            kept[name] = {**kept.get(name, {}), "ours": asdict(got)}
            print(f"{name}: {got.cause}, {got.after_s:.1f} s", flush=True)
            _keep(kept)
    kept[HEALTHY] = hiccups.outcomes()
    _keep(kept)
    for at in places:
        faults = [fault for fault in table() if fault.at == at]
        with ThreadPoolExecutor(rollouts.AT_ONCE[at]) as pool:
            for fault, other in zip(faults, pool.map(beside, faults), strict=True):
                kept.setdefault(fault.name, {})["core"] = other
                print(f"{fault.name}: kubernetes.core.k8s: {_short(other)}, {other['seconds']:.0f} s", flush=True)
                _keep(kept)
    if unexplained:
        raise ExceptionGroup("faults without an answer", unexplained)


def _keep(kept: dict[str, Any]) -> None:
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def measured(kept: dict[str, Any]) -> str:
    """The table of faults, and what sums it up."""
    faults = [fault for fault in table() if "ours" in kept.get(fault.name, {})]
    final = sorted(kept[fault.name]["ours"]["after_s"] for fault in faults if fault.final and _hopeless(fault))
    core = [kept[fault.name]["core"] for fault in faults if "core" in kept[fault.name]]
    silent = sum(1 for one in core if "Timed out" in one["said"])
    content = sum(1 for one in core if not one["failed"])
    right = sum(1 for fault in faults if kept[fault.name]["ours"]["cause"] == fault.cause)
    real = sum(1 for fault in faults if fault.at == "node")
    back = [fault for fault in faults if fault.serves and not fault.outside]
    served = sum(1 for fault in back if kept[fault.name]["ours"]["served_again"])
    alarms = sum(1 for how in kept[HEALTHY].values() if how != "complete")
    spread = f"{final[0]:.1f} at the least, {final[len(final) // 2]:.1f} in the middle, {final[-1]:.1f} at the most"
    return "\n".join(
        [
            f"- {len(faults)} faults, {real} of them on a real node: the right cause for {right}.",
            f"- Seconds to the answer of the {len(final)} that cannot pass by themselves: {spread}.",
            f"- Where an earlier revision served and could help, it served again: {served} of {len(back)}.",
            f"- {len(kept[HEALTHY])} healthy rollouts with delays and hiccups: {alarms} false alarms.",
            f"- Beside it `kubernetes.core.k8s` with `wait: true`, `wait_timeout: {WAIT_SECONDS}` (default 120), on "
            f"the same {len(core)} faults: a time-out without a reason for {silent}, success for {content}.",
            "",
            "| fault | made by | cause found | seconds | brought back | kubernetes.core.k8s |",
            "|---|---|---|---|---|---|",
            *(_row(fault, kept[fault.name]) for fault in faults),
        ]
    )


def causes() -> str:
    """The table of rules."""
    head = ["| cause | what it says | final | back | remedy |", "|---|---|---|---|---|"]
    last = "nothing observed says why: the raw facts follow, in order"
    end = f"| `unknown` | It is not complete, and {last}. | at the time-out only | yes | Look at the objects named. |"
    return "\n".join([*head, *map(_cause, RULES), end])


def _hopeless(fault: Fault) -> bool:
    """Whether its cause may be one that cannot pass by itself: patience for what the API server heals in a moment."""
    return any(rule.patience is not NEVER and rule.patience <= 2.5 for rule in RULES if rule.cause == fault.cause)


def _row(fault: Fault, kept: dict[str, Any]) -> str:
    ours = kept["ours"]
    right = "" if ours["cause"] == fault.cause else f" (expected {fault.cause})"
    when = f"{ours['after_s']:.1f}" if fault.final else f"hopeful, still at {ours['total_s']:.0f} s"
    back = "yes, serves" if ours["served_again"] else "yes" if ours["rolled_back"] else "" if not fault.serves else "no"
    core = kept.get("core")
    beside_it = f"{core['seconds']:.0f} s: {_short(core)}" if core else ""
    return f"| {fault.name} | {PLACES[fault.at]} | `{ours['cause']}`{right} | {when} | {back} | {beside_it} |"


def _short(core: dict[str, Any]) -> str:
    if not core["failed"]:
        return "success"
    return "timed out" if "Timed out" in core["said"] else str(core["said"]).replace("|", "/")[:80]


def _cause(rule: Rule) -> str:
    if rule.patience is NEVER:
        when = "at the time-out only"
    else:
        when = "at once" if rule.patience == 0 else f"after {rule.patience:g} s"
        when += f", seen {rule.times} times" if rule.times > 1 else ""
        when += ", once the old pod is gone" if rule.after_old else ""
    what = re.sub(r"\{(\w+)\}", r"*\1*", rule.what).replace("|", "/")
    remedy = re.sub(r"\{(\w+)\}", r"*\1*", rule.remedy).replace("|", "/")
    return f"| `{rule.cause}` | {what} | {when} | {'no' if rule.outside else 'yes'} | {remedy} |"


def main(places: list[str]) -> None:
    """Measures and writes the page."""
    measure(places or [*(["node"] if rollouts.node_is_there() else []), "cluster", "replay"])
    write()


def write() -> None:
    """Puts the tables into the page."""
    put(PAGE, "measured", measured(json.loads(KEPT.read_text())))
    put(PAGE, "causes", causes())


if __name__ == "__main__":
    main(sys.argv[1:])
