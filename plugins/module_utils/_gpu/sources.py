# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""From a source to a reading: what Prometheus is asked, in at most three requests, and what a page says.

First the raw samples of the last minutes, whose own times tell what is stale and how often is measured; then the peaks
over the window; then, where growth is wanted, the window itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .._findings import CollectionError, Finding, Status
from .._kubernetes.cluster import Cluster
from .memory import (
    TOLERANCE,
    Doubt,
    Kind,
    Names,
    Reading,
    Tenants,
    is_alone,
    is_renamed,
    is_tenant,
    merged,
    mib_of,
    read,
    uuid_of,
    with_peaks,
)
from .places import Ask, Place, way
from .samples import Series, SourceError, Told, answer, page

RECENT = "10m"
"""Longer than Prometheus looks back (5 minutes), so that what has just gone is seen to have gone."""

POINTS = 1000
"""Of a tenant's history; each is the most of its time, so that no peak is lost between two."""

STEP = 120


@dataclass(frozen=True)
class History:
    """A tenant's use over the window: (Unix seconds, MiB), by time."""

    name: str
    points: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class _Asked:
    """How the tenants' memory is asked for: the metric, a sample a process or slot, and the sum by tenant."""

    metric: str
    each: str
    by_tenant: str

    def peak(self, query: str, window: str, step: int) -> str:
        return f"max_over_time(({query})[{window}:{step}s])"


def prometheus(
    ask: Ask, names: Names, subject: str, window: str, *, history: bool = False, thorough: bool = True
) -> tuple[Reading, list[History]]:
    """What Prometheus says. window: a duration as it writes them (7d). Raises SourceError.

    thorough: whether one that has nothing now is asked for what it had.
    """
    everything = "|".join(re.escape(one).replace("\\", "\\\\") for known in names.metrics.values() for one in known)
    told = _query(ask, subject, f'{{__name__=~"(.+_)?({everything})"}}[{RECENT}]', names)
    first = read(told, names, subject)
    if not told.series and not thorough:
        return first, []
    asked = _by_tenant(told, names)
    step = min(max(first.step or STEP, 15), 600)
    parts = [asked.peak(asked.by_tenant, window, step)]
    if (names.kind(asked.metric) or ("",))[0] is Kind.SEATS:  # what DCGM says of pods holds the card itself, too
        parts.append(_marked(asked.peak(f"sum({asked.each})", window, step), "all"))
    # raw samples stay for minutes after a page has become empty; whether any is there now, Prometheus itself says
    parts.append(_marked(f"count({asked.metric})", "now"))
    peaks = _peaks(_query(ask, subject, " or ".join(parts)), names, asked.metric)
    reading = with_peaks(read(told, names, subject, now=peaks.at), peaks.tenants, peaks.of_all)
    doubts = _doubts(reading, first, peaks, asked.metric, window)
    known = reading.known and _ENDED not in doubts
    reading = replace(reading, known=known, doubts=(*reading.doubts, *doubts))
    return reading, _history(ask, subject, asked, window, peaks.at, step, names) if history else []


def _marked(query: str, of: str) -> str:
    return f'label_replace({query}, "of", "{of}", "", "")'


def _doubts(reading: Reading, first: Reading, peaks: _Peaks, metric: str, window: str) -> list[Doubt]:
    """What the past tells of the present."""
    found = [_ENDED] if first.seats and not peaks.goes_on else []
    if not reading.known and not first.seats and peaks.tenants:
        said = f"{metric} was there within the last {window}, and is not now."
        found.append(Doubt("vanished", "seats", said, "Look at the exporter's pod."))
    if peaks.strange:
        said = (
            f"the peaks of {', '.join(peaks.strange[:3])} are no amounts of memory: they count with what they have now."
        )
        found.append(Doubt("no amount", "seats", said, "See what the exporter has told there."))
    nobody = sum(amount for _, amount in reading.nobody)
    if reading.seats and peaks.of_nobody > nobody + TOLERANCE:
        said = f"{peaks.of_nobody} MiB stood at no container's name within the last {window}, {nobody} do now."
        found.append(Doubt("nobody before", "seats", said, "Peaks of before its labels were changed count for nobody."))
    return found


_ENDED = Doubt(
    "ended",
    "seats",
    "it measured some minutes ago and does not any more: the card is idle, or the exporter is blind or gone.",
    "Look at the target in Prometheus (Status, Targets), and at the exporter's log.",
)


def _query(ask: Ask, subject: str, query: str, names: Names | None = None) -> Told:
    body = ask("/api/v1/query", {"query": query})
    return answer(body, subject, names.wanted) if names else answer(body, subject)


