# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is private to the collection. It can change at any time.
"""Runs a module's core in the controller's own process where that is where the module would run.

Ansible loads an action plugin before it forks the process of a task, so what the plugin imports is imported once a
run; a module is started with an interpreter of its own, which imports everything again (with the Kubernetes client
3 seconds of processor time in place of 0.13). Everywhere else the module of the same name runs, with the same core
and the same arguments.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ansible import constants
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.json import Direction, get_module_decoder, get_module_encoder
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import filter_loader, test_loader
from ansible.utils.display import Display
from ansible_collections.portal.stt.plugins.module_utils._findings import (
    CollectionError,
    Result,
    Run,
    Say,
    attempt,
    fail,
)

_UTILS = "ansible_collections.portal.stt.plugins.module_utils"
KUBERNETES = (
    "kubernetes",
    "ansible_collections.kubernetes.core.plugins.module_utils.k8s.client",
    f"{_UTILS}._kubernetes.access",
    f"{_UTILS}._kubernetes.transport",
)
"""What a connection to a cluster imports."""

_FILTERS = ("ansible.builtin.default", "portal.stt.speaches_objects")
_TESTS = ("ansible.builtin.match",)
"""One of each kind of plugin that the arguments of our tasks need: to find it is to load all of its kind."""

_AUTO = ("", "auto", "auto_legacy", "auto_silent", "auto_legacy_silent")
_PROFILE = "legacy"  # the form in which AnsiballZ hands arguments to modules


@dataclass(frozen=True)
class Core:
    """A module's one core and one argument spec (keywords of AnsibleModule); `missing` says why there is none."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    run: Run | None = None
    missing: str = ""


def core_of(name: str, *imports: str) -> Core:
    """The core of this collection's module `name`. imports: what it imports late, imported now, once a run.

    What is missing does not fail here, where only a traceback would tell, but when the task runs.
    """
    for one in imports:
        with contextlib.suppress(Exception):  # whoever needs it says what is missing
            importlib.import_module(one)
    try:
        module = importlib.import_module(f"ansible_collections.portal.stt.plugins.modules.{name}")
    except ImportError as exc:
        return Core(name, missing=str(exc))
    _share()
    return Core(name, module.ARGUMENTS, module.run)


def _share() -> None:
    """Loads what the arguments of a task need, too, and keeps the processes of tasks from copying what is loaded.

    A collection of garbage writes into each object that it looks at, and so would copy all memory of this process into
    each one forked from it; what is frozen it does not look at.
    """
    for loader, names in ((filter_loader, _FILTERS), (test_loader, _TESTS)):
        for name in names:
            with contextlib.suppress(Exception):  # the task that needs it says what is wrong
                loader.get(name)
    get_module_encoder(_PROFILE, Direction.CONTROLLER_TO_MODULE)
    gc.freeze()


