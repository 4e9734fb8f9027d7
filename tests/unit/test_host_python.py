"""What gpu_host_info carries to hosts with an old Python is linted for that Python."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _carried(file: Path) -> Iterator[Path]:
    """Files that the file's relative imports name, at any depth: what Ansible packs for a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        names = [folder.with_suffix(".py"), *(folder / f"{alias.name}.py" for alias in node.names)]
        yield from (name for name in names if name.is_file())


def test_the_linter_knows_what_hosts_run() -> None:
    todo, carried = [ROOT / "plugins/modules/gpu_host_info.py"], set[Path]()
    while todo:
        file = todo.pop()
        if file not in carried:
            carried.add(file)
            todo += _carried(file)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["per-file-target-version"]
    assert settings == {str(file.relative_to(ROOT)): "py39" for file in sorted(carried)}
