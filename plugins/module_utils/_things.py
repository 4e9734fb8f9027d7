# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a remedy can ask an operator to set: the one table, and the one place that puts a name into a remedy.

A remedy names a thing in square brackets: ``Lower [resources.requests.cpu], or free some on the node.`` Whoever runs a
module can say, in its option `settings`, by which variable each thing is set; the remedy then names that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

THINGS: dict[str, str] = {
    # image, nodes and the verdict
    "accept_unknown": "accept_unknown",
    "compute_type": "compute_type",
    # the server and its models
    "hub.endpoint": "HF_ENDPOINT",
    # a card's memory
    "memory.metrics": "metrics",
    "memory.neighbours": "neighbours",
    "memory.ours": "ours_mib",
    "memory.resource": "resource and quantity",
    "memory.source": "prometheus, exporter or dcgm",
    # nfs_export
    "allow_world": "allow_world",
    "directories": "directories",
    "install_server": "your playbook",
    "min_free_mib": "min_free_mib",
    "when_covered": "when_covered",
}
"""Thing → how it is called where nobody has said which variable sets it: a field's path or an option's name."""

_MARK = re.compile(r"\[([A-Za-z][\w./-]*)\]")


def told(remedy: str, settings: Mapping[str, str]) -> str:
    """The remedy with each thing of the table under its name; `settings`: thing → variable. Other brackets stay."""

    def name(mark: re.Match[str]) -> str:
        thing = mark[1]
        return settings.get(thing) or THINGS[thing] if thing in THINGS else mark[0]

    return _MARK.sub(name, remedy)
