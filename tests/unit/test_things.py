"""Remedies name what is to be set: by its variable where a role has said so, by itself otherwise.

What a role says is held to what its modules can ask for, to the table of things, and to the variables there are.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.portal.stt.plugins.module_utils._things import THINGS, told

from tests.conftest import ROOT
from tests.modules import carried

Task = dict[str, Any]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
UTILS = ROOT / "plugins" / "module_utils"
FILTERS = ROOT / "plugins" / "filter" / "speaches.py"

WITHOUT: dict[str, set[str]] = {
    "preflight": {"docker_config", "platform"},  # the user's own file; each that the nodes have
    # as above; the registry's own choice; the role's pods fit Pod Security `restricted`
    "speaches": {"docker_config", "platform", "spec.securityContext"},
}
"""Things that a role has no variable for, and why."""

NOT_THINGS = {"N/A", "Nvidia", "nfsd"}
"""What else stands in square brackets: nvidia-smi's word for no number, the vendor in a list of lspci's form, a section
of /etc/nfs.conf."""

STILL_NAMING: set[str] = set()
"""Rooms whose remedies still name a role's variables."""

_MARK = re.compile(r"(?:^|(?<=[\s(]))\[([A-Za-z][\w./-]*)\](?=$|[\s.,;:)'])")


def spoken(file: Path) -> Iterator[str]:
    """Every text of a file with a blank in it, but for what documents the code."""
    tree = ast.parse(file.read_text())
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in apart
            and " " in node.value
        ):
            yield node.value


def marks(file: Path) -> set[str]:
    return {mark for text in spoken(file) for mark in _MARK.findall(text)} - NOT_THINGS


def tasks_of(role: str) -> Iterator[tuple[str, Task]]:
    """Each task of a role with its file, from within blocks too."""
    for file in sorted((ROOT / "roles" / role / "tasks").glob("*.yml")):
        todo: list[Task] = list(yaml.safe_load(file.read_text()))
        while todo:
            task = todo.pop()
            todo += [one for part in ("block", "rescue", "always") for one in task.get(part, [])]
            yield str(file.relative_to(ROOT)), task


def asked(role: str) -> Iterator[tuple[str, str, Any]]:
    """Uses of our modules that have an option `settings`: file, module, and what the task says for it."""
    for file, task in tasks_of(role):
        for key in task:
            name = key.removeprefix("portal.stt.")
            if key != name and "settings" in arguments(name):
                yield file, name, task[key].get("settings")


def arguments(module: str) -> dict[str, Any]:
    found = importlib.import_module(f"ansible_collections.portal.stt.plugins.modules.{module}")
    return dict(getattr(found, "ARGUMENTS", {}).get("argument_spec", {}))


def said(role: str) -> dict[str, str]:
    """The role's map: thing → variable."""
    return dict(yaml.safe_load((ROOT / "roles" / role / "vars/main.yml").read_text())[f"{role}__settings"])


def askable(role: str) -> set[str]:
    """All that the role's modules and filters can ask for."""
    used = {ROOT / "plugins" / "modules" / f"{name}.py" for _, name, _ in asked(role)}
    if any("portal.stt.speaches_" in file.read_text() for file in (ROOT / "roles" / role).rglob("*.yml")):
        used.add(FILTERS)
    return {mark for file in used for part in carried(file) if UTILS in part.parents for mark in marks(part)}


def variables() -> dict[str, dict[str, Any]]:
    """Every variable of every role, as its argument spec describes it."""
    specs = [
        yaml.safe_load(path.read_text())["argument_specs"] for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    ]
    return {name: one for spec in specs for entry in spec.values() for name, one in entry.get("options", {}).items()}


@pytest.mark.parametrize(
    ("settings", "right"),
    [
        (
            {"when_covered": "nfs_export_when_covered"},
            "Set nfs_export_when_covered: skip, see [1] and [other].",
        ),
        ({}, "Set when_covered: skip, see [1] and [other]."),
        ({"when_covered": "[when_covered]"}, "Set [when_covered]: skip, see [1] and [other]."),
    ],
)
def test_a_remedy_names_the_variable_or_the_thing(settings: dict[str, str], right: str) -> None:
    assert told("Set [when_covered]: skip, see [1] and [other].", settings) == right


@pytest.mark.parametrize(("role", "thing"), [(role, thing) for role in ROLES for thing in said(role)])
def test_with_the_role_the_operator_reads_the_variable_without_it_the_thing(role: str, thing: str) -> None:
    settings = said(role)
    assert told(f"Look at [{thing}].", settings) == f"Look at {settings[thing]}."
    assert told(f"Look at [{thing}].", {}) == f"Look at {THINGS[thing]}."


def test_every_mark_is_a_thing_and_every_thing_is_asked_for() -> None:
    assert {mark for file in UTILS.rglob("*.py") for mark in marks(file)} == set(THINGS)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_variable_for_all_that_its_modules_ask_for(role: str) -> None:
    assert askable(role) == set(said(role)) | WITHOUT.get(role, set())
    assert not set(said(role)) & WITHOUT.get(role, set())


@pytest.mark.parametrize(("role", "variable"), [(role, name) for role in ROLES for name in said(role).values()])
def test_what_a_role_names_is_a_variable(role: str, variable: str) -> None:
    name, _, key = variable.partition(".")
    options = variables()[name].get("options")
    assert not key or (variables()[name]["type"] == "dict" and (options is None or key in options))


def test_every_task_says_what_sets_a_thing() -> None:
    uses = [(role, *use) for role in ROLES for use in asked(role)]
    silent = {(file, module) for role, file, module, given in uses if given != f"{{{{ {role}__settings }}}}"}
    assert silent == set()


def test_no_remedy_of_a_module_names_a_variable() -> None:
    names = re.compile(rf"\b({'|'.join(variables())})\b")
    rooms = [file for file in UTILS.rglob("*.py") if "_settings" not in file.parts]
    naming = {str(file.relative_to(UTILS)) for file in rooms if any(map(names.search, spoken(file)))}
    assert {file for file in naming if not file.startswith(tuple(STILL_NAMING))} == set()
    assert {room for room in STILL_NAMING if not any(file.startswith(room) for file in naming)} == set()
