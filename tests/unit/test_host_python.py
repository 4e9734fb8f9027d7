"""What gpu_host_info carries to hosts with an old Python is linted for that Python."""

from __future__ import annotations

import tomllib

from tests.conftest import ROOT
from tests.modules import carried


def test_the_linter_knows_what_hosts_run() -> None:
    files = carried(ROOT / "plugins/modules/gpu_host_info.py")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["per-file-target-version"]
    assert settings == {str(file.relative_to(ROOT)): "py39" for file in sorted(files)}
