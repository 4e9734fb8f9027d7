# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""A watch that goes on: over time limits, broken connections, 410 Gone, expired tokens and API server restarts.

The order of requests is that of the API conventions ("efficient detection of changes"): list, then watch from
the list's resourceVersion, watch again from the last one seen, list again after 410. Also after a watch that ended
without a word: nothing may have happened, or something in between cuts watches, and then the lists alone tell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from .cluster import ClusterError

WATCH_SECONDS = 30.0
"""A watch request lives this long, so that a connection that died silently is noticed soon after."""

CUT_SECONDS = 5.0
"""A watch that ends so soon without a word was not ended by its time: it is not begun again at once."""

FIRST_WAIT, LONGEST_WAIT = 0.25, 2.0
"""Seconds between tries while the API server does not answer: the first pause, doubled up to the longest."""

REFUSED_SECONDS = 30.0
"""For so long a right that was there may be missing: an API server that has just started answers before it has read
all roles (kubernetes/kubernetes#121635)."""

INSIST_SECONDS = 30.0
"""A single request is tried again for so long."""

STOP_SECONDS = 10.0
"""Longer than a connection takes to be made, which is all that cannot be cut."""

Answer = TypeVar("Answer")


class Api(Protocol):
    """The part of a cluster that a watch needs."""

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]: ...

    def watch(
        self, path: str, query: Mapping[str, Any] | None = None, *, resource_version: str = "", timeout: float = 300
    ) -> Iterator[dict[str, Any]]: ...


class ApiToLeave(Api, Protocol):
    """Its `hang_up` ends what other threads have under way."""

    def hang_up(self) -> None: ...


@dataclass(frozen=True)
class Listed:
    """All objects at a path: what is not in it is gone."""

    path: str
    objects: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Changed:
    """One object was added or changed, or is gone."""

    path: str
    object: dict[str, Any]
    gone: bool


@dataclass(frozen=True)
class Interrupted:
    """The API server refuses or does not answer; the watch goes on by itself, unless `final`."""

    path: str
    error: ClusterError
    final: bool


News = Listed | Changed | Interrupted


def follow(
    api: Api,
    path: str,
    query: Mapping[str, Any] | None = None,
    *,
    wait: Callable[[float], bool],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[News]:
    """What happens to the objects at an API path, until the caller stops or a right is missing (403).

    That is final at once only before the first list: later, an API server that restarts says so too.
    wait: pauses for seconds, and says whether to stop. wait, clock: injected, so that tests need no time.
    """
    version, pause, patience = "", FIRST_WAIT, 0.0
    while True:
        try:
            if not version:
                answer = api.get(path, query)
                version, patience = str(answer["metadata"].get("resourceVersion") or ""), REFUSED_SECONDS
                yield Listed(path, tuple(answer.get("items") or ()))
            begun, silent = clock(), True
            for event in api.watch(path, query, resource_version=version, timeout=WATCH_SECONDS):
                pause, silent = FIRST_WAIT, False
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    yield Changed(path, event["object"], gone=event["type"] == "DELETED")
            cut = silent and clock() - begun < CUT_SECONDS
            if wait(pause if cut else 0):
                return
            version = "" if silent else version
            pause = min(2 * pause, LONGEST_WAIT) if cut else FIRST_WAIT
        except ClusterError as error:
            # 410: what happened meanwhile is not known, and is asked for.
            final = error.status in (400, 404, 405) or (error.status == 403 and patience <= 0)
            if error.status != 410:
                yield Interrupted(path, error, final)
            if final or wait(pause):
                return
            if error.status == 403:
                patience -= pause
            version = ""  # so that there is news when it goes on, even if nothing has changed
            pause = min(2 * pause, LONGEST_WAIT)


def insist(
    send: Callable[[], Answer],
    *,
    seconds: float = INSIST_SECONDS,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """What `send` returns; it is called again while the API server does not answer, or asks for patience.

    seconds: for so long, and at least once.
    It may have been heard without an answer: what it asks for must be the same when it is asked for twice.
    wait, clock: injected, so that tests need no time. Raises ClusterError.
    """
    end, pause = clock() + min(seconds, INSIST_SECONDS), FIRST_WAIT
    while True:
        try:
            return send()
        except ClusterError as error:
            passing = error.status in (0, 429) or error.status >= 500
            if not passing or clock() + pause > end:
                raise
        wait(pause)
        pause = min(2 * pause, LONGEST_WAIT)


class Watches:
    """Several watches at once, each in a thread, their news in one queue (`inbox`). One key, one watch."""

    def __init__(self, api: ApiToLeave) -> None:
        self._api = api
        self._over = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self.inbox: SimpleQueue[News] = SimpleQueue()

    def add(self, path: str, query: Mapping[str, Any] | None = None, *, key: str = "") -> None:
        """Follows a path from now on; once, however often it is asked for. key: stands for the path in the news."""
        key = key or path
        if key not in self._threads:
            thread = threading.Thread(target=self._run, args=(path, query, key), daemon=True, name=f"watch {key}")
            self._threads[key] = thread
            thread.start()

    def _run(self, path: str, query: Mapping[str, Any] | None, key: str) -> None:
        for news in follow(self._api, path, query, wait=self._over.wait):
            self.inbox.put(replace(news, path=key))
            if self._over.is_set():
                return

    def stop(self) -> None:
        """No more news: the requests that are under way are cut, and their threads end."""
        self._over.set()
        end = time.monotonic() + STOP_SECONDS
        for thread in self._threads.values():
            while thread.is_alive() and time.monotonic() < end:
                self._api.hang_up()  # again: a thread may have been between two requests
                thread.join(0.05)
