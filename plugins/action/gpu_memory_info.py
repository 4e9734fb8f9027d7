# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads who sits in GPU memory from the controller's process where it can."""

from __future__ import annotations

from ansible_collections.portal.stt.plugins.plugin_utils.in_process import KUBERNETES, InProcess, core_of


class ActionModule(InProcess):
    """The action behind M(portal.stt.gpu_memory_info)."""

    core = core_of("gpu_memory_info", *KUBERNETES)
