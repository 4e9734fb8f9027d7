# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that every module has whose findings tell an operator what to set."""

from __future__ import annotations


class ModuleDocFragment:
    """`portal.stt.settings`."""

    DOCUMENTATION = r"""
options:
  settings:
    description:
      - Things that a remedy may ask for, such as V(spec.template.spec.priorityClassName), each with the variable that
        sets it, such as V(speaches_priority_class). A remedy then names the variable. A thing that is not in it goes
        by the field or option that it is.
    type: dict
    default: {}
"""
