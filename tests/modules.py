"""Runs a module's main() as Ansible would, in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from types import ModuleType
from typing import Any

from ansible.module_utils.testing import patch_module_args


def run_module(module: ModuleType, **params: Any) -> dict[str, Any]:
    """The module's result; `failed` is in it whenever the module failed."""
    printed = io.StringIO()
    with patch_module_args(params), redirect_stdout(printed), suppress(SystemExit):
        module.main()
    result: Mapping[str, Any] = json.loads(printed.getvalue())
    return dict(result)
