# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Passes on the lines of progress."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from types import TracebackType

from .follow import Gone


class Reporter:
    """Collects the lines of progress, and shows each as it happens.

    show: prints a line, where this is the process of the run. pipe: path of a named pipe that the run reads, elsewhere.
    """

    def __init__(
        self,
        pipe: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        show: Callable[[str], None] | None = None,
    ) -> None:
        self._clock = clock
        self._show = show
        self._parent = os.getppid()
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
        """Raises Gone when nobody reads any more."""
        line = f"{self.seconds:5.1f} s  {text}"
        self.lines.append(line)
        if self._show is not None:
            try:
                self._show(line)
            except OSError:
                raise Gone from None
        if self._pipe is not None:
            try:
                os.write(self._pipe, line.encode() + b"\n")
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
