# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make vectors VECTORS=FILE`: run a file of vectors, print those that fail, end with the count."""

from __future__ import annotations

import sys
from pathlib import Path

from . import SAMPLE, load


def main() -> int:
    """1 when a vector failed, 2 when the file cannot be read or has none, otherwise 0."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    try:
        vectors = list(load(path))
    except (OSError, ValueError) as exc:
        print(f"{path}: {exc}", file=sys.stderr)
        return 2
    if not vectors:
        print(f"{path}: it has neither dsl_vectors nor image_matrix", file=sys.stderr)
        return 2
    passed = failed = 0
    for vector in vectors:
        answer = vector.answer()
        if answer == vector.result:
            passed += 1
        else:
            failed += 1
            print(f"FAILED {vector.name}\n  expected {vector.result}\n  got      {answer}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
