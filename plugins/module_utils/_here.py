# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""How the controller's own files are called: an execution environment has none of the operator's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Here:
    """place: where files are looked for, as the end of a sentence. remedy: how a file gets there."""

    place: str
    remedy: str


_MACHINE = Here("on this machine", "Correct the path.")
_ENVIRONMENT = Here(
    "in the execution environment that runs this job",
    "Put it into the project, the environment's image or a credential, and set its path there.",
)


def here(environment: Mapping[str, str] = os.environ) -> Here:
    """How files of the controller are spoken of."""
    return _ENVIRONMENT if in_execution_environment(environment) else _MACHINE


def in_execution_environment(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a job of AWX, or a container of ansible-runner, whose data are in /runner."""
    return "AWX_PRIVATE_DATA_DIR" in environment or environment.get("AWX_ISOLATED_DATA_DIR", "").startswith("/runner")
