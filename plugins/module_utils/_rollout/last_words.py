# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a pod's program says of its own failure: a JSON object as termination message, as the seed Job leaves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .._kubernetes.objects import text

MOST = 600
"""Characters of each sentence that are shown."""


@dataclass(frozen=True)
class LastWords:
    """error: what happened. cause: why. remedy: what to do. again: whether another try can help."""

    error: str
    cause: str = ""
    remedy: str = ""
    again: bool = True


def last_words(message: str) -> LastWords | None:
    """A program's explanation; None where the message is none. It is quoted, not obeyed: only `again` is heeded.

    Only ``"again": false`` says that another try is pointless; anything else leaves the tries to the Job.
    """
    try:
        told = json.loads(message) if message.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, Mapping):
        return None
    error, cause, remedy = (_sentence(told.get(key)) for key in ("error", "cause", "remedy"))
    return LastWords(error, cause, remedy, told.get("again") is not False) if error else None


def _sentence(value: object) -> str:
    return " ".join(text(value, MOST).split())
