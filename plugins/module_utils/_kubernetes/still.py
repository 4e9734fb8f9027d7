# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether what a run has declared is still so at its end: another run may have declared something else meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .._findings import Finding, Status
from .apply import ApplyError, label, lacks
from .cluster import Cluster
from .judge import Judge, Judged
from .ownership import Manifest, evidence
from .remove import Remover

_REMEDY = "See that one run at a time is at work here, then run again with the settings that are to hold."


def changed_since(cluster: Cluster, declared: Collection[Manifest]) -> list[Finding]:
    """What is not so any more, a finding each. Changes nothing. Raises ClusterError.

    A number of replicas that somebody has set meanwhile is no such change; a kind that the API server does not know
    has not been declared.
    """
    optional = {one["kind"] for one in declared} - {"Namespace"}
    judgement = Judge(cluster, optional=optional).judge(declared)
    other = [one for one in judgement.judged if one.changes and not any(map(_of_scale, one.warnings))]
    return [*(error.finding for error in judgement.errors), *map(_other, other)]


def returned(cluster: Cluster, gone: Sequence[Manifest]) -> list[Finding]:
    """What is there again of that which was to be gone, and is ours. Changes nothing. Raises ClusterError."""
    said = "it was not wanted, and is there: another run was here meanwhile."
    again = [label(one.live) for one in Remover(cluster).look(gone).found]
    return [Finding(ApplyError.check, Status.REFUSED, name, said, _REMEDY) for name in again]


def _of_scale(finding: Finding) -> bool:
    return finding.check == "cluster.scale"


def _other(one: Judged) -> Finding:
    live = one.live
    done = "is gone" if live is None else "is no longer what this run declared"
    said = f"it {done}: another run, or somebody else, was here meanwhile."
    return Finding(ApplyError.check, Status.REFUSED, label(one.manifest), said, _REMEDY, _facts(one))


def _facts(one: Judged) -> tuple[str, ...]:
    """Where it differs, without the values: of a Secret they are nobody's business."""
    if one.live is None:
        return ()
    paths = [line.partition(" ")[0] for line in lacks(one.live, one.manifest)]
    return (*(f"{path} is another" for path in paths), *evidence(one.live))
