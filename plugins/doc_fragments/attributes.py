# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module says of itself: whether it can try out, show differences, and be repeated."""

from __future__ import annotations


class ModuleDocFragment:
    """`portal.stt.attributes`, to which a module adds its own support; `portal.stt.attributes.read_only`, complete."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell what it would do, without changing anything.
  diff_mode:
    description: Shows what changed, or would change, in C(--diff) mode.
  idempotent:
    description: Run again in the same circumstances, it changes nothing and reports no change.
"""

    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and tell what it would do, without changing anything.
    support: full
    details: Changes nothing, and works the same in check mode.
  diff_mode:
    description: Shows what changed, or would change, in C(--diff) mode.
    support: N/A
    details: Changes nothing.
  idempotent:
    description: Run again in the same circumstances, it changes nothing and reports no change.
    support: full
"""
