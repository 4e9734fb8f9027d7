# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What `k8s_job` does: a Job has run, made anew when it must be, watched, explained; its finished likes are removed.

A Job that runs, or whose end another run may not have seen yet, is nobody's to delete; one that somebody else has made
is neither deleted nor believed, whatever its labels are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .._findings import Finding, Status
from .._kubernetes import apply as _apply
from .._kubernetes.cluster import Cluster, ClusterError, label_selector
from .._kubernetes.objects import Object, below, entries, moment, text
from .._kubernetes.ownership import evidence, foreign, typed
from .._kubernetes.remove import left
from .._kubernetes.watch import INSIST_SECONDS, Answer
from .back import MANAGER
from .follow import RolloutError
from .reporter import Reporter
from .seen import Target
from .task import RESULT, Patience, Task, insist_on

AWAITED = timedelta(seconds=60)
"""How long after its end a Job is left to the run that waits for it, where that has not taken its result yet."""


def ended(job: Object) -> datetime | None:
    """When a Job came to its end, with a time zone; None: it has not, or still stops a pod."""
    times = [one.get("lastTransitionTime") for one in _met(job, "Complete", "Failed")]
    if not times or below(job, "status").get("active"):
        return None
    made = below(job, "metadata").get("creationTimestamp")
    return moment(text(times[0])) or moment(text(made)) or datetime.min.replace(tzinfo=UTC)


def has_succeeded(job: Object) -> bool:
    return bool(_met(job, "Complete"))


def _met(job: Object, *kinds: str) -> list[Object]:
    """Its conditions of these types that are true."""
    conditions = entries(job, "status", "conditions")
    return [one for one in conditions if text(one.get("type")) in kinds and one.get("status") == "True"]


def awaited(job: Object, now: datetime) -> bool:
    """Whether a Job still does something, or another run may still wait for what it did; `now` with a time zone."""
    end = ended(job)
    if end is None:
        return True
    return RESULT not in (job["metadata"].get("annotations") or {}) and now - end < AWAITED


def not_ours(job: Object, manifest: Mapping[str, Any]) -> str:
    """Why a Job is not one that this manifest made, as the end of a sentence that begins with "it"; empty: it is."""
    labels = job["metadata"].get("labels") or {}
    if not (manifest["metadata"].get("labels") or {}).items() <= labels.items():
        return "has not the labels of the Job that is to run"
    return foreign(job, manifest)


