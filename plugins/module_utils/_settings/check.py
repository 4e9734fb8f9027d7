# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""All variables at once: each by itself, together, and those that nobody reads."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from .._exports.export import Export, check_intent, client_of
from .._findings import Finding, Status
from .._gpu.appetite import need
from .._here import here
from .._kubernetes.quantities import parse_quantity
from . import show
from .rules import PLAYBOOKS, PREFIXES, ROLES, is_own
from .shapes import Look, Problem, closest, visit

MODEL = "deepdml/faster-whisper-large-v3-turbo-ct2"
GPU = "nvidia.com/gpu"
_VARIABLE = re.compile(r"[A-Za-z0-9_]+")


def check(
    roles: Iterable[str],
    given: Mapping[str, object],
    *,
    texts: Mapping[str, str] | None = None,
    is_file: Callable[[str], bool] = os.path.isfile,
    outside: Collection[str] = (),
) -> list[Problem]:
    """What is wrong with the variables that the roles read, and with others under our prefixes; [] when nothing is.

    given: variable → value as Ansible has templated it, :class:`Broken` where it could not; what is not set is not in
    it, and has its default. texts, is_file: see :class:`Look`. outside: those of `given` that an operator has set.
    """
    look = Look(is_file, texts or {})
    rules = dict(PLAYBOOKS) | {name: shape for role in roles for name, shape in ROLES[role].items()}
    for name, shape in rules.items():
        if name in given and not _follows(name, given):
            visit(look, name, given[name], shape)
    bad = {variable(problem.at) for problem in look.problems}
    sound = {name: given[name] for name in rules if name in given and name not in bad}
    for rule, needed in _TOGETHER:
        if needed <= rules.keys() and not needed & bad:
            look.problems += rule(sound)
    look.problems += unread(given, outside)
    return look.problems


def unread(names: Iterable[str], outside: Collection[str] = ()) -> Iterator[Problem]:
    """The names under our prefixes that no role reads; outside: those that only the roles themselves may set."""
    every = {name for rules in (*ROLES.values(), PLAYBOOKS) for name in rules}
    for name in sorted(one for one in names if isinstance(one, str) and (one.startswith(PREFIXES) or is_own(one))):
        if name in every or (is_own(name) and name not in outside):
            continue
        if is_own(name):
            message, remedy = "is the roles' own, and not set by an operator.", "Remove it."
            yield Problem(show.plain(name), message, remedy, "settings.unknown")
            continue
        meant = closest(name, every)
        remedy = f"Did you mean {meant}?" if meant else "Remove it, or give it another name."
        yield Problem(show.plain(name), "is a variable that nobody reads.", remedy, "settings.unknown")


def variable(at: str) -> str:
    """The variable of a place: `speaches_volume` of `speaches_volume.size`."""
    found = _VARIABLE.match(at)
    return found[0] if found else at


def findings(problems: Iterable[Problem], places: Mapping[str, str]) -> list[Finding]:
    """The problems as lines of a report. places: place → file and line of what stands there, where that is known."""
    return [
        Finding(problem.check, Status.REFUSED, _subject(problem.at, places), problem.message, problem.remedy)
        for problem in problems
    ]


def _subject(at: str, places: Mapping[str, str]) -> str:
    place = places.get(at) or places.get(variable(at))
    return f"{at} ({place})" if place else at


def _follows(name: str, given: Mapping[str, object]) -> bool:
    """Whether a variable only has its default, which repeats others that are looked at by themselves."""
    if name == "speaches_models":
        names = {"model": "speaches_model", "revision": "speaches_model_revision", "local": "speaches_model_local"}
        return given[name] == [{key: given.get(one) for key, one in names.items()}]
    return name == "speaches_labels" and given[name] == {"app": given.get("speaches_name"), "tier": "2-gpu"}


