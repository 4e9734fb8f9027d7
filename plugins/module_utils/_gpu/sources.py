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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._findings import CollectionError, Finding, Status
from .._kubernetes.cluster import Cluster
from .memory import Doubt, Kind, Names, Reading, Tenants, is_renamed, merged, read, with_peaks
from .places import Ask, Place, way
from .samples import Series, SourceError, Told, answer, page

RECENT = "10m"
"""Longer than Prometheus looks back (5 minutes), so that what has just gone is seen to have gone."""

POINTS = 2000
STEP = 120
_MIB = 1024 * 1024


@dataclass(frozen=True)
class History:
    """A tenant's use over the window: (Unix seconds, MiB), by time."""

    name: str
    points: tuple[tuple[float, int], ...]


def prometheus(
    ask: Ask, names: Names, subject: str, window: str, *, history: bool = False
) -> tuple[Reading, list[History]]:
    """What Prometheus says. window: a duration as it writes them (7d). Raises SourceError."""
    everything = "|".join(re.escape(one) for known in names.metrics.values() for one in known)
    told = _query(ask, subject, f'{{__name__=~"(.+_)?({everything})"}}[{RECENT}]', names)
    metric, grouped = _by_tenant(told, names)
    if not metric:
        return read(told, names, subject), []
    first = read(told, names, subject)
    step = min(max(first.step or STEP, 15), 600)
    peak = f"max_over_time(({grouped})[{window}:{step}s])"
    if (names.kind(metric) or ("",))[0] is Kind.SEATS:  # what DCGM says of pods holds the card itself, too
        peak += f" or max_over_time((sum({metric}))[{window}:{step}s])"
    # raw samples stay for minutes after a page has become empty; whether any is there now, Prometheus itself says
    peaks = _query(ask, subject, f'{peak} or label_replace(count({metric}), "of", "now", "", "")')
    by_tenant, of_all, now = _peaks(peaks, metric, names)
    reading = with_peaks(read(told, names, subject, now=now), by_tenant, of_all)
    if first.seats and not any(one.labels.get("of") == "now" for one in peaks.series):
        reading = Reading(**{**vars(reading), "known": False, "doubts": (*reading.doubts, _ENDED)})
    if not reading.known and not first.seats and by_tenant:
        doubt = Doubt(
            "vanished",
            "seats",
            f"{metric} was there within the last {window}, and is not now.",
            "Look at the exporter's pod.",
        )
        reading = Reading(**{**vars(reading), "doubts": (*reading.doubts, doubt)})
    return reading, _history(ask, subject, grouped, window, now, metric, names) if history else []


_ENDED = Doubt(
    "ended",
    "seats",
    "it measured some minutes ago and does not any more: the card is idle, or the exporter is blind or gone.",
    "Look at the target in Prometheus (Status, Targets), and at the exporter's log.",
)


def _query(ask: Ask, subject: str, query: str, names: Names | None = None) -> Told:
    body = ask("/api/v1/query", {"query": query})
    return answer(body, subject, names.wanted) if names else answer(body, subject)


def _by_tenant(told: Told, names: Names) -> tuple[str, str]:
    """The metric that has the tenants, and the query that adds up by tenant; the known names before it was seen."""
    for wanted in names.metrics[Kind.SEATS]:
        series = [one for one in told.series if names.kind(one.name) == (Kind.SEATS, wanted)]
        if series:
            break
    else:
        used = [one for one in told.series if (names.kind(one.name) or ("",))[0] is Kind.USED]
        if not used or not _per_pod(used, names):
            missing = names.metrics[Kind.SEATS][0]
            return missing, f"sum by (namespace, container) ({missing})"
        series = used
    metric, labels = series[0].name, _labels(series, names)
    if any("vgpu" in one.labels for one in series) or len({one.labels.get("job") for one in series}) > 1:
        # once a slot, or once a job
        own = [name for name in ("pid", "process_name", "vdevice_index") if any(name in one.labels for one in series)]
        each = ", ".join([*labels, *_present(series, names, "pod"), *own])
        return metric, f"sum by ({', '.join(labels)}) (max by ({each}) ({metric}))"
    return metric, f"sum by ({', '.join(labels)}) ({metric})"


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
        if not own and any(name in one.labels for one in series):
            return [name]
    return []


