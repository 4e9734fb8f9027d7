# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Follows a rollout on a cluster: feeds watches into the decisions, looks up what they need, passes lines on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty

from .._findings import CollectionError
from .._kubernetes.cluster import Cluster, ClusterError, label_selector
from .._kubernetes.objects import Object, entries, strings, uid
from .._kubernetes.watch import Interrupted, Listed, News, Watches
from .decide import Memory, Step, Verdict, advance, complete, settled
from .declared import foreign, template_of
from .diagnosis import Diagnosis
from .lookups import Lookups
from .past import Past, without
from .reporter import Gone, Say
from .seen import Seen, Target, assemble, awaited, claims_of

SETTLE_SECONDS = 0.05
"""After a piece of news, wait this long for more: they come in bursts (a status, then its event)."""


class RolloutError(CollectionError):
    """A rollout that cannot be watched, or has failed."""

    check = "rollout"


@dataclass(frozen=True)
class Outcome:
    """How it ended. first, last: what was observed at the beginning and at the end; seconds: in between."""

    verdict: Verdict
    diagnosis: Diagnosis | None
    first: Seen
    last: Seen
    seconds: float


class Follower:
    """Watches one rollout.

    say: gets each line of progress as it happens.
    present: whether somebody still waits for the outcome.
    begin: is called with the first complete view, before it is judged; gives what in it is not to be judged.
    """

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        say: Say,
        *,
        present: Callable[[], bool] = lambda: True,
        begin: Callable[[Seen], Past] = lambda _: Past(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._target, self._say = cluster, target, say
        self._present, self._begin, self._clock = present, begin, clock
        self._objects: dict[str, dict[str, Object]] = {}
        self._silent: set[str] = set()
        self._past = Past()
        self._template: Object | None = None
        self._lookups = Lookups(cluster, target)

    def run(self, raw: Object, timeout: float) -> Outcome:
        """Watches until the target (`raw`, as last read) is complete or has failed, or `timeout` seconds are over.

        Raises ClusterError when something may not be read, RolloutError when the API server stays silent or somebody
        else has changed what this run declared, Gone.
        """
        self._template = template_of(self._target, raw)
        self._insist_on_declared(raw)
        if (done := self._glance(raw)) is not None:
            return done
        watches = Watches(self._cluster)
        try:
            self._start(watches, raw)
            return self._loop(watches, timeout)
        finally:
            watches.stop()

    def _glance(self, raw: Object) -> Outcome | None:
        """The outcome of a Deployment that is complete as it is: two lists in place of five watches.

        None where there is something to wait for, and where they cannot be had: the watches tell it then.
        """
        target, start = self._target, self._clock()
        if target.kind != "Deployment" or not settled(raw):
            return None
        selector = {"labelSelector": label_selector(strings(raw, "spec", "selector", "matchLabels"))}
        objects = {target.collection: {uid(raw): raw}}
        try:
            for path in (target.core("pods"), target.replica_sets):
                items = entries(self._cluster.get(path, selector), "items")
                objects[path] = {uid(one): one for one in items if uid(one)}
        except ClusterError:
            return None
        seen = assemble(target, objects)
        if not complete(seen):
            return None
        for pod in seen.pods:
            self._say("ready", pod.name)
        return Outcome(Verdict.COMPLETE, None, seen, seen, self._clock() - start)

    def _start(self, watches: Watches, raw: Object) -> None:
        target = self._target
        selector = {"labelSelector": label_selector(strings(raw, "spec", "selector", "matchLabels"))}
        watches.add(target.collection, {"fieldSelector": f"metadata.name={target.name}"})
        watches.add(target.core("pods"), selector)
        watches.add(target.core("events"))
        self._needed = [target.collection, target.core("pods"), target.core("events")]
        if target.kind == "Deployment":
            watches.add(target.replica_sets, selector)
            self._needed.append(target.replica_sets)
        if claims_of(raw):
            watches.add(target.core("persistentvolumeclaims"))

    def _loop(self, watches: Watches, timeout: float) -> Outcome:
        start = self._clock()
        memory, first, wake = Memory(spoke=start), None, 1.0
        while True:
            for news in _batch(watches, wake):
                self._take(news)
            if not self._present():
                raise Gone
            now = self._clock()
            if not self._knows_enough(now - start, timeout):
                continue
            if (raw := awaited(self._target, self._objects)) is not None:
                self._insist_on_declared(raw)
            seen = self._lookups.complete(assemble(self._target, self._objects), self._objects, watches)
            if first is None:
                first, self._past = seen, self._begin(seen)
            seen = without(seen, self._past)
            step = advance(memory, seen, now, start + timeout, datetime.now(UTC))
            memory, wake = step.memory, step.wake
            self._speak(seen, step, now)
            if step.verdict is not Verdict.WAITING:
                return Outcome(step.verdict, step.diagnosis, first, seen, self._clock() - start)

    def _knows_enough(self, spent: float, timeout: float) -> bool:
        """Whether all is known, and nothing of it may be out of date: else there is no verdict on it."""
        if not self._silent and all(path in self._objects for path in self._needed):
            return True
        if spent < timeout:
            return False
        raise RolloutError(
            self._target.subject,
            f"the API server does not answer, and {timeout:.0f} s are over.",
            "Run again when it does: the rollout goes on meanwhile.",
        )

    def _insist_on_declared(self, raw: Object) -> None:
        change = foreign(self._target, raw, self._template)
        if change is not None:
            raise RolloutError(
                self._target.subject,
                str(change),
                "See who deploys it too (kubectl get --show-managed-fields), let one do it, then run again.",
                evidence=(change.evidence,),
                status="failed",
            )

    def _speak(self, seen: Seen, step: Step, now: float) -> None:
        if self._target.kind == "Job":
            self._lookups.journal(seen, self._say, now, over=step.verdict is not Verdict.WAITING)
        for line in step.lines:
            self._say(line.text, line.pod)

    def _take(self, news: News) -> None:
        if isinstance(news, Interrupted):
            if news.final and news.path in self._needed:
                raise news.error
            if not news.final and news.path in self._needed:
                if not self._silent:
                    self._say(f"the watch goes on as soon as it can: {news.error}")
                self._silent.add(news.path)
            return
        self._silent.discard(news.path)
        if isinstance(news, Listed):
            self._objects[news.path] = {uid(one): one for one in news.objects if uid(one)}
            return
        known = self._objects.setdefault(news.path, {})
        known.pop(uid(news.object), None)
        if not news.gone and uid(news.object):
            known[uid(news.object)] = news.object


def _batch(watches: Watches, wake: float) -> list[News]:
    try:
        batch: list[News] = [watches.inbox.get(timeout=min(wake, 1.0))]
    except Empty:
        return []
    time.sleep(SETTLE_SECONDS)
    while not watches.inbox.empty():
        batch.append(watches.inbox.get())
    return batch
