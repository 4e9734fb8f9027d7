# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs leave to each other. The decisions are in module_utils."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.portal.stt.plugins.module_utils import _hand_over
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError
from ansible_collections.portal.stt.plugins.module_utils._rollout import underway


def hand_over(results: Sequence[Mapping[str, Any]], play: str) -> dict[str, Any]:
    return _hand_over.hand_over(play, results)


def handed(given: object) -> dict[str, Any]:
    try:
        found = _hand_over.handed(given)
    except CollectionError as error:
        raise AnsibleFilterError(str(error)) from None
    return {**found, "is_good": _hand_over.is_good(found)}


def kept_reports(given: Mapping[str, Any], before: Mapping[str, Any], now: str, cluster: str = "") -> dict[str, str]:
    return _hand_over.kept({name: given[name] for name in given if name != "is_good"}, before, now, cluster)


def deploys_underway(deployments: Sequence[Any], pods: Sequence[Any], jobs: Sequence[Any]) -> list[str]:
    return underway.underway(deployments, pods, jobs)


class FilterModule:
    """The filters of the collection's playbooks."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "deploys_underway": deploys_underway,
            "hand_over": hand_over,
            "handed": handed,
            "kept_reports": kept_reports,
        }
