# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What `k8s_rollout` does from beginning to end: a fresh start, the watch, the mark of success or the way back."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from .._findings import Finding, Status
from .._kubernetes import objects as observed
from .._kubernetes.cluster import Cluster, ClusterError, label_selector
from .._kubernetes.objects import SERVED, Object, ReplicaSet
from .._kubernetes.ownership import foreign
from .._kubernetes.watch import INSIST_SECONDS, Answer, insist
from .back import MANAGER, earlier, earlier_manifest, exact_template, job_manifest, mark, stuck, unmarked
from .compare import Way, way_back
from .decide import Verdict
from .diagnosis import Diagnosis
from .follow import Follower, Outcome, RolloutError
from .past import Past, leftovers, past
from .reporter import Gone, Reporter
from .seen import Seen, Target

RETRIED = "portal-stt/retried"
"""Annotation of a ReplicaSet. Setting it makes its controller try again at once instead of backing off."""

RESULT = "portal-stt/result"
"""Annotation of a Job: the last words of the pod that succeeded, which outlive the pod."""

DELETE_SECONDS = 30.0

LEAST_SECONDS = 1.0
"""For so long a request is tried again also when the time is over: what was done is to be noted."""


class Patience:
    """How long a call may still take: no request is insisted on for longer, and nothing is waited for."""

    def __init__(self, wait: Callable[[float], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.wait, self._clock = wait, clock
        self._end = clock() + INSIST_SECONDS

    def begin(self, seconds: float) -> None:
        self._end = self._clock() + seconds

    def left(self, most: float) -> float:
        """Seconds, at most so many."""
        return max(LEAST_SECONDS, min(most, self._end - self._clock()))

    def insist(self, send: Callable[[], Answer]) -> Answer:
        """What it returns. Raises ClusterError."""
        return insist(send, seconds=self.left(INSIST_SECONDS), wait=self.wait)

    def until_gone(self, find: Callable[[], object | None], subject: str) -> None:
        """Waits until nothing is found. Raises RolloutError."""
        end = self._clock() + self.left(DELETE_SECONDS)
        while self.insist(find) is not None:
            if self._clock() > end:
                raise RolloutError(subject, "it cannot be deleted.", "Look at its finalizers.", status="failed")
            self.wait(0.2)


def insist_on(raw: Object, target: Target) -> None:
    """Raises RolloutError for the answer of something that gives another object than it was asked for."""
    kind, name = observed.text(raw.get("kind") or target.kind), observed.name_of(raw)
    if (kind, name) != (target.kind, target.name):
        raise RolloutError(
            target.subject,
            f"asked for it, the API server answers with another object: {kind} {name or 'without a name'}.",
            "Check that the address is the API server's own: another service may stand there.",
            status="failed",
        )


class Task:
    """One call of `k8s_rollout`. `changed` says whether it has changed anything so far. wait: pauses for seconds."""

    def __init__(
        self, cluster: Cluster, target: Target, reporter: Reporter, *, wait: Callable[[float], object] = time.sleep
    ) -> None:
        self._cluster, self._target, self._reporter = cluster, target, reporter
        self._patience = Patience(wait)
        self.changed = False
        self.rolled_back = False
        self.findings: list[Finding] = []

    def plan(self) -> dict[str, Any]:
        """The result in check mode. Raises ClusterError."""
        there = self._cluster.find(self._target.path)
        would = (
            "would be watched until it is complete." if there else "is not there yet; it would be watched once applied."
        )
        return {**self._result("planned", would), "message": _annotations(there or {}).get(RESULT, "")}

    def over(self, job: Object) -> dict[str, Any] | None:
        """The result of a Job that has succeeded and says what of; None where there is something to wait for."""
        conditions = observed.entries(job, "status", "conditions")
        succeeded = any(one.get("type") == "Complete" and one.get("status") == "True" for one in conditions)
        if not succeeded or RESULT not in _annotations(job):
            return None
        return {**self._result("complete", "has succeeded."), "message": _annotations(job)[RESULT]}

    def run(self, *, timeout: float, rollback: bool) -> dict[str, Any]:
        """The result of a rollout that is complete. Raises RolloutError after one that has failed, ClusterError."""
        self._patience.begin(timeout)
        try:
            return self._run(timeout, rollback)
        except Gone:
            raise RolloutError(
                self._target.subject,
                "the run that waited for it has ended.",
                "Run again: the cluster has gone on by itself, and it is taken up where it is.",
                status="failed",
            ) from None

    def _run(self, timeout: float, rollback: bool) -> dict[str, Any]:
        raw = self._present_object()
        outcome = self._follow(raw, timeout)
        if outcome.verdict is Verdict.COMPLETE:
            message = self._keep() if self._target.kind == "Job" else ""
            self._mark(outcome.last)
            return {**self._result("complete", _success(outcome)), "message": message}
        diagnosis = outcome.diagnosis
        assert diagnosis is not None
        back = self._go_back(outcome, diagnosis, timeout) if rollback and self._target.kind == "Deployment" else ""
        raise failure(replace(diagnosis, outside=_outside(outcome, diagnosis)), timeout, back)

    def _present_object(self) -> Object:
        raw: Object | None = self._cluster.find(self._target.path)
        if raw is None:
            raise RolloutError(self._target.subject, "it is not there.", "Apply it first: the deploy play does.")
        insist_on(raw, self._target)
        # Somebody else's is watched, and not deleted.
        ours = self._target.kind == "Job" and not foreign({"kind": "Job", **raw}, {"metadata": {}})
        if ours and stuck(raw, datetime.now(UTC)):
            raw = self._anew(raw)
            self._declare(raw)
        return raw

    def _declare(self, raw: Object) -> None:
        """What this run has made itself is what it declares from here on, if it declares anything."""
        if self._target.uid or self._target.generation:
            generation = observed.number(observed.below(raw, "metadata").get("generation"))
            self._target = replace(self._target, uid=observed.uid(raw), generation=generation)

    def _follow(self, raw: Object, timeout: float) -> Outcome:
        reporter = self._reporter
        follower = Follower(
            self._cluster, self._target, reporter.say, present=reporter.present, begin=self._start_afresh
        )
        return follower.run(raw, timeout)

    def _anew(self, job: Object) -> Object:
        """A Job stays failed for ever, or waits ever longer between tries: the same one again, to answer about now."""
        self._reporter.say(f"Job {self._target.name}: had failed before this run began, is made anew")
        path = self._target.path
        self._delete(path, {"propagationPolicy": "Background"})
        self._patience.until_gone(lambda: self._cluster.find(path), self._target.subject)
        self.changed = True
        return self._insist(lambda: self._cluster.apply(path, job_manifest(job), field_manager=MANAGER))

    def _start_afresh(self, seen: Seen) -> Past:
        """What had failed before this run began is tried again at once, so that the answer is about now."""
        now = datetime.now(UTC)
        failed = leftovers(seen, now)
        for pod in failed:
            self._reporter.say("had failed before this run began, is replaced", pod.name)
            self._delete(f"{self._target.core('pods')}/{pod.name}")
        if seen.current and not seen.pods and "ReplicaFailure" in seen.current.conditions:
            self._patch(self._replica_set(seen.current), RETRIED, now.isoformat(timespec="seconds"))
        return past(seen, failed, now)

    def _mark(self, seen: Seen) -> None:
        """The ReplicaSet says that it has served, unless it is the one that says so already."""
        current = seen.current
        if current is None or not unmarked(seen):
            return
        try:
            if SERVED in _annotations(self._insist(lambda: self._cluster.get(self._target.path))):
                # Left by `kubectl rollout undo`; the controller would write it over each mark of ours.
                self._patch(self._target.path, SERVED, None)
            self._patch(self._replica_set(current), SERVED, mark(current, datetime.now(UTC)))
        except ClusterError as error:
            self.findings.append(
                Finding(
                    "rollout.mark",
                    Status.WARNING,
                    f"ReplicaSet {self._target.namespace}/{current.name}",
                    f"cannot be marked as one that has served: {error.message}",
                    "Allow patch on replicasets: a later rollback goes back to the revision that is marked.",
                )
            )

    def _keep(self) -> str:
        """The termination message of the Job's pod, kept on the Job: pods are swept away some day.

        Asked for anew: the Job's completion may be seen before that of its pod.
        """
        job = self._cluster.get(self._target.path)
        if kept := _annotations(job).get(RESULT, ""):
            return kept
        query = {"labelSelector": label_selector(observed.strings(job, "spec", "selector", "matchLabels"))}
        pods = map(observed.pod, observed.entries(self._cluster.get(self._target.core("pods"), query), "items"))
        said = [c.exit.message for one in pods if one.phase == "Succeeded" for c in one.containers if c.exit]
        if kept := next(filter(None, said), ""):
            self._patch(self._target.path, RESULT, kept)
        return kept

    def _replica_set(self, revision: ReplicaSet) -> str:
        return f"{self._target.replica_sets}/{revision.name}"

    def _patch(self, path: str, name: str, value: str | None) -> None:
        """The object has this annotation; None: it does not have it."""
        self._patched(path, {"metadata": {"annotations": {name: value}}}, "application/merge-patch+json")

    def _insist(self, send: Callable[[], Answer]) -> Answer:
        return self._patience.insist(send)

    def _delete(self, path: str, query: Mapping[str, str] | None = None) -> None:
        try:
            self._insist(lambda: self._cluster.request("DELETE", path, query=query))
        except ClusterError as error:
            if error.status != 404:
                raise
            return  # somebody else was faster
        self.changed = True

    def _patched(self, path: str, patch: object, kind: str) -> Object:
        """The object as patched. kind: the patch's media type."""
        query, headers, sent = {"fieldManager": MANAGER}, {"Content-Type": kind}, json.dumps(patch).encode()
        answer = self._insist(lambda: self._cluster.request("PATCH", path, query=query, body=sent, headers=headers))
        self.changed = True
        changed: Object = json.loads(answer)
        return changed

    def _bring_back(self, revision: ReplicaSet) -> Object:
        """The Deployment with the template of an earlier revision."""
        path = self._target.path
        manifest = earlier_manifest(self._insist(lambda: self._cluster.get(path)), revision)
        applied: Object = self._insist(lambda: self._cluster.apply(path, manifest, field_manager=MANAGER, force=True))
        self.changed = self.rolled_back = True
        patch = exact_template(applied, revision)
        return self._patched(path, patch, "application/json-patch+json") if patch else applied

    def _go_back(self, outcome: Outcome, diagnosis: Diagnosis, timeout: float) -> str:
        """Brings the earlier revision back and watches it; a sentence about that, empty when there was none."""
        revision = earlier(outcome.last, outcome.first)
        if revision is None:
            return ""
        way = _way(outcome.last, diagnosis, revision)
        if not way.helps:
            return f"Revision {revision.revision} was not brought back: {way.why}, so going back cannot help."
        say = self._reporter.say
        say(f"failed: {diagnosis.what}")
        say(f"revision {revision.revision} comes back")
        self._patience.begin(timeout)
        subject = f"{self._target.subject}, revision {revision.revision}"
        try:
            brought = self._bring_back(revision)
            self._declare(brought)
            again = self._follow(brought, timeout)
        except (ClusterError, RolloutError) as error:
            self.findings.append(Finding("rollout.rollback", Status.REFUSED, subject, error.message, error.remedy))
            done = "is back, and was not seen to serve" if self.rolled_back else "cannot be brought back"
            return f"Revision {revision.revision} {done}: {error.message}"
        if again.verdict is Verdict.COMPLETE:
            with contextlib.suppress(ClusterError):
                self._mark(again.last)
            said = f"Revision {revision.revision} is back and serves, after {again.seconds:.0f} s."
            self.findings.append(Finding("rollout.rollback", Status.WARNING, subject, "is back and serves."))
            return said
        assert again.diagnosis is not None
        what, remedy = again.diagnosis.what, again.diagnosis.remedy
        self.findings.append(
            Finding("rollout.rollback", Status.REFUSED, subject, what, remedy, again.diagnosis.evidence)
        )
        return f"Revision {revision.revision} is back and does not serve either: {what}"

    def _result(self, status: str, message: str) -> dict[str, Any]:
        line = Finding("rollout", Status.OK, self._target.subject, message)
        findings = [line, *self.findings]
        return {"changed": self.changed, "status": status, "rolled_back": False, "findings": findings}


def _annotations(raw: Object) -> dict[str, str]:
    return (raw.get("metadata") or {}).get("annotations") or {}


def _way(seen: Seen, diagnosis: Diagnosis, revision: ReplicaSet) -> Way:
    failed = seen.current or seen.deployment
    return way_back(diagnosis, failed.template if failed else {}, revision.template, seen.nodes.values())


def _outside(outcome: Outcome, diagnosis: Diagnosis) -> bool:
    """Whether the earlier revision would fail in the same way; what the rule says where there is none."""
    revision = earlier(outcome.last, outcome.first)
    return diagnosis.outside if revision is None else not _way(outcome.last, diagnosis, revision).helps


def _success(outcome: Outcome) -> str:
    seen = outcome.last
    if seen.deployment is None or seen.current is None:
        return "has succeeded."
    count = seen.deployment.wanted
    return f"revision {seen.current.revision} is complete: {count} of {count} ready."


def failure(diagnosis: Diagnosis, timeout: float, back: str) -> RolloutError:
    """The error that a failed rollout ends in. back: what was done about it, one sentence or none."""
    what = diagnosis.what if diagnosis.final else f"Not complete after {timeout:.0f} s. {diagnosis.what}"
    return RolloutError(
        diagnosis.where,
        f"{what} {back}".rstrip(),
        diagnosis.remedy,
        evidence=diagnosis.evidence,
        status="failed",
        diagnosis={**asdict(diagnosis), "evidence": list(diagnosis.evidence), "about": list(diagnosis.about)},
    )
