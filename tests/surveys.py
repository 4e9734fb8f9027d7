"""awx/surveys.yml from the roles' argument specs: python -m tests.surveys"""

from __future__ import annotations

import re
import sys
from typing import Any

import yaml

from tests.conftest import ROOT

FILE = ROOT / "awx" / "surveys.yml"
ANSWER = "answer_"
"""Before the names of variables. An extra variable hides the inventory's, also an empty one; playbooks/controller.yml
makes a setting of an answer, and nothing of an empty one."""

_DEPLOY = (
    "speaches_image",
    "speaches_image_pin",
    "speaches_model",
    "speaches_model_revision",
    "speaches_replicas",
    "speaches_strategy",
    "speaches_startup_seconds",
    "speaches_seed_seconds",
    "speaches_rollout_seconds",
    "speaches_rollback",
)
_PREFLIGHT = (
    "speaches_image",
    "preflight_runtime_mode",
    "preflight_accept_unknown",
    "preflight_probe_image",
    "preflight_probe_namespace",
)
_STORAGE = ("nfs_export_when_covered", "nfs_export_min_free_mib", "nfs_export_install_server")
_PLAN = tuple(dict.fromkeys((*_DEPLOY, *_PREFLIGHT, *_STORAGE)))

QUESTIONS: dict[str, tuple[str, ...]] = {
    "preflight": _PREFLIGHT,
    "plan": _PLAN,
    "storage": _STORAGE,
    "deploy": _DEPLOY,
    "verify": ("speaches_model", "speaches_verify_url"),
    "teardown": ("nfs_export_delete_data", "nfs_export_delete_path"),
    "workflow": _PLAN,
}
"""Template → what it asks: text, numbers and choices that one run may want otherwise than the last.

Lists and dicts, and what is to last, belong to the inventory; secrets to credentials."""

_HEAD = """---
# Made from the roles' argument specs by `make surveys`; loaded by configure.yml.
# No question has a default: AWX would send it, and with it override the inventory. Nor is a question's variable the
# setting itself: what is left empty may come as empty, and would override it, too.
"""
_MARKUP = re.compile(r"\b[A-Z]\(((?:[^()\\]|\\.)*)\)")


def options() -> dict[str, dict[str, Any]]:
    """Variable → its option in an argument spec; a spec's main entry point is the fullest."""
    found: dict[str, dict[str, Any]] = {}
    for role in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for spec in reversed(yaml.safe_load(role.read_text())["argument_specs"].values()):
            found.update(spec.get("options") or {})
    return found


def question(variable: str, option: dict[str, Any]) -> dict[str, Any]:
    """A question of AWX for a variable. Raises ValueError for what no survey can ask, or must not."""
    choices = ["true", "false"] if option["type"] == "bool" else option.get("choices")
    kind = "multiplechoice" if choices else {"str": "text", "int": "integer"}.get(option["type"])
    if kind is None or option.get("no_log"):
        raise ValueError(f"{variable} is not for a survey")
    said = option["description"] if isinstance(option["description"], str) else option["description"][0]
    default = option.get("default", "")
    shown = str(default).lower() if isinstance(default, bool) else default if default != "" else "empty"
    asked: dict[str, Any] = {
        "question_name": variable,
        "question_description": f"{_plain(said)} Not answered: what the inventory says, or {shown}.",
        "variable": f"{ANSWER}{variable}",
        "type": kind,
        "required": False,
    }
    if choices:
        return {**asked, "choices": list(choices)}
    return {**asked, "min": 0, "max": 1024 if kind == "text" else 1_000_000}


def _plain(said: str) -> str:
    return _MARKUP.sub(r"\1", said)


def surveys() -> dict[str, Any]:
    """Template → its survey, as AWX takes it."""
    every = options()
    return {
        name: {"name": "", "description": "", "spec": [question(one, every[one]) for one in asked]}
        for name, asked in QUESTIONS.items()
    }


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def text() -> str:
    """The whole of awx/surveys.yml."""
    body = yaml.dump({"awx_surveys": surveys()}, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
    return _HEAD + body


if __name__ == "__main__":
    FILE.write_text(text())
    print(FILE, file=sys.stderr)
