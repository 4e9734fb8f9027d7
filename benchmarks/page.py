"""What the benchmarks write into docs/: tables between the markers of a page, and ratios with their extremes."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from pathlib import Path


def put(page: Path, name: str, table: str) -> None:
    """Replaces what stands between the markers ``begin NAME`` and ``end NAME``."""
    between = rf"(<!-- begin {name}[^\n]*\n).*?(<!-- end {name})"
    page.write_text(re.sub(between, lambda found: f"{found[1]}{table}\n{found[2]}", page.read_text(), flags=re.DOTALL))


def ratio(values: Iterable[float]) -> str:
    """The median, with the extremes."""
    found = sorted(values)
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"
