# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What of a Job's log is worth a line: each change once, a download in steps of ten per cent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

STEP = 10
"""Per cent of a download between two lines."""

AGAIN_SECONDS = 30.0
"""Lines that differ in their figures only are passed on once in so long."""

MOST_LINES = 200
_MOST_KINDS = 500

_DOWNLOAD = re.compile(
    r"(?P<model>\S+): \d+/\d+ files, [\d.]+ of (?P<all>\d+(?:\.\d+)?) MB "
    r"\((?P<share>\d{1,3}) %\) (?P<verb>[^,]{1,40}), (?P<rate>.+)"
)
"""roles/speaches/files/seed.py, Progress.line"""


@dataclass(frozen=True)
class Journal:
    """What was passed on of a log so far.

    steps: per cent by model. said: when each kind of line was. model: what the last line was about. lines: how many.
    """

    steps: Mapping[str, int] = field(default_factory=dict)
    said: Mapping[str, float] = field(default_factory=dict)
    model: str = ""
    lines: int = 0

    def read(self, line: str, now: float) -> tuple[Journal, str]:
        """The journal after a line of the log, and what to say of it; empty for nothing. now: seconds."""
        line = " ".join(line.removeprefix("seed: ").split())
        if not line or self.lines > MOST_LINES:
            return self, ""
        download = _DOWNLOAD.fullmatch(line)
        after, told = self._download(download) if download else self._other(line, now)
        if told and after.lines > MOST_LINES:
            told = "what else it writes is in its log (kubectl logs)"
        return after, told

    def _download(self, found: re.Match[str]) -> tuple[Journal, str]:
        model, share = found["model"], min(int(found["share"]), 100) // STEP * STEP
        if share <= self.steps.get(model, -1):
            return self, ""
        told = f"{share} % of {float(found['all']):.0f} MB {found['verb']}, {found['rate']}"
        return self._said(model, told, steps={**self.steps, model: share})

    def _other(self, line: str, now: float) -> tuple[Journal, str]:
        kind = re.sub(r"\d+(?:\.\d+)?", "0", line)
        if kind in self.said and now - self.said[kind] < AGAIN_SECONDS:
            return self, ""
        said = {**self.said, kind: now} if len(self.said) < _MOST_KINDS else {kind: now}
        model, colon, rest = line.partition(": ")
        if colon and re.fullmatch(r"[\w.-]+/[\w.-]+", model):
            return self._said(model, rest, said=said)
        return replace(self, said=said, lines=self.lines + 1), line

    def _said(self, model: str, told: str, **now: Mapping[str, int] | Mapping[str, float]) -> tuple[Journal, str]:
        """A line about a model names it if the one before was not about it."""
        after = replace(self, model=model, lines=self.lines + 1, **now)  # type: ignore[arg-type]
        return after, told if model == self.model else f"{model}: {told}"
