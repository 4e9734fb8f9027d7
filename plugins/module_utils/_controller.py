# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What the plays need of the machine or environment that runs them, judged before anything else.

It has to say so where it is missing: nothing here needs ansible-core 2.19 or a library of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ._findings import Finding, Status

CORE = "2.19"
COLLECTIONS: Mapping[str, tuple[str, str]] = {"kubernetes.core": ("6.2.0", "8.0.0")}
"""Collection → the lowest version, and the first that is too high (galaxy.yml)."""
LIBRARIES: Mapping[str, str] = {"kubernetes": "36", "requests": "2.32", "jiwer": "4", "prometheus-client": "0.22"}
"""Python library → the lowest version (requirements.txt)."""

_NO = ("0", "false", "no", "off", "n", "f")


@dataclass(frozen=True)
class Seen:
    """Versions that are there, "" for what is not; and whether a job of AWX or ansible-runner asks."""

    core: str
    collections: Mapping[str, str]
    libraries: Mapping[str, str]
    interpreter: str
    in_environment: bool = False
    verify_ssl: str = ""


def judge(seen: Seen) -> list[Finding]:
    """What is missing or too old, each with its remedy, and warnings; nothing where all is as it has to be."""
    return [*_core(seen), *_collections(seen), *_libraries(seen), *_tls(seen)]


def _core(seen: Seen) -> Iterator[Finding]:
    if _number(seen.core) < _number(CORE):
        yield _refused(
            "run.core", seen, f"ansible-core is {seen.core}, and at least {CORE} is needed.",
            f"Install it: pip install 'ansible-core>={CORE}' (Python 3.11 or newer).",
        )  # fmt: skip


def _collections(seen: Seen) -> Iterator[Finding]:
    for name, (least, above) in COLLECTIONS.items():
        version = seen.collections.get(name, "")
        wanted = f"'{name}:>={least},<{above}'"
        if not version:
            said = f"the collection {name} is not there."
        elif version != "*" and not _number(least) <= _number(version) < _number(above):
            said = f"the collection {name} is {version}, and at least {least}, below {above}, is needed."
        else:
            continue
        yield _refused("run.collections", seen, said, f"Install it: ansible-galaxy collection install {wanted}")


def _libraries(seen: Seen) -> Iterator[Finding]:
    for name, least in LIBRARIES.items():
        version = seen.libraries.get(name, "")
        if version and _number(version) >= _number(least):
            continue
        has = f"is {version}, and at least {least} is needed" if version else "is not there"
        yield _refused(
            "run.libraries", seen, f"the Python library {name} {has} ({seen.interpreter}).",
            f"Install it there: {seen.interpreter} -m pip install '{name}>={least}'",
        )  # fmt: skip


def _tls(seen: Seen) -> Iterator[Finding]:
    if seen.verify_ssl.strip().lower() in _NO and seen.verify_ssl.strip():
        yield Finding(
            "cluster.tls", Status.WARNING, "K8S_AUTH_VERIFY_SSL",
            f"is {seen.verify_ssl.strip()}: whoever answers at the API server's address gets the token.",
            "Give the credential the cluster's certificate authority: AWX's own type turns the check off without one, "
            "with \"Verify SSL\" ticked, too. A kubeconfig has it (docs/awx.md)."
            if seen.in_environment
            else "Unset it, and name the cluster's certificate authority in K8S_AUTH_SSL_CA_CERT, or use a kubeconfig.",
        )  # fmt: skip


def _refused(check: str, seen: Seen, message: str, remedy: str) -> Finding:
    if seen.in_environment:
        remedy = "Choose an execution environment that has it: execution-environment.yml makes one (docs/awx.md)."
    return Finding(check, Status.REFUSED, "the execution environment" if seen.in_environment else "this machine",
                   message, remedy)  # fmt: skip


def _number(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; a pre-release counts as its release."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else [0]
    while len(numbers) > 1 and not numbers[-1]:  # 6.2 and 6.2.0 are one
        numbers.pop()
    return tuple(numbers)
