# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a Job to its end, and prints its lines of progress meanwhile, as those of a rollout."""

from __future__ import annotations

from ansible_collections.portal.stt.plugins.action.k8s_rollout import ActionModule as _Rollout
from ansible_collections.portal.stt.plugins.plugin_utils.in_process import KUBERNETES, core_of


class ActionModule(_Rollout):
    """The action behind M(portal.stt.k8s_job)."""

    core = core_of("k8s_job", *KUBERNETES)
