"""Runs a module's main() as Ansible would, in this process; and tells which files a module is made of."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible.module_utils.testing import patch_module_args

from tests.conftest import ROOT

_COLLECTION = "ansible_collections.portal.stt."


def run_module(module: ModuleType, **params: Any) -> dict[str, Any]:
    """The module's result; `failed` is in it whenever the module failed."""
    printed = io.StringIO()
    with patch_module_args(params), redirect_stdout(printed), suppress(SystemExit):
        module.main()
    result: Mapping[str, Any] = json.loads(printed.getvalue())
    return dict(result)


def carried(file: Path) -> set[Path]:
    """The file, and those of the collection that its imports lead to, at any depth: what Ansible packs for a module."""
    todo, found = [file], set[Path]()
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += _imported(one)
    return found


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if not node.level and not module.startswith(_COLLECTION):
            continue
        folder = (file.parents[node.level - 1] if node.level else ROOT) / module.removeprefix(_COLLECTION).replace(
            ".", "/"
        )
        names = [folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in node.names)]
        yield from (name for name in names if name.is_file())
