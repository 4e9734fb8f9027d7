# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a cause of a failed rollout is: a rule, and what rules share.

A rule reads what was observed and has no clock. It says what it sees, how often it must have been seen (`times`)
and how long it may last (`patience`) before waiting is pointless; `_rollout.py` keeps the time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .._kubernetes.objects import Container, Event, Pod
from .seen import Seen
from .words import Actor, Error, bounded, one_line, take_apart

NEVER = None
"""A rule with this patience explains a time-out, and never ends the wait by itself."""

LOG_LINES = 8
_ABOVE = "at the log above"

ABOUT = (
    "image",  # the whole reference: tag or digest
    "registry",  # the host of the reference
    "secret",  # imagePullSecrets, and Secrets or ConfigMaps that are mounted or read
    "volume",  # volumes and where they are mounted
    "limits",  # requests and limits of memory, processor, disk
    "gpu",  # how many of which GPU resource
    "selector",  # node selector, affinity, spread, tolerations, ports on the node
    "runtimeClass",
    "priorityClass",
    "serviceAccount",
    "securityContext",
    "command",  # command, args, workingDir
    "settings",  # environment
    "probe",
    "node",  # nothing of the pod: the machine, its runtime, its driver
    "cluster",  # nothing of the pod: API server, webhooks, quota, controllers
    "policy",  # a policy about fields that its words name: what differs may be what it refuses
)
"""What a cause can be about. `node`, `cluster` are the same in all revisions, `policy` is about the whole template."""


@dataclass(frozen=True)
class Diagnosis:
    """Why it does not go on.

    cause: identifier, as in docs/rollout.md.
    what: what happened, one sentence. where: the object it happened to.
    confidence: ``certain`` when the API said so itself, ``likely`` when it was inferred, ``unknown``.
    final: waiting is pointless.
    outside: nothing that the Deployment declares is at fault: going back to an earlier revision does not help.
    evidence: what the objects, events and logs said, word for word.
    remedy: what the operator does next.
    about: what of the pod the cause is about, see `ABOUT`: where that is the same in an earlier revision, going back
        does not help; empty: `outside` alone says it.
    """

    cause: str
    what: str
    where: str
    confidence: str
    final: bool
    outside: bool
    evidence: tuple[str, ...]
    remedy: str
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hit:
    """Where a rule applies. words: fill in its sentences; times: how often it was seen."""

    where: str
    evidence: tuple[str, ...]
    words: Mapping[str, str] = field(default_factory=dict)
    times: int = 1


Look = Callable[[Seen], Hit | None]


@dataclass(frozen=True)
class Rule:
    """One cause. what, remedy: sentences with {words} of the hit. patience: seconds, or NEVER.

    times: how often it has to be seen before it is final.
    after_old: not final while a pod of the old revision that goes still holds what the new one waits for.
    """

    cause: str
    look: Look
    what: str
    remedy: str
    patience: float | None = 0
    times: int = 1
    outside: bool = False
    after_old: bool = False
    confidence: str = "certain"
    about: tuple[str, ...] = ()

    def apply(self, seen: Seen) -> tuple[Diagnosis, bool] | None:
        """The diagnosis and whether it would be final once patience is over; None when it does not apply."""
        hit = self.look(seen)
        if hit is None:
            return None
        ripe = hit.times >= self.times and not (self.after_old and old_pods_go(seen))
        remedy = self.remedy.format_map(_Words(hit.words))
        if not any(line.startswith("log: ") for line in hit.evidence):
            remedy = remedy.replace(_ABOVE, "at its log (kubectl logs)")
        diagnosis = Diagnosis(
            self.cause,
            re.sub(
                r"(?<!\.)\.\.$", ".", self.what.format_map(_Words(hit.words))
            ),  # the words may have one of their own
            hit.where,
            self.confidence,
            False,
            self.outside,
            hit.evidence,
            remedy,
            self.about,
        )
        return diagnosis, ripe


class _Words(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "?"


def old_pods_go(seen: Seen) -> bool:
    """Whether pods of the old revision are about to go. With RollingUpdate they stay until a new one is ready."""
    recreate = seen.deployment is not None and seen.deployment.recreate
    return any(not pod.finished and (pod.deleting or recreate) for pod in seen.old_pods)


def waiting(
    reasons: tuple[str, ...], pattern: str = "", *errors: Error, actor: Actor | None = None, without: str = "\0"
) -> Look:
    """A container waits for one of these reasons; the words about it, the innermost error and who it is from."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in containers_of(seen):
            if container.state == "waiting" and container.reason in reasons:
                said = take_apart(essence(container.message))
                if (errors and said.error not in errors) or (actor and said.actor is not actor):
                    continue
                found = re.search(pattern, said.text, re.IGNORECASE)
                if found and not re.search(without, said.text, re.IGNORECASE):
                    words = {"why": said.reason, **words_of(container, found)}
                    return Hit(at(pod), (f"{container.reason}: {said.text}".rstrip(": "),), words)
        return None

    return look


def either(*looks: Look) -> Look:
    """The first of several looks that finds something."""
    return lambda seen: next((hit for hit in (look(seen) for look in looks) if hit), None)


def in_play(seen: Seen) -> tuple[Pod, ...]:
    """Pods that matter: a Deployment's that is finished has been replaced, a Job's tells how its try went."""
    return tuple(pod for pod in seen.pods if seen.job or not pod.finished)


def containers_of(seen: Seen) -> Iterator[tuple[Pod, Container]]:
    """All containers of the pods in play, each with its pod."""
    return ((pod, container) for pod in in_play(seen) if not pod.deleting for container in pod.containers)


def at(pod: Pod) -> str:
    """Where something happened: the pod, and its node if it has one."""
    return f"pod {pod.name} on node {pod.node}" if pod.node else f"pod {pod.name}"


def words_of(container: Container, found: re.Match[str] | None = None) -> dict[str, str]:
    """The words that a rule's sentences can take from a container and from what a pattern found."""
    ended = container.exit
    return {
        "container": container.name,
        "image": container.image,
        "limit": container.limits.get("memory", "none"),
        "code": str(ended.code) if ended else "?",
        **(found.groupdict("") if found else {}),
    }


def essence(message: str) -> str:
    """A kubelet's message in one line: without the mount command and the back-off's preamble."""
    message = re.sub(r'^Back-off pulling image "[^"]*": (?:ErrImagePull: )?', "", bounded(message))
    if "Output: " in message:
        message = message.split("Output: ", 1)[1]
    return one_line(message)


def log_lines(lines: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """The last lines of a log, as evidence."""
    return tuple(f"log: {bounded(line.rstrip(), 1000)}" for line in list(lines)[-LOG_LINES:] if line.strip())


def probe_words(events: tuple[Event, ...], pod: Pod, probe: str) -> str:
    """What a pod's probe said when it failed the last time."""
    said = [e.message for e in events if e.uid == pod.uid and e.reason == "Unhealthy"]
    start = re.compile(rf"{probe.capitalize()} probe (?:failed|errored(?: and resulted in \w+ state)?): ")
    words = [one_line(message[found.end() :]) for message in said if (found := start.match(message))]
    return words[-1] if words else ""
