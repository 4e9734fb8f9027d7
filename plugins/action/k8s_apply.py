# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply, in the controller's process where it can."""

from __future__ import annotations

from ansible_collections.portal.stt.plugins.plugin_utils.in_process import KUBERNETES, InProcess, core_of


class ActionModule(InProcess):
    """The action behind M(portal.stt.k8s_apply)."""

    core = core_of("k8s_apply", *KUBERNETES)
    discreet = True
    _supports_async = False  # a file with the result would keep the arguments, too
