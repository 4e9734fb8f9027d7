# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether a deploy is at work, as the cluster shows it: a Job that puts models on the volume, a server that starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]


def underway(deployments: Sequence[Object], pods: Sequence[Object], jobs: Sequence[Object]) -> list[str]:
    """What a run of the deploy play is waiting for, in words; empty where none seems to be at work.

    A rollout of which every pod has failed holds nobody: the play has ended with the cause, or is about to.
    """
    return [*_seeding(jobs), *(line for one in deployments for line in _rolling(one, pods))]


def _seeding(jobs: Sequence[Object]) -> Iterator[str]:
    for job in jobs:
        if (job.get("status") or {}).get("active"):
            yield f"Job {job['metadata']['name']} puts models on the volume"


def _rolling(deployment: Object, pods: Sequence[Object]) -> Iterator[str]:
    wanted = deployment["spec"]["selector"].get("matchLabels") or {}
    starting = [pod["metadata"]["name"] for pod in pods if _has(pod, wanted) and _is_starting(pod)]
    if starting and not _has_ended(deployment):
        yield f"Deployment {deployment['metadata']['name']} is rolled out: {', '.join(sorted(starting))} is starting"


def _has(pod: Object, wanted: Mapping[str, Any]) -> bool:
    """Whether it has these labels. By name: the dicts that templates give have no views of their items."""
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in wanted.items())


def _has_ended(deployment: Object) -> bool:
    """Whether the controller says that this rollout is complete, or out of time."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return False
    progressing = [one for one in status.get("conditions") or [] if one.get("type") == "Progressing"]
    return any(one.get("status") == "False" or one.get("reason") == "NewReplicaSetAvailable" for one in progressing)


def _is_starting(pod: Object) -> bool:
    """A pod on its way: not ready, not being deleted, and with nothing that has failed in it."""
    status = pod.get("status") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or []}
    if pod["metadata"].get("deletionTimestamp") or conditions.get("Ready") == "True":
        return False
    if status.get("phase") not in ("Pending", "Running") or conditions.get("PodScheduled") == "False":
        return False
    return not any(map(_has_failed, status.get("containerStatuses") or []))


def _has_failed(container: Object) -> bool:
    state = container.get("state") or {}
    waits = (state.get("waiting") or {}).get("reason", "")
    return bool(container.get("restartCount") or state.get("terminated")) or waits not in (
        "", "ContainerCreating", "PodInitializing"
    )  # fmt: skip
