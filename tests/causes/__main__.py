# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make causes CAUSES=FILE`: each text of a file to the diagnosis; prints those that are not right, and the count."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from . import CORPUS, judge, load


def main() -> int:
    """1 when a text was not right, 2 when the file cannot be read or has none, otherwise 0."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS
    try:
        cases = load(path)
    except (OSError, ValueError) as exc:
        print(f"{path}: {exc}", file=sys.stderr)
        return 2
    if not cases:
        print(f"{path}: it has no texts", file=sys.stderr)
        return 2
    judged = [judge(case) for case in cases]
    for one in judged:
        if one.kind != "right":
            print(one)
    kinds = Counter(one.kind for one in judged)
    harmful = sum(bool(one.harm) for one in judged)
    print(
        ", ".join(f"{kinds[kind]} {kind}" for kind in ("right", "vague", "unknown", "wrong")) + f", {harmful} harmful"
    )
    return 1 if kinds["right"] < len(judged) else 0


if __name__ == "__main__":
    sys.exit(main())