class InProcess(ActionBase):  # type: ignore[misc]
    """An action plugin for a module of the same name; a subclass sets `core`."""

    core: Core
    discreet = False
    """Whether the arguments may hold secrets: they are neither shown nor logged."""
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if self.core.missing:
            return fail({}, _not_installed(self.core.missing))
        if not self.discreet:
            return self._ran(task_vars)
        with self._quietly():
            result = self._ran(task_vars)
        result.pop("invocation", None)
        return result

    def _ran(self, task_vars: Mapping[str, Any]) -> Result:
        return self.here(task_vars) if self.is_local(task_vars) else self.as_module(task_vars)

    def is_local(self, task_vars: Mapping[str, Any]) -> bool:
        """Whether the module would run on this machine, as this user, with this interpreter, and be waited for."""
        become = self._connection.become or self._play_context.become
        local = self._connection.transport == "local" and not become
        return bool(local and not self._task.async_val and self._own_interpreter(task_vars))

    def here(self, task_vars: Mapping[str, Any]) -> Result:
        """The core's result, as the module would return it."""
        assert self.core.run is not None
        with _surroundings(self._environment()):
            arguments = deepcopy(self.core.arguments)  # the validator writes into what is a default
            checked = ArgumentSpecValidator(**arguments).validate(_plain(self._task.args))
            params, secrets = checked.validated_parameters, checked._no_log_values
            if checked.error_messages:
                result: Result = {"failed": True, "msg": self._objection(checked)}
            else:
                say = self.sayer(task_vars, secrets)
                result = attempt(self.core.run, params, check_mode=self._task.check_mode, say=say)
            result = json.loads(json.dumps(result, default=_strange))
        result["invocation"] = {"module_args": params}
        kept = {key: value for key, value in result.items() if value is None or isinstance(value, bool)}
        hidden: Result = {**remove_values(result, secrets), **kept}
        alias = "Both option {option} and its alias {alias} are set."
        if warnings := [alias.format(**one) for one in checked._warnings]:
            hidden["warnings"] = warnings
        return hidden

    def as_module(self, task_vars: Mapping[str, Any], **further: Any) -> Result:
        """The module's result, run where and how the task says. further: arguments beside the task's."""
        in_background = bool(self._task.async_val and not self._connection.has_native_async)
        result: Result = self._execute_module(
            module_name=f"portal.stt.{self.core.name}",
            module_args={**self._task.args, **further},
            task_vars=task_vars,
            wrap_async=in_background,
        )
        if not in_background:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def sayer(self, task_vars: Mapping[str, Any], secrets: set[str] | None = None) -> Say:
        """Prints a line on the operator's terminal at once, after the host's name and without `secrets`."""
        host, display = str(task_vars.get("inventory_hostname", "")), Display()

        def say(line: str) -> None:
            display.display(f"[{host}] {remove_values(line, secrets or set())}", color="cyan")

        return say

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """No module that is run meanwhile writes its arguments, Secrets among them, into a log."""
        asked = self._task.no_log
        self._task.no_log = True
        try:
            yield
        finally:
            self._task.no_log = asked

    def _objection(self, checked: Any) -> str:
        """What is wrong with the arguments, in the words of a module."""
        said = str(checked.errors.msg)
        if isinstance(checked.errors[0], UnsupportedError):
            return f"Unsupported parameters for (portal.stt.{self.core.name}) module: {said}"
        return said

    def _environment(self) -> dict[str, str]:
        """What the task, its blocks and its play put into the environment."""
        given: dict[str, Any] = {}
        self._compute_environment_string(given)
        return {str(name): str(value) for name, value in given.items()}

    def _own_interpreter(self, task_vars: Mapping[str, Any]) -> bool:
        """Whether the module would run with the controller's interpreter, or with one that nobody has named."""
        if self._task.delegate_to:
            task_vars = task_vars.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
        named = constants.config.get_config_value("INTERPRETER_PYTHON", variables=task_vars)
        wanted = str(self._templar.template(named) or "").strip()
        return wanted in _AUTO or _place(shutil.which(wanted) or wanted) == _place(sys.executable)


def _place(interpreter: str) -> tuple[str, str]:
    """What tells interpreters apart: the folder, because of virtual environments, and the program behind the name."""
    return os.path.realpath(os.path.dirname(interpreter)), os.path.realpath(interpreter)


def _plain(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they would reach a module: plain data, without tags, vaulted values in clear."""
    encoder = get_module_encoder(_PROFILE, Direction.CONTROLLER_TO_MODULE)
    decoder = get_module_decoder(_PROFILE, Direction.CONTROLLER_TO_MODULE)
    plain: dict[str, Any] = json.loads(json.dumps(dict(args), cls=encoder), cls=decoder)
    return plain


def _strange(value: object) -> str:
    return str(value)


@contextlib.contextmanager
def _surroundings(environment: Mapping[str, str]) -> Iterator[None]:
    """As around a module: its environment, and nothing that a library prints gets out; all as before afterwards."""
    before = dict(os.environ)
    try:
        os.environ.update(environment)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        _forget()
        for name in environment:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def _forget() -> None:
    """Removes what the Kubernetes client leaves for the end of a process: files with certificates and keys."""
    access = sys.modules.get("ansible_collections.portal.stt.plugins.module_utils._kubernetes.access")
    if access is not None:
        access.forget()


def _not_installed(what: str) -> CollectionError:
    return CollectionError(
        "controller",
        f"the kubernetes.core collection is missing: {what}.",
        "Install it: ansible-galaxy collection install kubernetes.core.",
    )
