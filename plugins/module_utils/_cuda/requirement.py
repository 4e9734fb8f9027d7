# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""NVIDIA_REQUIRE_* as NVIDIA's container runtime evaluates it at the start of a container, to the letter.

Collecting: nvidia-container-toolkit, internal/config/image/cuda_image.go.
Evaluating: libnvidia-container, src/cli/dsl.c and the rules of src/cli/configure.c. The toolkit's own Go
evaluator (internal/requirements) differs, and only runs in csv mode (Tegra).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

REQUIREMENTS_MAX = 32  # cli.h: char *reqs[32]
_FACTOR_MAX = 128  # dsl.c: EXPR_MAX, with the closing NUL
_UINTMAX = 2**64 - 1

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))  # Go's strconv.ParseBool
_OPERATORS = {b"=": "=", b"!=": "!=", b"!": "!=", b"<": "<", b"<=": "<=", b">": ">", b">=": ">="}
_FACTOR = re.compile(rb"([^<>=!]+)([<>=!]+)([^<>=!].*)", re.DOTALL)
_SEMVER = re.compile(
    r"(?P<major>0|[1-9][0-9]*)(?:\.(?P<minor>0|[1-9][0-9]*)"
    r"(?:\.(?:0|[1-9][0-9]*)"
    r"(?:-(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?"
)


_CLI = "nvidia-container-cli: "
_UNMET = f"{_CLI}requirement error: "


class RequirementError(Exception):
    """The runtime would stop with this text: a rule it cannot read, too many rules, or a bad CUDA_VERSION.

    line: as it stands in the pod's event, behind the name of the program that stops.
    variable: of the environment, that it is about; empty for all of them.
    """

    def __init__(self, text: str, prefix: str = _UNMET, variable: str = "") -> None:
        super().__init__(text)
        self.line = f"{prefix}{text}"
        self.variable = variable


@dataclass(frozen=True)
class Device:
    """A visible GPU: compute capability (``7.5``), and brand as libnvidia-container spells it (``Nvidia``)."""

    arch: str
    brand: str | None = None


@dataclass(frozen=True)
class Host:
    """What the rules are compared with: CUDA version of the driver, driver version, one GPU.

    None is C's NULL: the runtime holds every rule on it for true, as it does where no GPU is visible.
    """

    cuda: str | None
    driver: str | None
    device: Device | None


@dataclass(frozen=True)
class Outcome:
    """What became of one expression.

    term: the term that was true; empty when none had to be.
    failed: the terms before it that were not, each with the factor that was false.
    message: the runtime's own text when nothing was true; line: the same as it stands in the pod's event.
    """

    satisfied: bool
    term: str = ""
    failed: tuple[tuple[str, str], ...] = ()
    message: str = ""

    @property
    def line(self) -> str:
        return f"{_UNMET}{self.message}"


def evaluate(expression: str, host: Host) -> Outcome:
    """What the runtime makes of an expression on a host: the C function dsl_evaluate.

    Terms are separated by spaces and or-ed, factors by commas and and-ed; the first true term ends the work, so
    that what stands after it may be nonsense.

    Raises RequirementError("invalid expression") where it was reached.
    """
    text = _bytes(expression).split(b"\0", 1)[0]
    satisfied = True
    failed: list[tuple[str, str]] = []
    for term in text.split(b" "):
        if not term:
            continue
        for factor in term.split(b","):
            if not factor:
                continue
            satisfied = _holds(factor, host)
            if not satisfied:
                failed.append((_text(term), _text(factor)))
                break
        else:  # true to its end, or nothing but commas, which ends the scan with what was known before it
            if satisfied:
                return Outcome(True, _text(term).strip(","), tuple(failed))
            break
    if satisfied:
        return Outcome(True)
    return Outcome(False, failed=tuple(failed), message=_unsatisfied(text))


def requirements(env: Mapping[str, str]) -> dict[str, str]:
    """The expressions that a container with this environment has to satisfy, all of them, by their variables.

    Raises RequirementError when an image without NVIDIA_REQUIRE_CUDA has a CUDA_VERSION that is none.
    """
    if env.get("NVIDIA_DISABLE_REQUIRE") in _TRUE:
        return {}
    rules = {
        name: value
        for name, value in sorted(env.items())
        if name.startswith("NVIDIA_REQUIRE_") and not name.startswith("NVIDIA_REQUIRE_JETPACK")
    }
    version = env.get("CUDA_VERSION", "")
    if version and not env.get("NVIDIA_REQUIRE_CUDA"):
        rules["CUDA_VERSION"] = f"cuda>={major_minor(version)}"
    return rules


