"""What a module documents is what it takes: names, types, defaults, choices."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.portal.stt.plugins.doc_fragments import progress, settings
from ansible_collections.portal.stt.plugins.modules import transcription_check

from tests.conftest import ROOT

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PACKAGE = "ansible_collections.portal.stt.plugins.modules"
FRAGMENTS = {f"portal.stt.{one.__name__.rpartition('.')[2]}": one.ModuleDocFragment for one in (progress, settings)}
PROPERTIES: dict[str, Any] = {"type": "str", "default": None, "required": False, "choices": None, "elements": None}


def normal(options: dict[str, Any]) -> dict[str, Any]:
    """Options, with all that is not said; suboptions under one name."""
    found: dict[str, Any] = {}
    for name, option in options.items():
        found[name] = {key: option.get(key, missing) for key, missing in PROPERTIES.items()}
        found[name]["options"] = normal(option.get("options") or option.get("suboptions") or {})
    return found


def documented_options(documentation: dict[str, Any]) -> dict[str, Any]:
    """The module's own, and those of our fragments."""
    options: dict[str, Any] = dict(documentation.get("options") or {})
    for name in FRAGMENTS.keys() & documentation["extends_documentation_fragment"]:
        options |= yaml.safe_load(FRAGMENTS[name].DOCUMENTATION)["options"]
    return options


@pytest.mark.parametrize(
    "name", [name for name in MODULES if name not in ("controller_check", "report", "settings_check")]
)
def test_documentation_and_arguments_are_the_same(name: str) -> None:
    module = importlib.import_module(f"{PACKAGE}.{name}")
    documented = yaml.safe_load(module.DOCUMENTATION)
    spec = {key: value for key, value in module.ARGUMENTS["argument_spec"].items() if key not in AUTH_ARG_SPEC}
    assert normal(documented_options(documented)) == normal(spec)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_documents_how_it_runs_and_three_examples(name: str) -> None:
    module = importlib.import_module(f"{PACKAGE}.{name}")
    documented = yaml.safe_load(module.DOCUMENTATION)
    assert documented["extends_documentation_fragment"][0].startswith("portal.stt.attributes")
    assert len(yaml.safe_load(module.EXAMPLES)) >= 3
    assert Path(module.__file__ or "").stem == documented["module"]


def of_role(path: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / path).read_text())


def test_verify_takes_what_the_module_takes() -> None:
    """A mistyped key of a clip is refused with the role's settings, not after the deployment."""
    role = of_role("speaches/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    module = normal(yaml.safe_load(transcription_check.DOCUMENTATION)["options"])
    settings = normal(role["speaches_verify"]["options"])
    assert settings == {name: module[name] for name in settings}
    assert normal(role["speaches_verify_clips"]["options"]) == module["clips"]["options"]
