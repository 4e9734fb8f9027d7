# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What `k8s_rollout` does with a rollout from its beginning to its end, and how it tells."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Any

from ._cluster import Cluster
from ._diagnosis import Diagnosis
from ._findings import Finding, Status
from ._follow import Gone, Outcome, RolloutError, Target, find, follow_rollout
from ._rollout import Verdict


class Reporter:
    """Collects the lines of progress, and writes each into a named pipe, if one is given, as it happens."""

    def __init__(self, pipe: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._pipe = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK) if pipe else None
        self.lines: list[str] = []

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipe is not None:
            os.close(self._pipe)

    @property
    def seconds(self) -> float:
        """Since the beginning, to a tenth."""
        return round(self._clock() - self._start, 1)

    def say(self, text: str) -> None:
        line = f"{self.seconds:5.1f} s  {text}"
        self.lines.append(line)
        if self._pipe is not None:
            try:
                os.write(self._pipe, line.encode() + b"\n")
            except BlockingIOError:
                pass  # a reader that slow misses a line; it is in the result
            except BrokenPipeError:
                raise Gone from None

    def present(self) -> bool:
        """Whether the pipe's reader is there; without a pipe nobody can tell."""
        if self._pipe is None:
            return True
        poll = select.poll()
        poll.register(self._pipe, 0)
        return not any(flags & select.POLLERR for _, flags in poll.poll(0))


def watch(
    cluster: Cluster, target: Target, *, timeout: float, rollback: bool, check_mode: bool, reporter: Reporter
) -> dict[str, Any]:
    """The module's result after a rollout that is complete. Raises RolloutError after one that has failed."""
    if check_mode:
        return _plan(target, exists=find(cluster, target) is not None)
    try:
        outcome = follow_rollout(cluster, target, timeout=timeout, say=reporter.say, present=reporter.present)
    except Gone:
        raise RolloutError(
            target.subject,
            "the run that waited for it has ended; the cluster goes on by itself.",
            "Run again: it takes the rollout up where it is.",
        ) from None
    if outcome.verdict is Verdict.COMPLETE:
        return _done(target, outcome)
    assert outcome.diagnosis is not None
    raise failure(outcome, outcome.diagnosis, timeout)


def _plan(target: Target, *, exists: bool) -> dict[str, Any]:
    what = "would be watched until it is complete" if exists else "is not there yet; once applied, it would be watched"
    line = Finding("rollout", Status.OK, target.subject, f"{what}.")
    return {"changed": False, "status": "planned", "rolled_back": False, "findings": [line.as_result()]}


def _done(target: Target, outcome: Outcome) -> dict[str, Any]:
    if target.kind == "Job":
        message = f"succeeded, watched for {outcome.seconds:.0f} s."
    else:
        assert outcome.last.deployment is not None
        assert outcome.last.current is not None
        count = outcome.last.deployment.wanted
        message = f"revision {outcome.last.current.revision} is complete: {count} of {count} ready."
    line = Finding("rollout", Status.OK, target.subject, message)
    return {"changed": False, "status": "complete", "rolled_back": False, "findings": [line.as_result()]}


def failure(outcome: Outcome, diagnosis: Diagnosis, timeout: float) -> RolloutError:
    """The error a failed rollout ends in."""
    what = diagnosis.what if diagnosis.final else f"Not complete after {timeout:.0f} s. {diagnosis.what}"
    error = RolloutError(
        diagnosis.where,
        what,
        diagnosis.remedy,
        evidence=diagnosis.evidence,
        status="failed",
        diagnosis={**asdict(diagnosis), "evidence": list(diagnosis.evidence)},
        rolled_back=False,
    )
    return error
