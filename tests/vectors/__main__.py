# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make vectors VECTORS=FILE`: run a file of vectors, print those that fail, end with the count."""

from __future__ import annotations

import sys
from pathlib import Path

from . import SAMPLE, load


def main() -> int:
    """1 when a vector failed, otherwise 0."""
    passed = failed = 0
    for vector in load(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE):
        answer = vector.answer()
        if answer == vector.result:
            passed += 1
        else:
            failed += 1
            print(f"FAILED {vector.name}\n  expected {vector.result}\n  got      {answer}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
