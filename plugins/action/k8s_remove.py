# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes objects of ours, in the controller's process where it can."""

from __future__ import annotations

from ansible_collections.portal.stt.plugins.plugin_utils.in_process import KUBERNETES, InProcess, core_of


class ActionModule(InProcess):
    """The action behind M(portal.stt.k8s_remove)."""

    core = core_of("k8s_remove", *KUBERNETES)
    discreet = True  # what was declared may be a Secret