def gate(env: Mapping[str, str], host: Host) -> tuple[Outcome, ...]:
    """The outcome of each requirement of an environment, up to and with the first that is not satisfied.

    Raises RequirementError with the text that the runtime would end with.
    """
    rules = requirements(env)
    if len(rules) > REQUIREMENTS_MAX:
        raise RequirementError("too many requirements", f"{_CLI}input error: ")
    outcomes: list[Outcome] = []
    for variable, rule in rules.items():
        try:
            outcomes.append(evaluate(rule, host))
        except RequirementError as exc:
            raise RequirementError(str(exc), variable=variable) from exc
        if not outcomes[-1].satisfied:
            break
    return tuple(outcomes)


def major_minor(version: str) -> str:
    """``12.4`` of a CUDA_VERSION such as ``12.4.1``, read as Go's x/mod/semver reads it.

    Raises RequirementError for what is no version.
    """
    match = _SEMVER.fullmatch(version.removeprefix("v"))
    parts = (match["major"], match["minor"] or "0") if match else ()
    if not parts or any(len(part) > 10 or int(part) >= 2**32 for part in parts):
        text = f"failed to get version: invalid CUDA version {version}"
        raise RequirementError(text, "failed to get requirements ", "CUDA_VERSION")
    return ".".join(parts)


def compare_versions(left: str, right: str) -> int:
    """-1, 0 or 1: numbers compared one by one, trailing zeros nothing, otherwise the longer is the greater.

    Raises RequirementError for what is no version: anything but digits and dots, or a leading dot.
    """
    return _compare(_bytes(left), _bytes(right))


def _unsatisfied(text: bytes) -> str:
    first = _text(text.split(b" ", 1)[0])
    hint = ", please update your driver to a newer version, or use an earlier cuda container"
    return f"unsatisfied condition: {first}{hint if first.startswith('cuda>=') else ''}"


def _holds(factor: bytes, host: Host) -> bool:
    match = _FACTOR.fullmatch(factor)
    operator = _OPERATORS.get(match[2]) if match else None
    rule = _RULES.get(match[1].lower()) if match else None
    if match is None or operator is None or rule is None:
        raise RequirementError("invalid expression")
    name, value = match[1], match[3]
    true = rule(host, operator, value)
    if not true and len(name) + len(operator) + len(value) + 2 >= _FACTOR_MAX:
        raise RequirementError("invalid expression")
    return true


def _version_rule(actual: str | None, operator: str, value: bytes) -> bool:
    if actual is None:
        return True
    order = _compare(_bytes(actual), value)
    return {
        "=": order == 0,
        "!=": order != 0,
        "<": order < 0,
        "<=": order <= 0,
        ">": order > 0,
        ">=": order >= 0,
    }[operator]


def _brand_rule(actual: str | None, operator: str, value: bytes) -> bool:
    if actual is None:
        return True
    if operator not in ("=", "!="):
        raise RequirementError("invalid expression")
    return (_bytes(actual).lower() == value.lower()) == (operator == "=")


_RULES: dict[bytes, Callable[[Host, str, bytes], bool]] = {
    b"cuda": lambda host, operator, value: _version_rule(host.cuda, operator, value),
    b"driver": lambda host, operator, value: _version_rule(host.driver, operator, value),
    b"arch": lambda host, operator, value: _version_rule(host.device.arch if host.device else None, operator, value),
    b"brand": lambda host, operator, value: _brand_rule(host.device.brand if host.device else None, operator, value),
}


def _compare(left: bytes, right: bytes) -> int:
    if left.strip(b"0123456789.") or right.strip(b"0123456789."):
        raise RequirementError("invalid expression")
    while left and right:
        left_number, left = _number(left)
        right_number, right = _number(right)
        if left_number != right_number:
            return -1 if left_number < right_number else 1
    return bool(left.lstrip(b".0")) - bool(right.lstrip(b".0"))


def _number(version: bytes) -> tuple[int, bytes]:
    """The first number and what stands after it and its dots: strtoumax and strspn."""
    rest = version.lstrip(b"0123456789")
    digits = version[: len(version) - len(rest)].lstrip(b"0") if rest != version else None
    if digits is None or len(digits) > 20 or int(digits or b"0") >= _UINTMAX:
        raise RequirementError("invalid expression")
    return int(digits or b"0"), rest.lstrip(b".")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(part: bytes) -> str:
    return part.decode("utf-8", "surrogatepass")
