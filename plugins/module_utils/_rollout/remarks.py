# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What can be said about a rollout while it goes on: a line for each change, and what it waits for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from .._kubernetes.objects import Container, Event, Pod, moment
from .rule import probe_words
from .seen import Seen
from .words import one_line

PROBE_SECONDS = 10.0
"""What a probe says is worth a line once in so long: it may say something else each second."""


@dataclass(frozen=True)
class Line:
    """A line of progress. pod: the name of the one that it is about; the line itself does not name it."""

    text: str
    pod: str = ""


@dataclass(frozen=True)
class Key:
    """What a line told, so that it is told once. uid: of the object it is about."""

    kind: str
    uid: str
    detail: str = ""


@dataclass(frozen=True)
class Remark:
    """Something to say, once. every: seconds between two of its kind about one object."""

    key: Key
    line: Line
    every: float = 0.0


def remarks(seen: Seen) -> Iterator[Remark]:
    """All that can be said about a rollout now, in order."""
    for pod in seen.old_pods:
        if pod.deleting:
            yield Remark(Key("stopping", pod.uid), Line("old revision, is stopping", pod.name))
    for pod in seen.pods:
        if pod.node:
            yield Remark(Key("placed", pod.uid), Line(f"scheduled on node {pod.node}", pod.name))
        for event in _latest_words(seen, pod):
            yield from _told(pod, event)
        for container in pod.containers:
            yield from _lived(pod, container)
        if pod.ready:
            yield Remark(Key("ready", pod.uid), Line("ready", pod.name))


def _latest_words(seen: Seen, pod: Pod) -> list[Event]:
    """The events of a pod; of its probes' failures only the last."""
    events = [event for event in seen.events if event.uid == pod.uid]
    failures = [event for event in events if event.reason == "Unhealthy"]
    return [event for event in events if event.reason != "Unhealthy" or (event is failures[-1] and not pod.ready)]


def _told(pod: Pod, event: Event) -> Iterator[Remark]:
    """What an event says."""
    image = _quoted(event.message)
    if event.reason == "Pulling":
        yield Remark(Key("pulling", pod.uid, image), Line(f"pulling {short(image)}", pod.name))
    elif event.reason == "Pulled":
        yield Remark(Key("pulled", pod.uid, image), Line(_pulled(event.message), pod.name))
    elif event.reason == "Unhealthy":
        said = one_line(event.message)
        same_but_figures = re.sub(r"\d+", "0", said)
        line = Line(_lower(said.replace(" probe failed: ", " probe says: ")), pod.name)
        yield Remark(Key("unhealthy", pod.uid, same_but_figures), line, PROBE_SECONDS)
    elif event.reason == "Killing" and not pod.deleting:
        yield Remark(Key("killing", pod.uid, str(event.count)), Line(_lower(one_line(event.message)), pod.name))


def _lived(pod: Pod, container: Container) -> Iterator[Remark]:
    """How a container ended or was started."""
    alone = sum(not one.init for one in pod.containers) == 1 and not container.init
    name = "container" if alone else f"container {container.name}"
    ended = container.exit
    if ended and ended.finished:
        how = f"{ended.reason or 'exit'}, exit status {ended.code}"
        yield Remark(
            Key("ended", pod.uid, f"{container.name} {ended.finished}"), Line(f"{name} ended ({how})", pod.name)
        )
    if container.state == "running":
        again = f" again (restart {container.restarts})" if container.restarts else ""
        probe = f"; its startup probe gives it {container.startup} s" if container.startup else ""
        yield Remark(started(pod, container), Line(f"{name} started{again}{probe}", pod.name))


def started(pod: Pod, container: Container) -> Key:
    """That a container was started, this time."""
    return Key("started", pod.uid, f"{container.name} {container.restarts}")


def age(container: Container, wall: datetime | None) -> float:
    """Seconds since a running container was started, by the node's clock; 0 when that cannot be told."""
    since = moment(container.since)
    return max(0.0, (wall - since).total_seconds()) if wall and since else 0.0


def awaits(seen: Seen, said: Mapping[Key, float], now: float) -> Line | None:
    """What a pod that has no failure waits for, and since when; None where that is not known. said: when what was."""
    for pod in seen.pods:
        if pod.ready or pod.finished:
            continue
        pulling = [event for event in seen.events if event.uid == pod.uid and event.reason in ("Pulling", "Pulled")]
        if pulling and pulling[-1].reason == "Pulling":
            image = _quoted(pulling[-1].message)
            return Line(f"still pulling {short(image)}{_for(said.get(Key('pulling', pod.uid, image)), now)}", pod.name)
        for container in pod.containers:
            if container.state == "running" and not container.ready and not (container.init and not container.stays):
                return Line(_probe(seen, pod, container, said.get(started(pod, container)), now), pod.name)
    return None


def _probe(seen: Seen, pod: Pod, container: Container, since: float | None, now: float) -> str:
    kind = "startup" if container.startup and not container.started else "readiness"
    said = probe_words(seen.events, pod, kind)
    words = f"; it says: {said}" if said else ""
    if kind == "startup":
        spent = f"{now - since:.0f} s " if since is not None else ""
        return f"still waiting for the startup probe: {spent}of {container.startup} s{words}"
    if words:
        return f"still waiting for the readiness probe{_for(since, now)}{words}"
    return f"still waiting for the container to be ready{_for(since, now)}"


def _for(since: float | None, now: float) -> str:
    return "" if since is None else f", for {now - since:.0f} s"


def _quoted(message: str) -> str:
    found = re.search(r'"([^"]+)"', message)
    return found[1] if found else "the image"


def short(image: str) -> str:
    """An image as one would name it: its digest by the first twelve digits."""
    return re.sub(r"(@sha256:[0-9a-f]{12})[0-9a-f]{52}$", r"\1…", image)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _pulled(message: str) -> str:
    if "already present" in message:
        return "the image is on the node"
    took = re.search(r"\bin ([\d.hms]+)(?: \(|\.|$)", message)
    return f"image pulled in {took[1]}" if took else "image pulled"