def _by_tenant(told: Told, names: Names) -> _Asked:
    """How the tenants are asked for; by the known names before any was seen."""
    for wanted in names.metrics[Kind.SEATS]:
        series = [one for one in told.series if names.kind(one.name) == (Kind.SEATS, wanted)]
        if series:
            break
    else:
        used = [one for one in told.series if (names.kind(one.name) or ("",))[0] is Kind.USED]
        if not used or not _per_pod(used, names):
            missing = names.metrics[Kind.SEATS][0]
            return _Asked(missing, missing, f"sum by (namespace, container) ({missing})")
        series = used
    metric, labels = series[0].name, _labels(series, names)
    own = [name for name in ("pid", "process_name", "vdevice_index", "vdeviceid") if _have(series, name)]
    identity = [*labels, *_present(series, names, "pod"), *own]
    each = f"max by ({', '.join(identity)}) ({metric})" if _several(series, identity) else metric
    return _Asked(metric, each, f"sum by ({', '.join(labels)}) ({each})")


def _have(series: Iterable[Series], name: str) -> bool:
    return any(name in one.labels for one in series)


def _several(series: Iterable[Series], identity: Sequence[str]) -> bool:
    """Whether one process is there more than once: of two jobs, two Prometheus, or once a slot of its card."""
    seen = set()
    for one in series:
        key = tuple(one.labels.get(name, "") for name in identity)
        if key in seen:
            return True
        seen.add(key)
    return False


def _per_pod(used: Iterable[Series], names: Names) -> bool:
    reading = read(Told(tuple(used)), names, "")
    return reading.known and bool(reading.seats)


def _labels(series: list[Series], names: Names) -> list[str]:
    return [label for what in ("namespace", "container", "uuid") for label in _present(series, names, what)]


def _present(series: list[Series], names: Names, what: str) -> list[str]:
    """The label that stands there for a meaning, the first of its names; of the exporter's own none."""
    renamed = is_renamed(series)
    for name in names.labels[what]:
        own = renamed and name in ("namespace", "pod", "container")
        if not own and _have(series, name):
            return [name]
    return []


@dataclass(frozen=True)
class _Peaks:
    """at: when Prometheus looked. of_nobody: without a namespace's label. goes_on: whether any is there now.

    strange: tenants whose peak is no amount of memory.
    """

    tenants: Tenants
    of_all: int | None
    of_nobody: int
    at: float
    goes_on: bool
    strange: tuple[str, ...]


def _peaks(told: Told, names: Names, metric: str) -> _Peaks:
    tenants: dict[tuple[str, str, str], int] = {}
    of_all, of_nobody, goes_on, strange = None, 0, False, []
    for one in told.series:
        amount, mark = mib_of(one.value, metric), one.labels.get("of")
        key = _tenant(one.labels, names)
        if mark:
            goes_on = goes_on or mark == "now"
            of_all = amount if mark == "all" else of_all
        elif amount is None:
            strange.append("/".join(key[:2]) if key else "nobody")
        elif key:
            tenants[key] = max(tenants.get(key, 0), amount)
        elif not any(one.labels.get(name) for name in names.labels["namespace"]):
            of_nobody += amount
    at = max((one.at for one in told.series), default=0.0)
    return _Peaks(tenants, of_all, of_nobody, at, goes_on, tuple(sorted(strange)))


def _tenant(labels: Mapping[str, str], names: Names) -> tuple[str, str, str] | None:
    values = [
        next((labels[name] for name in names.labels[what] if labels.get(name)), "")
        for what in ("namespace", "container", "uuid")
    ]
    if not is_tenant(values[0], values[1]):
        return None
    return values[0], values[1], uuid_of(values[2])


