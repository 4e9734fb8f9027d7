# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""A rollout as a timeline, from its lines of progress; and what an apply changed, from its diff."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

import yaml

from . import numbers, text

MOST_LINES = 300
MOST_PODS = 20
MOST_PATHS = 20
_LARGEST = 200_000  # characters of an object that is compared leaf by leaf

_LINE = re.compile(r"\s*(?P<at>\d+(?:\.\d+)?) s  (?P<said>.+)", re.DOTALL)
_NAMED = re.compile(r"pod (?P<pod>[a-z0-9][-a-z0-9.]*): (?P<said>.+)", re.DOTALL)
_END = re.compile(r"(?P<end>[a-z0-9]{1,63}): (?P<said>.+)", re.DOTALL)
_STEPS = (
    ("scheduled", re.compile(r"scheduled on node ")),
    ("pulled", re.compile(r"image pulled|the image is on the node")),
    ("started", re.compile(r"container (?:\S+ )?started(?! again)")),
    ("ready", re.compile(r"ready$")),
)
"""As _rollout/remarks.py words them."""


class Line(TypedDict):
    """A line of progress. at: seconds since the watch began."""

    at: float
    said: str


class Pod(TypedDict):
    """When a pod came to each step, in seconds since the watch began; None for one that it was not seen to come to."""

    name: str
    scheduled: float | None
    pulled: float | None
    started: float | None
    ready: float | None


class Rollout(TypedDict):
    """A rollout of a Deployment, or a Job's run. cause: identifier of docs/rollout.md, "" where it has not failed."""

    name: str
    status: str
    seconds: float
    rolled_back: bool
    cause: str
    what: str
    pods: list[Pod]
    lines: list[Line]


class Change(TypedDict):
    """An object that was made or changed. paths: the fields that changed, without their values."""

    name: str
    how: str
    paths: list[str]


def rollouts(result: Mapping[str, Any]) -> Iterator[Rollout]:
    """The rollout in a result of portal.stt.k8s_rollout or portal.stt.k8s_job."""
    progress, status = numbers.items(result.get("progress")), result.get("status")
    diagnosis = numbers.mapping(result.get("diagnosis"))
    if not isinstance(status, str) or not (progress or diagnosis):
        return
    lines, pods = _read(progress[:MOST_LINES])
    yield {
        "name": _subject(result),
        "status": text.name(status),
        "seconds": numbers.number(result.get("seconds")) or max((line["at"] for line in lines), default=0.0),
        "rolled_back": numbers.truth(result.get("rolled_back")) or False,
        "cause": text.name(diagnosis.get("cause", "")),
        "what": text.shown(diagnosis.get("what", "")),
        "pods": pods,
        "lines": lines,
    }


def _subject(result: Mapping[str, Any]) -> str:
    """What was watched: as it was asked for, else what the finding is about, which after a failure is a pod."""
    asked = numbers.mapping(numbers.mapping(result.get("invocation")).get("module_args"))
    if asked.get("name") and asked.get("namespace"):
        return text.name(f"Deployment {asked['namespace']}/{asked['name']}")
    for one in numbers.mappings(result.get("findings")):
        if str(one.get("check", "")).startswith("rollout") and "subject" in one:
            return text.name(one["subject"])
    return "rollout"


def _read(progress: Any) -> tuple[list[Line], list[Pod]]:
    """The lines, and when each pod came to what. A pod is named in full once, later by its end or not at all."""
    lines: list[Line] = []
    pods: dict[str, Pod] = {}
    last = ""
    for one in progress:
        found = _LINE.fullmatch(text.shown(one))
        if not found:
            continue
        at, said = float(found["at"]), found["said"].rstrip()
        lines.append({"at": at, "said": said})
        last, words = _pod(said, pods, last)
        if last and last not in pods:
            pods[last] = {"name": last, "scheduled": None, "pulled": None, "started": None, "ready": None}
        if last:
            _note(pods[last], words, at)
    came = [pod for pod in pods.values() if any(pod[step] is not None for step, _ in _STEPS)]  # type: ignore[literal-required]
    return lines, came[-MOST_PODS:]


def _pod(said: str, pods: Mapping[str, Pod], last: str) -> tuple[str, str]:
    if named := _NAMED.fullmatch(said):
        return named["pod"], named["said"]
    if ended := _END.fullmatch(said):
        for name in pods:
            if name.rpartition("-")[2] == ended["end"]:
                return name, ended["said"]
    return last, said


def _note(pod: Pod, words: str, at: float) -> None:
    for step, pattern in _STEPS:
        if pattern.match(words) and pod[step] is None:  # type: ignore[literal-required]
            pod[step] = at  # type: ignore[literal-required]


def changes(result: Mapping[str, Any]) -> Iterator[Change]:
    """What a result of portal.stt.k8s_apply changed; nothing for one that only tried it out. A failed one says by its
    diff how far it came."""
    if not result.get("changed"):
        return
    diffs = {str(one.get("after_header", "")): one for one in numbers.mappings(result.get("diff"))}
    for name in diffs if result.get("failed") else numbers.items(result.get("objects_changed")):
        one = diffs.get(str(name), {})
        before, after = (str(one.get(key, "")) for key in ("before", "after"))
        paths = list(_paths(_loaded(before), _loaded(after))) if before and after else []
        more = len(paths) - MOST_PATHS
        shown = [text.name(path) for path in paths[:MOST_PATHS]] + ([f"and {more} more"] if more > 0 else [])
        yield {"name": text.name(name), "how": "changed" if before or not one else "created", "paths": shown}


def _loaded(given: str) -> Any:
    if len(given) > _LARGEST:
        return None
    try:
        return yaml.safe_load(given)
    except yaml.YAMLError:
        return None


def _paths(before: Any, after: Any, at: str = "") -> Iterator[str]:
    """Where two objects differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from _paths(before.get(key), after.get(key), f"{at}.{key}" if at else str(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (was, now) in enumerate(zip(before, after, strict=True)):
            yield from _paths(was, now, f"{at}[{index}]")
    elif before != after:
        yield at
