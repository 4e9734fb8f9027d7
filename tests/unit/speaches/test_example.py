"""The example inventory is the operator's list of variables: none is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

EXAMPLE = (ROOT / "inventory" / "example" / "group_vars" / "all.yml").read_text()
DEFAULTS = sorted((ROOT / "roles").glob("*/defaults/main.yml"))


@pytest.mark.parametrize("defaults", DEFAULTS, ids=lambda path: path.parts[-3])
def test_the_example_names_every_default(defaults: Path) -> None:
    named = set(re.findall(r"^# (\w+):", EXAMPLE, re.MULTILINE))
    assert not set(yaml.safe_load(defaults.read_text())) - named
