# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the variables of the roles as they are for this host, all at once, and prints no secret."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible.parsing.vault import EncryptedString
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.portal.stt.plugins.module_utils._findings import Finding
from ansible_collections.portal.stt.plugins.module_utils._settings import show
from ansible_collections.portal.stt.plugins.module_utils._settings.check import check, findings, variable
from ansible_collections.portal.stt.plugins.module_utils._settings.rules import PLAYBOOKS, PREFIXES, ROLES, is_own
from ansible_collections.portal.stt.plugins.module_utils._settings.shapes import Broken

try:  # where a value stands is told only by Ansible's inner parts; without them it is left out
    from ansible._internal._datatag._tags import Origin, SourceWasEncrypted
except ImportError:
    Origin = None

_DEEPEST = 20
_MOST = 50_000
"""Values of one variable, each YAML alias counted as often as it is used."""
_OWN = tuple(str(Path(__file__).resolve().parents[2] / name) + os.sep for name in ("roles", "playbooks"))
_VAULT = "Give the vault's password (--vault-password-file, --ask-vault-pass), or encrypt the value anew."
_UNDEFINED = re.compile(r"'([A-Za-z_][A-Za-z0-9_]*)' is undefined")
_TOKEN = re.compile(r"[^\s,\]}#]+")
_SECRET = re.compile(r"speaches_(?:api_key|hub|environment)\b")


ARGUMENTS: dict[str, Any] = {
    "roles": {"type": "list", "elements": "str", "choices": sorted(ROLES), "required": True},
    "look_for_files": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """The action behind M(portal.stt.settings_check)."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _VALID_ARGS = frozenset(ARGUMENTS)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(ARGUMENTS)
        reader = _Reader(self._templar)
        read = {*PLAYBOOKS, *(name for role in args["roles"] for name in ROLES[role])}
        task_vars = task_vars or {}
        given = {
            name: reader.read(name, value) if name in read else None
            for name, value in task_vars.items()
            if isinstance(name, str) and (name.startswith(PREFIXES) or is_own(name))
        }
        for name in given:
            reader.places.setdefault(str(name), _place(name))
        is_file = _is_file if args["look_for_files"] else lambda _: True
        outside = load_extra_vars(self._loader).keys() & given
        for view in (task_vars, _without_roles(task_vars)):
            outside |= {name for name, value in view.items() if name in given and _is_from_outside(name, value)}
        problems = check(args["roles"], given, texts=reader.texts, is_file=is_file, outside=outside)
        return _result(findings(problems, reader.places), sorted({variable(each.at) for each in problems}))


def _result(found: list[Finding], refused: list[str]) -> dict[str, Any]:
    lines = [str(finding) for finding in found]
    count = f"{len(lines)} settings are" if len(lines) > 1 else "One setting is"
    message = "\n".join([f"{count} refused, and nothing was done:", *lines]) if lines else "The settings are sound."
    return {
        "changed": False,
        "failed": bool(lines),
        "msg": message,
        "refused": refused,
        "findings": [finding.as_result() for finding in found],
    }


class _Reader:
    """Values as Ansible templates them, leaf by leaf; keeps where each stands, and how it is written there."""

    def __init__(self, templar: Any) -> None:
        self._templar = templar
        self.places: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self._left = 0

    def read(self, at: str, value: Any, depth: int = 0) -> object:
        """A copy that is made of plain types, with Broken where Ansible cannot template."""
        if place := _place(value):
            self.places[at] = place
        self._left = self._left - 1 if depth else _MOST
        if self._left < 0:
            return Broken("unfolds to more values than any variable has.", "Shorten it.")
        if depth > _DEEPEST:
            return Broken("is too deep.", "Write it flat.")
        if isinstance(value, Mapping):
            return {
                _plain(key): self.read(f"{at}.{show.plain(str(key))}", one, depth + 1)
                for key, one in islice(value.items(), self._left + 1)
            }
        if isinstance(value, (list, tuple)):
            return [self.read(f"{at}[{index}]", one, depth + 1) for index, one in enumerate(value[: self._left + 1])]
        if isinstance(value, (int, float)) and (text := _written(value)) is not None:
            self.texts[at] = text
        return self._templated(at, value)

    def _templated(self, at: str, value: Any) -> object:
        try:
            return _plain(self._templar.template(value))
        except AnsibleError as error:
            if isinstance(value, EncryptedString):  # of which not even the text can be had
                return Broken("is a vault's value that cannot be decrypted.", _VAULT)
            return _broken(at, str(value), error)
        except Exception as error:  # a filter's or a lookup's own, whose text may be anything
            return Broken(f"cannot be filled in: its template fails with {type(error).__name__}.", "Correct it.")


def _broken(at: str, template: str, error: AnsibleError) -> Broken:
    """Why a template failed, without its text, of which any part may be secret."""
    literal = "Correct the template; text that is none, such as a key with {{ in it, is written as: !unsafe 'TEXT'."
    undefined = _UNDEFINED.fullmatch(str(error.message or "")) if isinstance(error, AnsibleUndefinedVariable) else None
    if _SECRET.match(at):
        return Broken("has a template that cannot be filled in.", literal)
    if undefined and undefined[1] in template:
        return Broken(f"needs the variable {undefined[1]}, which is not defined.", f"Define {undefined[1]}.")
    return Broken("has a template that cannot be filled in.", literal)


def _plain(value: Any) -> Any:
    """The value without Ansible's tags, in types that the rules know."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    for known in (str, bool, int, float):
        if isinstance(value, known):
            return value if known is bool else known(value)
    return value


def _origin(value: Any) -> Any:
    return Origin.get_tag(value) if Origin else None


def _place(value: Any) -> str:
    """File and line where a value stands, as seen from here; empty where that is not known."""
    origin = _origin(value)
    if not origin or not origin.path:
        return ""
    path = os.path.relpath(origin.path)
    shown = origin.path if path.startswith("..") else path
    if Path(origin.path).parent.name == "defaults":
        return ""
    return f"{shown}:{origin.line_num}" if origin.line_num else shown


def _without_roles(task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
    """The host's variables without those of roles and plays, which would hide what stands in an inventory."""
    hosts = task_vars.get("hostvars")
    found = hosts.raw_get(task_vars.get("inventory_hostname")) if hosts is not None else {}
    return found if isinstance(found, Mapping) else {}


def _is_from_outside(name: Any, value: Any) -> bool:
    """Whether a variable that is the roles' own is set elsewhere than in our roles and playbooks, by where it stands.

    Of JSON only the values know where they are from, and null, true and false never do: the roles keep none of these.
    """
    origins = [one for one in (_origin(name), _origin(value)) if one]
    if any(not (one.path and os.path.realpath(one.path).startswith(_OWN)) for one in origins):
        return True
    return not isinstance(value, (str, Mapping, list))


def _written(value: Any) -> str | None:
    """How a number is written where it stands; None where that is not known."""
    origin = _origin(value)
    if not origin or not origin.path or not origin.line_num or not origin.col_num:
        return None
    if SourceWasEncrypted.is_tagged_on(value):
        return None
    try:
        with open(origin.path, encoding="utf-8") as file:
            line = next(text for number, text in enumerate(file, start=1) if number == origin.line_num)
    except (OSError, UnicodeDecodeError, StopIteration):
        return None
    token = _TOKEN.match(line, origin.col_num - 1)
    return token[0] if token else None


def _is_file(path: str) -> bool:
    return os.path.isfile(os.path.expanduser(os.path.expandvars(path)))