def _peaks(told: Told, metric: str, names: Names) -> tuple[Tenants, int | None, float]:
    """By tenant, of all together, and the moment at which Prometheus looked."""
    found: dict[tuple[str, str, str], int] = {}
    of_all, now = None, 0.0
    for one in told.series:
        now = max(now, one.at)
        amount = _amount(one.value, metric)
        if one.labels.get("of") == "now":
            continue
        if not one.labels:
            of_all = amount
        elif key := _tenant(one.labels, names):
            found[key] = max(found.get(key, 0), amount)
    return found, of_all, now


def _tenant(labels: Mapping[str, str], names: Names) -> tuple[str, str, str] | None:
    from .memory import uuid_of

    values = [
        next((labels[name] for name in names.labels[what] if labels.get(name)), "")
        for what in ("namespace", "container", "uuid")
    ]
    known = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
    if values[0] in ("", "unknown") or not all(map(known.fullmatch, values[:2])):
        return None
    return values[0], values[1], uuid_of(values[2])


def _amount(value: float, metric: str) -> int:
    good = 0 <= value < 2**60  # NaN is neither
    in_bytes = metric.endswith(("bytes", "HostGPUMemoryUsage"))
    return int(value / _MIB if in_bytes else value) if good else 0


def _history(ask: Ask, subject: str, grouped: str, window: str, now: float, metric: str, names: Names) -> list[History]:
    seconds = seconds_of(window)
    step = max(60, -(-seconds // POINTS))
    query = {"query": grouped, "start": f"{now - seconds:.0f}", "end": f"{now:.0f}", "step": str(step)}
    told = answer(ask("/api/v1/query_range", query), subject)
    found = []
    for one in told.series:
        if key := _tenant(one.labels, names):
            found.append(History(f"{key[0]}/{key[1]}", tuple((at, _amount(value, metric)) for at, value in one.points)))
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
    return Reading(**{**vars(reading), "doubts": (*reading.doubts, doubt)})


@dataclass(frozen=True)
class Looked:
    """What came of looking: the reading of all sources together, the window's history, and what did not answer."""

    reading: Reading
    history: tuple[History, ...] = ()
    failures: tuple[SourceError, ...] = ()


KINDS = ("prometheus", "exporter", "dcgm")
_SERVICES = {
    "prometheus": re.compile(
        r"prometheus-operated|prometheus-server|prometheus-k8s|prometheus|[a-z0-9-]*kube-prome[a-z-]*-prometheus"
    ),
    "exporter": re.compile(r"gpu-pod-exporter|hami-device-plugin-monitor|(prometheus-)?nvidia-gpu-exporter"),
    "dcgm": re.compile(r"(nvidia-)?dcgm-exporter"),
}
_PORTS = {"prometheus": (9090, 80), "exporter": (), "dcgm": (9400,)}


def discover(cluster: Cluster) -> dict[str, Place]:
    """The sources that a cluster's Services look like, by kind. Raises ClusterError, 403 without the right to list."""
    found: dict[str, Place] = {}
    services = cluster.get("/api/v1/services")["items"]
    for kind, name in _SERVICES.items():
        for one in services:
            meta, ports = one["metadata"], (one.get("spec") or {}).get("ports") or ()
            numbers = [port.get("port") for port in ports if isinstance(port, Mapping)]
            port = next((number for number in numbers if not _PORTS[kind] or number in _PORTS[kind]), None)
            if port and name.fullmatch(str(meta.get("name"))) and kind not in found:
                prefix = "" if kind == "prometheus" else "/metrics"
                found[kind] = Place(str(meta.get("namespace")), str(meta["name"]), str(port), prefix=prefix)
    return found


def named_places(params: Mapping[str, Any]) -> dict[str, Place]:
    """The sources that the options of portal.stt.gpu_memory_info name. Raises SourceError."""
    found = {kind: Place.of(kind, params[kind], "" if kind == "prometheus" else "/metrics") for kind in KINDS}
    return {kind: place for kind, place in found.items() if place}


def look(
    places: Mapping[str, Place],
    connect: Callable[[], Cluster],
    names: Names,
    window: str,
    *,
    source: str,
    seconds: float,
    history: bool,
) -> Looked:
    """All of the sources, in their order, until seats and card are known. One that does not answer is told.

    Where none is named, those that the cluster's Services look like. source: a kind, or ``auto`` for all.
    """
    failures: list[SourceError] = []
    if not places:
        try:
            places = discover(connect())
        except CollectionError as error:
            failures.append(SourceError(error.subject, error.message, error.remedy))
    reading = Reading()
    kept: list[History] = []
    for kind in KINDS if source == "auto" else (source,):
        if kind not in places or (reading.known and reading.cards):
            continue
        try:
            said, kept_here = _ask(kind, places[kind], connect, names, window, seconds, history)
        except SourceError as error:
            failures.append(error)
        except CollectionError as error:
            failures.append(SourceError(error.subject, error.message, error.remedy))
        else:
            kept = kept or kept_here
            reading = merged(reading, said) if reading.source else said
    return Looked(reading, tuple(kept), tuple(failures))


def _ask(
    kind: str, place: Place, connect: Callable[[], Cluster], names: Names, window: str, seconds: float, history: bool
) -> tuple[Reading, list[History]]:
    ask = way(place, connect, seconds)
    if kind == "prometheus":
        return prometheus(ask, names, place.subject, window, history=history)
    return of_page(ask, names, place.subject), []


_SHOWN = 8


def told(looked: Looked, reading: Reading) -> list[Finding]:
    """What is to be said of a reading: who is there, each doubt, each source that does not answer. It stops nothing."""
    found = [
        Finding("gpu.memory", Status.WARNING, one.subject, one.message, one.remedy, tuple(one.evidence))
        for one in looked.failures
    ]
    if not reading.source and not found:
        found.append(
            Finding(
                "gpu.memory",
                Status.WARNING,
                "GPU memory",
                "who sits in it cannot be told: no Prometheus and no exporter is named, and none is found by its name.",
                "Set [memory.source] to a Prometheus that scrapes a GPU exporter, or to the exporter itself.",
            )
        )
    if not reading.source:
        return found
    if reading.known:
        amount, count = sum(seat.now for seat in reading.seats), sum(seat.now > 0 for seat in reading.seats)
        said = f"{count} container{'s have' if count != 1 else ' has'} {amount} MiB of GPU memory."
        found.append(Finding("gpu.memory", Status.OK, reading.source, said, "", tuple(_seat_lines(reading))))
    elif not reading.doubts:
        said = "who sits in GPU memory cannot be told: it has no metric that is known here."
        remedy = "Let it scrape an exporter of GPU memory, or set [memory.metrics] to the names that yours has."
        found.append(Finding("gpu.memory", Status.WARNING, reading.source, said, remedy))
    for doubt in reading.doubts:
        if doubt.kind != "no history" or reading.known:
            found.append(Finding("gpu.memory", Status.WARNING, reading.source, doubt.message, doubt.remedy))
    return found


def _seat_lines(reading: Reading) -> list[str]:
    lines = [
        f"{seat.name}: {seat.now} MiB now" + (f", {seat.peak} at the peak" if seat.peak is not None else "")
        for seat in reading.seats
    ]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return lines[:_SHOWN] + more
