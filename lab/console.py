"""What the lab says: a line a step, and errors in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class LabError(RuntimeError):
    """Something that the lab needs is missing or failed. The message says what, where and what to do."""


def say(text: str) -> None:
    """Prints a line below the step that is running."""
    print(f"    {text}", flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Prints `name` with the seconds that the block took."""
    began = time.monotonic()
    yield
    print(f"  {name} … {time.monotonic() - began:.1f} s", flush=True)
