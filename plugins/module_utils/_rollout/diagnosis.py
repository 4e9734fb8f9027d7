# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Why a rollout does not come to its end: one small rule a cause, the first that applies decides.

The rules stand by theme in `causes/`. To add a cause: a rule there, a fixture in tests/unit/rollout, a
fault in lab/faults.yml. The texts that rules look for are those of Kubernetes 1.36, containerd 1.6, util-linux' mount
and CUDA 12, and of CRI-O, older kubelets and CSI drivers where they differ.
"""

from __future__ import annotations

from .causes import admission, containers, images, progress, scheduling, volumes
from .rule import NEVER, Diagnosis, Rule, at, log_lines
from .seen import Seen
from .words import one_line

__all__ = ["NEVER", "RULES", "Diagnosis", "Rule", "diagnose", "unknown"]

RULES: tuple[Rule, ...] = (
    *progress.FIRST,
    *admission.RULES,
    *scheduling.RULES,
    *images.RULES,
    *volumes.RULES,
    *containers.RULES,
    *progress.LAST,
)
"""From causes that explain others to those that are explained by others."""


def diagnose(seen: Seen) -> tuple[Diagnosis, Rule, bool] | None:
    """The first cause that applies, its rule, and whether it is final once the rule's patience is over."""
    for rule in RULES:
        applied = rule.apply(seen)
        if applied:
            return applied[0], rule, applied[1]
    return None


def unknown(seen: Seen) -> Diagnosis:
    """No rule applies: the raw facts, in the order in which one would look at them."""
    facts: list[str] = []
    if seen.deployment:
        d = seen.deployment
        facts.append(f"Deployment: {d.updated} of {d.wanted} updated, {d.available} available, {d.replicas} in all")
        facts += [f"Deployment {name}={c.status}: {c.message}" for name, c in d.conditions.items()]
    for pod in (*seen.pods, *seen.old_pods):
        facts.append(
            f"{at(pod)}: {pod.phase}{' (stopping)' if pod.deleting else ''} {pod.reason} {pod.message}".rstrip()
        )
        facts += [
            f"container {c.name}: {c.state or 'not reported'} {c.reason} {c.message}".rstrip() for c in pod.containers
        ]
    facts += [
        f"{e.kind} {e.name}: {e.reason} x{e.count}: {one_line(e.message)}" for e in seen.events if e.type != "Normal"
    ]
    logs = [line for lines in seen.logs.values() for line in lines]
    return Diagnosis(
        "unknown",
        "It is not complete, and nothing observed says why.",
        seen.subject,
        "unknown",
        False,
        False,
        (*facts[:25], *log_lines(logs)),
        "Look at the objects that the lines above name.",
    )
