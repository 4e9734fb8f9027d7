"""Every check that a finding can have stands in docs/checks.md where the report says it does, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.portal.stt.plugins.module_utils._report.lines import place

ROOT = Path(__file__).parents[2]
_CHECK = re.compile(r"(cluster|cuda|gpu|host|image|nfs|rollout|run|settings|speech)(\.[a-z0-9_]+)?")
_SAYERS = re.compile(r"_?[Ff]inding|_?say|_?stop|_?refused|_?warning|check")


def _checks(tree: ast.AST) -> Iterator[str]:
    """First arguments of what makes findings, classes' `check`, and first items of tables of problems."""
    for node in ast.walk(tree):
        first = _first(node)
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and _CHECK.fullmatch(first.value):
            yield first.value


def _first(node: ast.AST) -> ast.expr | None:
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[first, *_]) if _SAYERS.fullmatch(name):
            return first
        case ast.Assign(targets=[ast.Name(id="check")], value=first) | ast.keyword(arg="check", value=first):
            return first
        case ast.Tuple(elts=[ast.Constant(value=str(text)) as first, ast.Constant(), ast.Constant()]) if "." in text:
            return first
    return None


def test_docs_and_code_name_the_same_checks() -> None:
    files = [*ROOT.glob("plugins/*/*.py"), *ROOT.glob("plugins/module_utils/**/*.py")]
    said = {check for file in files for check in _checks(ast.parse(file.read_text()))}
    documented = dict(re.findall(r'<a id="([a-z0-9-]+)"></a>`([a-z0-9_.]+)`', (ROOT / "docs/checks.md").read_text()))
    assert said == set(documented.values())
    assert {place(check) for check in said} == {f"docs/checks.md#{anchor}" for anchor in documented}
