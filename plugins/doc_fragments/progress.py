# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that every module has that watches something on the cluster."""

from __future__ import annotations


class ModuleDocFragment:
    """`portal.stt.progress`."""

    DOCUMENTATION = r"""
options:
  timeout:
    description: Seconds after which what is watched counts as failed, whatever its state.
    type: int
    default: 900
  progress:
    description: Whether to print a line for each change while waiting. The lines are in RV(progress) in any case.
    type: bool
    default: true
  progress_to:
    description: Named pipe that each line is written to as it happens. The action plugin sets it.
    type: path
"""