def models(sound: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models that are served, each with all its keys."""
    one = {
        "model": sound.get("speaches_model", MODEL),
        "revision": sound.get("speaches_model_revision", ""),
        "local": sound.get("speaches_model_local", ""),
    }
    listed = sound.get("speaches_models")
    return [{"revision": "", "local": "", **each} for each in listed] if listed else [one]


def _local_copies(sound: Mapping[str, Any]) -> Iterator[Problem]:
    if sound.get("speaches_model_source", "seeded") != "local":
        return
    listed = sound.get("speaches_models") is not None and not _follows("speaches_models", sound)
    for index, one in enumerate(models(sound)):
        local = f"speaches_models[{index}].local" if listed else "speaches_model_local"
        if not one["local"]:
            remedy = f"Set the absolute path of the model's folder or archive {here().place}."
            yield Problem(local, "is not set, and speaches_model_source is local.", remedy, "settings.together")
        if one["revision"]:
            revision = f"speaches_models[{index}].revision" if listed else "speaches_model_revision"
            message = "is set, and speaches_model_source is local, whose revision is the digest of the copy's content."
            yield Problem(revision, message, "Remove it.", "settings.together")


def _memory(sound: Mapping[str, Any]) -> Iterator[Problem]:
    resources = sound.get("speaches_resources", {})
    count = len(models(sound))
    wanted, limit = (resources.get("memory") or f"{2 * count}Gi", resources.get("memory_limit") or f"{4 * count}Gi")
    if parse_quantity(wanted) > parse_quantity(limit):
        own = "" if "memory" in resources else " (by default)"
        limited = "" if "memory_limit" in resources else " (by default)"
        yield Problem(
            "speaches_resources.memory" if "memory" in resources else "speaches_resources.memory_limit",
            f"memory {wanted}{own} is more than memory_limit {limit}{limited}.",
            "Raise memory_limit, or lower memory.",
            "settings.together",
        )


def _labels(sound: Mapping[str, Any]) -> Iterator[Problem]:
    if "speaches_labels" not in sound:
        return
    app = sound["speaches_labels"].get("app")
    if not app:
        remedy = "Give it app: NAME; the server's pods are selected by it."
        yield Problem("speaches_labels", "has no label app.", remedy, "settings.together")
    for part, whose in (("seed", "the seed Job's pods"), ("clip", "the CronJob's pods")):
        if app == f"{sound.get('speaches_name', 'portal-stt')}-{part}":
            message = f"is {app}, the label of {whose}, which would get the server's calls."
            yield Problem("speaches_labels.app", message, "Choose another one.", "settings.together")


def _pull_secret(sound: Mapping[str, Any]) -> Iterator[Problem]:
    named = sound.get("speaches_registry", {}).get("pull_secret")
    if named and named == sound.get("speaches_name", "portal-stt"):
        message = f"is {named}, as the Secret of the server itself is called, which would be put in its place."
        remedy = "Give the pull Secret another name."
        yield Problem("speaches_registry.pull_secret", message, remedy, "settings.together")


def _memory_resource(sound: Mapping[str, Any]) -> Iterator[Problem]:
    """Both are keys of the same requests and limits: one would take the other's place."""
    named = sound.get("speaches_gpu_memory_resource", {}).get("name")
    if named and named == sound.get("speaches_gpu", {}).get("resource", GPU):
        message = f"is {named}, of which the server has speaches_gpu.count, which would be replaced by the quantity."
        remedy = 'Name the resource that stands for GPU memory, or write "" for none.'
        yield Problem("speaches_gpu_memory_resource.name", message, remedy, "settings.together")


def _mountpoint(sound: Mapping[str, Any]) -> Iterator[Problem]:
    path = sound.get("nfs_export_path", "/srv/nfs-ssd/portal-stt")
    mountpoint = sound.get("nfs_export_require_mountpoint", "/srv/nfs-ssd")
    if mountpoint and path != mountpoint and not path.startswith(mountpoint.rstrip("/") + "/"):
        yield Problem(
            "nfs_export_path",
            f"{show.plain(path)} is not below {show.plain(mountpoint)}, where it is expected.",
            'Correct nfs_export_path or nfs_export_require_mountpoint ("" when the path is on the root disk).',
            "settings.together",
        )


def _world(sound: Mapping[str, Any]) -> Iterator[Problem]:
    if _true(sound.get("nfs_export_allow_world", False)):
        return
    for index, one in enumerate(sound.get("nfs_export_clients", ())):
        export = Export("x", "/srv", (client_of(one["host"], ("ro",)),))
        if any(each.status is Status.REFUSED for each in check_intent(export, subject="", allow_world=False)):
            yield Problem(
                f"nfs_export_clients[{index}].host",
                f"{show.plain(one['host'])} lets every machine that reaches the server mount the export.",
                "Name the cluster's network instead, or set nfs_export_allow_world: true.",
                "settings.together",
            )


def _deletion(sound: Mapping[str, Any]) -> Iterator[Problem]:
    if not _true(sound.get("nfs_export_delete_data", False)):
        return
    path = show.plain(sound.get("nfs_export_path", "/srv/nfs-ssd/portal-stt"))
    named = sound.get("nfs_export_delete_path", "")
    if named != sound.get("nfs_export_path", "/srv/nfs-ssd/portal-stt"):
        what = f"is {show.plain(named)}, not {path}" if named else "is empty"
        yield Problem(
            "nfs_export_delete_path",
            f"nfs_export_delete_data is true, and nfs_export_delete_path {what}, so that nothing is done.",
            f"Set nfs_export_delete_path to {path} to delete all that is in it, or nfs_export_delete_data to false.",
            "settings.together",
        )


def _budget(sound: Mapping[str, Any]) -> Iterator[Problem]:
    """An alert without its number would be missing, and nobody would know."""
    asked, memory = sound.get("speaches_alerts", {}), sound.get("speaches_gpu_memory", {})
    if not _true(asked.get("enabled", False)) or "tenants" not in asked.get("memory", ("tenants",)):
        return
    compute = sound.get("speaches_environment", {}).get("WHISPER__COMPUTE_TYPE", "int8")
    if int(memory.get("ours_mib") or 0) or need((one["model"] for one in models(sound)), str(compute)):
        return
    yield Problem(
        "speaches_gpu_memory.ours_mib",
        "is not set, and what the server may take is not known for its models: its alert would never come.",
        "Set it to what the server takes at most (the verify play measures it), or leave tenants out of "
        "speaches_alerts.memory.",
        "settings.together",
    )


def _true(value: object) -> bool:
    return str(value).lower() in ("true", "yes", "on", "1", "t", "y")


_MODELS = {"speaches_model", "speaches_model_revision", "speaches_model_local", "speaches_models"}
_TOGETHER: tuple[tuple[Callable[[Mapping[str, Any]], Iterable[Problem]], set[str]], ...] = (
    (_local_copies, _MODELS | {"speaches_model_source"}),
    (_memory, _MODELS | {"speaches_resources"}),
    (_labels, {"speaches_labels", "speaches_name"}),
    (_budget, _MODELS | {"speaches_alerts", "speaches_environment", "speaches_gpu_memory"}),
    (_pull_secret, {"speaches_registry", "speaches_name"}),
    (_memory_resource, {"speaches_gpu", "speaches_gpu_memory_resource"}),
    (_mountpoint, {"nfs_export_path", "nfs_export_require_mountpoint"}),
    (_world, {"nfs_export_clients", "nfs_export_allow_world"}),
    (_deletion, {"nfs_export_delete_data", "nfs_export_delete_path", "nfs_export_path"}),
)
"""What is looked at together, and the variables that must be sound for it."""
