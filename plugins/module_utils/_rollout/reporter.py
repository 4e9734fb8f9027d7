# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Passes on the lines of progress: with the seconds, each pod's name once, not wider than a terminal."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Protocol

from .._kubernetes.objects import WORDS_LENGTH, text

PROGRESS: dict[str, Any] = {
    "timeout": {"type": "int", "default": 900},
    "progress": {"type": "bool", "default": True},
    "progress_to": {"type": "path"},
}
"""The options of a module that reports (the fragment portal.stt.progress)."""

WIDTH = 88
"""Columns of a line; a hundred with the name of an inventory's host before it."""


class Gone(Exception):
    """Whoever asked for the rollout is no longer there."""


class Say(Protocol):
    """Gets a line of progress as it happens. pod: the name of the one that it is about, if it is about one."""

    def __call__(self, line: str, pod: str = "", /) -> None: ...


@dataclass(frozen=True)
class Names:
    """Which pods were named so far, and which one the last line was about."""

    named: frozenset[str] = field(default_factory=frozenset)
    last: str = ""

    def put(self, line: str, pod: str) -> tuple[Names, str]:
        """The line with as much of the pod's name as it needs: all of it once, its end where lines of pods mix."""
        if not pod:
            return self, line
        after = replace(self, named=self.named | {pod}, last=pod)
        if pod not in self.named:
            return after, f"pod {pod}: {line}"
        return after, line if pod == self.last else f"{pod.rpartition('-')[2]}: {line}"


def cut(line: str, width: int) -> str:
    """One line of no more than so many columns, without control characters."""
    line = " ".join(text(line, WORDS_LENGTH).split(" ")).replace("\n", " ").replace("\t", " ").rstrip()
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


class Reporter:
    """Collects the lines of progress, and passes each on as it happens.

    show: prints a line, where this is the process of the run. pipe: path of a named pipe that the run reads, elsewhere.
    width: columns of what is passed on. What is collected is whole.
    """

    def __init__(
        self,
        pipe: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        show: Callable[[str], object] | None = None,
        width: int = WIDTH,
    ) -> None:
        self._clock, self._show, self._width = clock, show, width
        self._parent = os.getppid()
        self._start = clock()
        self._pipe = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK) if pipe else None
        self._names = Names()
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

    def say(self, line: str, pod: str = "", /) -> None:
        """Raises Gone when nobody reads any more."""
        self._names, named = self._names.put(line, pod)
        whole = f"{self.seconds:5.1f} s  {named}"
        self.lines.append(cut(whole, WORDS_LENGTH))
        if self._show is not None:
            try:
                self._show(cut(whole, self._width))
            except OSError:
                raise Gone from None
        if self._pipe is not None:
            try:
                os.write(self._pipe, cut(whole, self._width).encode() + b"\n")
            except BlockingIOError:
                pass  # a reader so slow misses a line; it is in the result
            except BrokenPipeError:
                raise Gone from None

    def present(self) -> bool:
        """Whether the reader is there: the run that this process belongs to, or who reads the pipe."""
        if self._pipe is None:
            return self._show is None or os.getppid() == self._parent
        poll = select.poll()
        poll.register(self._pipe, 0)
        return not any(flags & select.POLLERR for _, flags in poll.poll(0))
