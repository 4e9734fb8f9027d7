"""What the lab says: a line a step, and errors in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_line_is_open = False


class LabError(RuntimeError):
    """Something that the lab needs is missing or failed. The message says what, where and what to do."""


def say(text: str) -> None:
    """Prints a line below the step that is running."""
    _end_line()
    print(f"    {text}", flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Prints `name`, and the seconds that the block took when it is done."""
    global _line_is_open
    print(f"  {name} …", end="", flush=True)
    _line_is_open = True
    began = time.monotonic()
    try:
        yield
    except BaseException:
        _end_line()
        raise
    seconds = f"{time.monotonic() - began:.1f} s"
    print(f" {seconds}" if _line_is_open else f"  {name} … {seconds}", flush=True)
    _line_is_open = False


def _end_line() -> None:
    global _line_is_open
    if _line_is_open:
        print(flush=True)
    _line_is_open = False