def _history(ask: Ask, subject: str, asked: _Asked, window: str, now: float, step: int, names: Names) -> list[History]:
    seconds = seconds_of(window)
    every = max(60, -(-seconds // POINTS))
    query = asked.peak(asked.by_tenant, f"{every}s", step) if every > step else asked.by_tenant
    told = answer(
        ask(
            "/api/v1/query_range",
            {"query": query, "start": f"{now - seconds:.0f}", "end": f"{now:.0f}", "step": str(every)},
        ),
        subject,
    )
    found = []
    for one in told.series:
        if key := _tenant(one.labels, names):
            points = ((at, mib_of(value, asked.metric)) for at, value in one.points)
            found.append(History(f"{key[0]}/{key[1]}", tuple((at, mib) for at, mib in points if mib is not None)))
    return found


def seconds_of(window: str) -> int:
    """A duration as Prometheus writes it, of one unit. Raises SourceError."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([smhdw])", window)
    if not match:
        raise SourceError("option window", f"{window} is no duration.", "Write it as 7d or 12h.")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[match[2]]


def of_page(ask: Ask, names: Names, subject: str) -> Reading:
    """What an exporter's page says: of now only."""
    reading = read(page(ask("", {}), subject, names.wanted), names, subject)
    doubt = Doubt(
        "no history",
        "source",
        "a page tells only of now: peaks are not known.",
        "Name a Prometheus, or the neighbours' measured peaks.",
    )
    return replace(reading, doubts=(*reading.doubts, doubt))


KINDS = ("prometheus", "exporter", "dcgm")
_SERVICES = {
    "prometheus": (
        r"prometheus-server",
        r"[a-z0-9-]*kube-prome[a-z-]*-prometheus",
        r"prometheus-k8s|prometheus",
        r"vmsingle-[a-z0-9-]+|[a-z0-9-]*victoria-metrics-single-server|thanos-query(-frontend)?",
        r"prometheus-operated",
    ),
    "exporter": (r"gpu-pod-exporter", r"hami-device-plugin-monitor", r"(prometheus-)?nvidia-gpu-exporter"),
    "dcgm": (r"(nvidia-)?dcgm-exporter",),
}
"""What they are usually called, the better one first."""

_PORTS = {"prometheus": (9090, 80, 8428, 8429), "exporter": (), "dcgm": (9400,)}
_PAGE, _PAGES = 2500, 2
"""So many Services are looked through at most, and in so many requests."""
_TRIED = 2
"""So many that look like a Prometheus are asked, where the first knows nothing of GPUs."""


def discover(cluster: Cluster) -> dict[str, list[Place]]:
    """The sources that a cluster's Services look like, by kind, the likelier first.

    Raises ClusterError, 403 without the right to list.
    """
    found: dict[str, list[tuple[int, Place]]] = {kind: [] for kind in KINDS}
    token = ""
    for _ in range(_PAGES):
        query = {"limit": str(_PAGE), **({"continue": token} if token else {})}
        page_of = cluster.get("/api/v1/services", query)
        for one in page_of["items"]:
            for kind in KINDS:
                if likely := _likely(one, kind):
                    found[kind].append(likely)
        token = str(page_of["metadata"].get("continue") or "")
        if not token:
            break
    return {kind: [place for _, place in sorted(every, key=lambda one: one[0])] for kind, every in found.items()}


def _likely(service: Mapping[str, Any], kind: str) -> tuple[int, Place] | None:
    """Rank and place of a Service that looks like one of a kind."""
    meta, ports = service["metadata"], (service.get("spec") or {}).get("ports") or ()
    name = str(meta.get("name"))
    rank = next((rank for rank, known in enumerate(_SERVICES[kind]) if re.fullmatch(known, name)), None)
    numbers = [port.get("port") for port in ports if isinstance(port, Mapping)]
    port = next((number for number in numbers if not _PORTS[kind] or number in _PORTS[kind]), None)
    if rank is None or not port:
        return None
    prefix = "" if kind == "prometheus" else "/metrics"
    return rank, Place(str(meta.get("namespace")), name, str(port), prefix=prefix)


def named_places(params: Mapping[str, Any]) -> dict[str, Place]:
    """The sources that the options of portal.stt.gpu_memory_info name. Raises SourceError."""
    found = {kind: Place.of(kind, params[kind], "" if kind == "prometheus" else "/metrics") for kind in KINDS}
    return {kind: place for kind, place in found.items() if place}


@dataclass(frozen=True)
class Looked:
    """What came of looking: the reading of all sources together, the window's history, and what did not answer.

    named: whether the sources were named. others: what else looks like a source, and was not asked.
    """

    reading: Reading = field(default_factory=Reading)
    history: tuple[History, ...] = ()
    failures: tuple[SourceError, ...] = ()
    named: bool = True
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What is looked for. source: a kind, or ``auto`` for all. seconds: that a request may take."""

    names: Names
    window: str
    source: str = "auto"
    seconds: float = 30
    history: bool = False


def look(places: Mapping[str, Place], connect: Callable[[], Cluster], wish: Wish) -> Looked:
    """All of the sources, in their order, until seats and card are known. One that does not answer is told.

    Where none is named, those that the cluster's Services look like.
    """
    kinds = KINDS if wish.source == "auto" else (wish.source,)
    if places:
        return _look({kind: [place] for kind, place in places.items() if kind in kinds}, connect, wish, named=True)
    try:
        found = discover(connect())
    except CollectionError as error:
        remedy = _MAY_NOT_LIST if getattr(error, "status", 0) == 403 else error.remedy
        return Looked(failures=(SourceError(error.subject, error.message, remedy),), named=False)
    return _look({kind: found[kind] for kind in kinds}, connect, wish, named=False)


_MAY_NOT_LIST = (
    "Set [memory.source] to a Prometheus or an exporter, or to none; or give the account the right to list services."
)


def _look(places: Mapping[str, Sequence[Place]], connect: Callable[[], Cluster], wish: Wish, *, named: bool) -> Looked:
    failures: list[SourceError] = []
    looked = Looked(named=named)
    asked: list[Place] = []
    for place, kind in ((place, kind) for kind, every in places.items() for place in every):
        tried = sum(one in asked for one in places[kind])
        if _enough(looked.reading, kind, tried) or any(error.status == 403 for error in failures if not named):
            continue
        asked.append(place)
        try:
            said, kept = _ask(kind, place, connect, wish, thorough=named)
        except SourceError as error:
            failures.append(error)
        except CollectionError as error:
            failures.append(SourceError(error.subject, error.message, error.remedy))
        else:
            reading = _joined(looked.reading, said)
            looked = replace(looked, reading=reading, history=looked.history or tuple(kept))
    others = tuple(place.subject for every in places.values() for place in every if place not in asked)
    return replace(looked, failures=tuple(failures), others=() if named else others)


def _enough(reading: Reading, kind: str, tried: int) -> bool:
    """Whether no further one of a kind is asked: all is known, or one of the kind has told something."""
    if reading.known and reading.cards:
        return True
    told_something = bool(reading.seats or reading.cards or reading.doubts)
    return tried >= (_TRIED if kind == "prometheus" and not told_something else 1)


def _joined(before: Reading, said: Reading) -> Reading:
    if not before.source or not (before.seats or before.cards or before.doubts or before.known):
        return said
    return merged(before, said)


def _ask(
    kind: str, place: Place, connect: Callable[[], Cluster], wish: Wish, *, thorough: bool
) -> tuple[Reading, list[History]]:
    ask = way(place, connect, wish.seconds)
    if kind == "prometheus":
        return prometheus(ask, wish.names, place.subject, wish.window, history=wish.history, thorough=thorough)
    return of_page(ask, wish.names, place.subject), []


_SHOWN = 8


def told(looked: Looked, reading: Reading) -> list[Finding]:
    """What is to be said of a reading: who is there, each doubt, each source that does not answer. It stops nothing."""
    found = [
        Finding("gpu.memory", Status.WARNING, one.subject, one.message, one.remedy, tuple(one.evidence))
        for one in looked.failures
    ]
    alone = is_alone(reading)
    if not reading.source:
        return found if found or alone else [_NOTHING]
    others = (f"not asked: {', '.join(looked.others[:3])}",) if looked.others else ()
    if reading.known:
        amount, count = sum(seat.now for seat in reading.seats), sum(seat.now > 0 for seat in reading.seats)
        said = f"{count} container{'s have' if count != 1 else ' has'} {amount} MiB of GPU memory."
        found.append(Finding("gpu.memory", Status.OK, reading.source, said, "", (*_seat_lines(reading), *others)))
    elif alone:
        said = "no card is shared: the pod that has one has it alone."
        found.append(Finding("gpu.memory", Status.OK, reading.source, said))
    elif not reading.doubts:
        said = "who sits in GPU memory cannot be told: it has no metric that is known here."
        remedy = "Let it scrape an exporter of GPU memory, or set [memory.metrics] to the names that yours has."
        found.append(Finding("gpu.memory", Status.WARNING, reading.source, said, remedy, others))
    for doubt in reading.doubts:
        if doubt.kind != "no history" or (reading.known and not alone):
            found.append(Finding("gpu.memory", Status.WARNING, reading.source, doubt.message, doubt.remedy))
    return found


_NOTHING = Finding(
    "gpu.memory",
    Status.WARNING,
    "GPU memory",
    "who sits in it cannot be told: no Prometheus and no exporter is named, and none is found by its name.",
    "Set [memory.source] to a Prometheus that scrapes a GPU exporter or to the exporter itself, or to none.",
)


def _seat_lines(reading: Reading) -> list[str]:
    lines = [
        f"{seat.name}: {seat.now} MiB now" + (f", {seat.peak} at the peak" if seat.peak is not None else "")
        for seat in reading.seats
    ]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return lines[:_SHOWN] + more