class JobTask:
    """One call of `k8s_job`.

    again: a Job that has succeeded before is made anew.
    sweep: labels of the Jobs of ours that go when they are over, but for this one; none for no labels.
    wait, now: pauses for seconds; the time. Injected, so that tests need no time.
    """

    def __init__(
        self,
        cluster: Cluster,
        manifest: dict[str, Any],
        reporter: Reporter,
        *,
        again: bool = False,
        sweep: Mapping[str, str] | None = None,
        wait: Callable[[float], object] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        metadata = manifest["metadata"]
        self._target = Target("Job", metadata["namespace"], metadata["name"])
        self._task = Task(cluster, self._target, reporter, wait=wait)
        self._cluster, self._manifest, self._reporter = cluster, manifest, reporter
        self._again, self._sweep, self._now = again, sweep or {}, now
        self._patience = Patience(wait)
        self._changed = False
        self._made = False
        self._left: list[Finding] = []

    @property
    def changed(self) -> bool:
        return self._changed or self._task.changed

    @property
    def findings(self) -> list[Finding]:
        return [*self._task.findings, *self._left]

    def plan(self, *, timeout: float = INSIST_SECONDS) -> dict[str, Any]:
        """The result in check mode. Raises RolloutError, ApplyError, ClusterError."""
        self._patience.begin(timeout)
        there = self._present()
        anew = there is not None and self._is_redone(there)
        if there is None:
            self._apply(dry_run=True)
            result, message = _planned(self._target, "is not there yet; it would be made and watched."), ""
        else:
            result = self._task.plan()
            message = result["message"]
        self._made = there is None
        self._changed = self._made or anew or bool(self._others())
        return self._with_diff({**result, "message": message})

    def run(self, *, timeout: float) -> dict[str, Any]:
        """The result after the Job has succeeded. Raises RolloutError, ApplyError, ClusterError."""
        self._patience.begin(timeout)
        there = self._present()
        if there is not None and self._is_redone(there):
            self._reporter.say(f"Job {self._target.name}: has succeeded before, is made anew")
            self._delete(there)
            self._patience.until_gone(lambda: self._cluster.find(self._target.path), self._target.subject)
            there = None
        if there is None:
            self._made = self._changed = True
            self._apply(dry_run=False)
        result = self._task.over(there) if there is not None else None
        if result is None:
            result = self._task.run(timeout=timeout, rollback=False)
            if not result["message"]:
                self._taken()
        for job in self._others():
            self._delete(job)
        return self._with_diff(result)

    def _present(self) -> Object | None:
        """The Job as it is, which is this one. Raises RolloutError for somebody else's, ApplyError for another one."""
        there = self._insist(lambda: self._cluster.find(self._target.path))
        if there is None:
            return None
        insist_on(there, self._target)
        if reason := not_ours(typed(there, "batch/v1", "Job"), self._manifest):
            raise RolloutError(
                self._target.subject,
                f"is somebody else's: it {reason}.",
                "Delete it if its owner does not need it, then run again; or choose another [metadata.name].",
                evidence=evidence(there),
                status="failed",
            )
        self._apply(dry_run=True)
        return there

    def _is_redone(self, job: Object) -> bool:
        return self._again and has_succeeded(job) and not awaited(job, self._now())

    def _others(self) -> list[Object]:
        """The Jobs that go. Those that are not ours are noted."""
        if not self._sweep:
            return []
        query = {"labelSelector": label_selector(self._sweep)}
        answer = self._insist(lambda: self._cluster.get(self._target.collection, query))
        jobs = [
            typed(one, "batch/v1", "Job") for one in answer["items"] if one["metadata"]["name"] != self._target.name
        ]
        wanted = {"metadata": {"labels": self._sweep}}
        reasons = [foreign(one, wanted) for one in jobs]
        self._left = [left(one, reason) for one, reason in zip(jobs, reasons, strict=True) if reason]
        now = self._now()
        return [one for one, reason in zip(jobs, reasons, strict=True) if not reason and not awaited(one, now)]

    def _apply(self, *, dry_run: bool) -> None:
        try:
            self._insist(
                lambda: self._cluster.apply(self._target.path, self._manifest, field_manager=MANAGER, dry_run=dry_run)
            )
        except ClusterError as error:
            if dry_run and error.status == 404:
                return  # its namespace is not there yet
            if not error.body:
                raise
            raise _apply.explain(self._manifest, error.body, error.message) from error

    def _delete(self, job: Object) -> None:
        """Removes just this Job, not one that has been made under its name meanwhile."""
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": job["metadata"]["uid"]},
        }
        path = f"{self._target.collection}/{job['metadata']['name']}"
        try:
            self._insist(
                lambda: self._cluster.request(
                    "DELETE",
                    path,
                    body=json.dumps(options).encode(),
                    headers={"Content-Type": "application/json"},
                )
            )
        except ClusterError as error:
            if error.status not in (404, 409):
                raise
            return  # somebody else was faster
        self._changed = True

    def _taken(self) -> None:
        """The Job says that a run has seen its end, also when it has said nothing."""
        job = self._insist(lambda: self._cluster.get(self._target.path))
        if RESULT not in (job["metadata"].get("annotations") or {}):
            patch = json.dumps({"metadata": {"annotations": {RESULT: ""}}}).encode()
            headers = {"Content-Type": "application/merge-patch+json"}
            self._insist(
                lambda: self._cluster.request(
                    "PATCH", self._target.path, query={"fieldManager": MANAGER}, body=patch, headers=headers
                )
            )
            self._changed = True

    def _insist(self, send: Callable[[], Answer]) -> Answer:
        return self._patience.insist(send)

    def _with_diff(self, result: dict[str, Any]) -> dict[str, Any]:
        diff = [_apply.diff(None, self._manifest)] if self._made else []
        found = [*result["findings"], *self._left]
        return {**result, "changed": self.changed, "diff": diff, "findings": found}


def _planned(target: Target, message: str) -> dict[str, Any]:
    line = Finding("rollout", Status.OK, target.subject, message)
    return {"status": "planned", "rolled_back": False, "findings": [line]}
