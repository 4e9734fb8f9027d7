# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""From series to who sits in a card's memory, and what cannot be told of it. Pure; all amounts in MiB.

Blind is not idle: what no exporter measures is unknown, never 0. Sources: dcgm-exporter (pkg/rendermetrics,
pkg/transformation/kubernetes.go), HAMi (cmd/vGPUmonitor/metrics.go), nvidia_gpu_exporter (internal/nvidiasmi), and an
exporter that reads `nvidia-smi --query-compute-apps` with the host's processes in sight.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median
from typing import Any

from . import cards
from .cards import Usable
from .samples import Series, SourceError, Told

MIB = 1024 * 1024
TOLERANCE = 64
"""So far apart may two sources be that measure at different moments, or 2 % of what they say."""

_MOST = 16 * 1024 * 1024  # 16 TiB; old DCGM writes 2^63 - 14 for what it cannot tell


class Kind(StrEnum):
    """What a metric counts."""

    SEATS = "seats"  # by process or container
    USED = "used"
    FREE = "free"
    TOTAL = "total"
    RESERVED = "reserved"
    PROCESSES = "processes"  # their number, a card each
    READ = "read"  # 1 where the processes could be read


METRICS: Mapping[Kind, tuple[str, ...]] = {
    Kind.SEATS: (
        "gpu_pod_memory_used_bytes",
        "hami_vgpu_memory_used_bytes",
        "vGPU_device_memory_usage_in_bytes",
        "nvidia_smi_compute_app_used_memory_bytes",
    ),
    Kind.USED: (
        "DCGM_FI_DEV_FB_USED",
        "nvidia_smi_memory_used_bytes",
        "hami_host_gpu_memory_used_bytes",
        "HostGPUMemoryUsage",
    ),
    Kind.FREE: ("DCGM_FI_DEV_FB_FREE", "nvidia_smi_memory_free_bytes"),
    Kind.TOTAL: ("DCGM_FI_DEV_FB_TOTAL", "nvidia_smi_memory_total_bytes"),
    Kind.RESERVED: ("DCGM_FI_DEV_FB_RESERVED", "nvidia_smi_memory_reserved_bytes"),
    Kind.PROCESSES: ("nvidia_smi_compute_apps",),
    Kind.READ: ("nvidia_smi_compute_apps_last_collect_success",),
}
"""The names that are known, the better source first. Whatever stands before one, up to an underscore, is a prefix."""

LABELS: Mapping[str, tuple[str, ...]] = {
    "namespace": ("exported_namespace", "pod_namespace", "podnamespace", "namespace"),
    "pod": ("exported_pod", "pod_name", "podname", "pod"),
    "container": ("exported_container", "container_name", "ctrname", "container"),
    "node": ("Hostname", "hostname", "node", "nodeid"),
    "uuid": ("UUID", "uuid", "device_uuid", "deviceuuid"),
    "product": ("modelName", "name"),
}
"""What a label is called, in the order in which it is looked for."""

_IN_BYTES = ("HostGPUMemoryUsage",)
_NOBODY = ("", "unknown")
_KUBERNETES = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_RENAMED = "exported_"
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]{0,199}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


@dataclass(frozen=True)
class Names:
    """Metrics and labels by what they mean, as given or as known."""

    metrics: Mapping[Kind, tuple[str, ...]] = field(default_factory=lambda: METRICS)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: LABELS)

    @classmethod
    def of(cls, metrics: Mapping[str, Sequence[str]], labels: Mapping[str, Sequence[str]]) -> Names:
        """The known ones, of which each that is given is replaced. Raises SourceError for what is no name."""
        for option, every, right in (("metrics", metrics, _METRIC), ("labels", labels, _LABEL)):
            for key, names in every.items():
                if not all(right.fullmatch(name) for name in names or ()):
                    raise SourceError(f"option {option}.{key}", "it has something that Prometheus takes for no name.",
                                      "Write letters, digits and underscores.")  # fmt: skip
        given = {Kind(kind): tuple(names) for kind, names in metrics.items() if names}
        return cls({**METRICS, **given}, {**LABELS, **{key: tuple(names) for key, names in labels.items() if names}})

    def kind(self, name: str) -> tuple[Kind, str] | None:
        """What a metric counts, and its name without a prefix."""
        for kind, known in self.metrics.items():
            for one in known:
                if name == one or name.endswith(f"_{one}"):
                    return kind, one
        return None

    def wanted(self, name: str) -> bool:
        return self.kind(name) is not None


@dataclass(frozen=True)
class Doubt:
    """What a reading does not tell, or tells wrongly. kind: one word. about: ``seats``, ``card`` or ``source``."""

    kind: str
    about: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Card:
    """A card, or a MIG slice of one; None is not told. node: as its exporter calls it, which may be its pod's name.

    shared: whether several pods may have it at once.
    """

    uuid: str
    node: str = ""
    product: str = ""
    slice: str = ""
    total: int | None = None
    used: int | None = None
    free: int | None = None
    reserved: int | None = None
    usable: Usable | None = None
    shared: bool | None = None

    @property
    def in_use(self) -> int | None:
        """What is used, without the reserve where that is counted as used."""
        if self.used is None or self.free is None or self.usable is None:
            return self.used
        return max(0, min(self.used, self.usable.mib - self.free))

    @property
    def name(self) -> str:
        """The card in a few words, for messages."""
        part = f"slice {self.slice} of " if self.slice else ""
        where = f" in {self.node}" if self.node else ""
        return f"{part}{self.product or 'card'} {self.uuid[:8] or ''}".rstrip() + where


@dataclass(frozen=True)
class Seat:
    """A container's share of a card, all its processes and pods together. peak: over the window, None without one.

    Pods are renamed at each rollout: what stays is namespace and container.
    """

    namespace: str
    container: str
    pods: tuple[str, ...]
    now: int
    peak: int | None = None
    uuid: str = ""

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.container}"


@dataclass(frozen=True)
class Reading:
    """What was read. known: whether the seats are all that there are; without, nothing can be said of who is there.

    nobody: (process, amount) of those that no pod's name stands at. at: when it was measured, Unix seconds, 0 for now.
    step: seconds between two measurements, 0 where not told. peak_of_all: of the seats together over the window.
    """

    cards: tuple[Card, ...] = ()
    seats: tuple[Seat, ...] = ()
    nobody: tuple[tuple[str, int], ...] = ()
    known: bool = False
    doubts: tuple[Doubt, ...] = ()
    source: str = ""
    at: float = 0.0
    step: int = 0
    peak_of_all: int | None = None

    def unattributed(self, card: Card) -> int:
        """MiB in use on the card that belong to no seat: contexts, the host's processes, pods without a name yet."""
        seats = sum(seat.now for seat in self.seats if seat.uuid in ("", card.uuid))
        nameless = sum(amount for _, amount in self.nobody)
        return max(0, card.in_use - seats) if card.in_use is not None and self.known else nameless

    def as_result(self) -> dict[str, Any]:
        """The reading as a module returns it."""
        return {
            "source": self.source,
            "known": self.known,
            "at": self.at,
            "step": self.step,
            "cards": [
                {**vars(card), "usable": card.usable.mib if card.usable else None,
                 "usable_by": card.usable.how if card.usable else "",
                 "usable_is_measured": bool(card.usable and card.usable.measured),
                 "usable_total": card.usable.total if card.usable else None}
                for card in self.cards
            ],
            "seats": [{**vars(seat), "pods": list(seat.pods)} for seat in self.seats],
            "nobody": [{"process": process, "mib": amount} for process, amount in self.nobody],
            "peak_of_all": self.peak_of_all,
            "doubts": [vars(doubt) for doubt in self.doubts],
        }  # fmt: skip

    @classmethod
    def from_result(cls, given: Mapping[str, Any]) -> Reading:
        """The reading of a module's result. Raises TypeError, ValueError or KeyError for what is none."""
        return cls(
            tuple(_card_of(one) for one in given["cards"]),
            tuple(_seat_of(one) for one in given["seats"]),
            tuple((str(one["process"]), int(one["mib"])) for one in given["nobody"]),
            bool(given["known"]),
            tuple(Doubt(**one) for one in given["doubts"]),
            str(given["source"]),
            float(given["at"]),
            int(given["step"]),
            _amount(given.get("peak_of_all")),
        )


def _amount(given: Any) -> int | None:
    return None if given is None else int(given)


def _seat_of(given: Mapping[str, Any]) -> Seat:
    pods = tuple(map(str, given["pods"]))
    return Seat(str(given["namespace"]), str(given["container"]), pods, int(given["now"]), _amount(given["peak"]),
                str(given["uuid"]))  # fmt: skip


def _card_of(given: Mapping[str, Any]) -> Card:
    mib, how, total = given["usable"], str(given["usable_by"]), _amount(given.get("usable_total"))
    return Card(
        str(given["uuid"]), str(given["node"]), str(given["product"]), str(given["slice"]),
        _amount(given["total"]), _amount(given["used"]), _amount(given["free"]), _amount(given["reserved"]),
        Usable(int(mib), how, bool(given["usable_is_measured"]), total) if mib is not None else None,
        given.get("shared"),
    )  # fmt: skip


def read(told: Told, names: Names, source: str, *, now: float = 0.0) -> Reading:
    """The reading of one source. now: the source's own clock, for what is stale; 0 where it has none (a page)."""
    series = [one for one in told.series if names.wanted(one.name)]
    step = interval(series)
    series, doubts = _current(series, step)
    series, strange = _sound(series)
    doubts += [*strange, *(Doubt("warning", "source", f"it warns: {said}.") for said in told.warnings)]
    at = max((one.at for one in series), default=0.0)
    if now and at and now - at > max(3 * step, 120):
        doubts.append(_stale(now - at))
    seats, nobody, known, found = _seats(series, names, told.families)
    read_cards, guests = _cards(series, names)
    doubts += found
    if not any(_is(one, names, Kind.SEATS) for one in series):
        seats, known_by_card, said = _by_card(guests, read_cards)
        known = known or known_by_card
        doubts += said
    reading = Reading(tuple(read_cards), tuple(seats), tuple(nobody), known, tuple(doubts), source, at, step)
    return _compared(reading)


def interval(series: Iterable[Series]) -> int:
    """Seconds between two scrapes: the median distance of neighbouring points; 0 where there are none."""
    gaps = [later[0] - earlier[0] for one in series for earlier, later in zip(one.points, one.points[1:], strict=False)]
    return round(median(gaps)) if gaps else 0


def _current(series: Sequence[Series], step: int) -> tuple[list[Series], list[Doubt]]:
    """Without those that ended before the newest scrape: a process that is gone. Where all of a target ended, so it
    says: nothing is known of it any more."""
    newest: dict[tuple[str, str], float] = defaultdict(float)
    for one in series:
        newest[_target(one)] = max(newest[_target(one)], one.at)
    last = max(newest.values(), default=0.0)
    patience = max(2.5 * step, 60)
    gone = sorted(target for target, at in newest.items() if last - at > patience)
    doubts = [
        Doubt(
            "vanished", "source",
            f"nothing has come from {target[1] or target[0] or 'one of its targets'} for the last "
            f"{last - newest[target]:.0f} s, while others are measured.",
            "Look at that target in Prometheus (Status, Targets), and at the exporter's pod there.",
        )
        for target in gone[:_TARGETS]
    ]  # fmt: skip
    if len(gone) > _TARGETS:
        doubts.append(Doubt("vanished", "source", f"nor from {len(gone) - _TARGETS} more of its targets."))
    kept = [one for one in series if _target(one) not in gone and newest[_target(one)] - one.at <= 0.5 * step]
    return kept, doubts


_TARGETS = 3


def _target(one: Series) -> tuple[str, str]:
    return one.labels.get("job", ""), one.labels.get("instance", "")


def _sound(series: Sequence[Series]) -> tuple[list[Series], list[Doubt]]:
    good = [one for one in series if mib_of(one.value, one.name) is not None]
    if len(good) == len(series):
        return good, []
    bad = sorted({one.name for one in series} - {one.name for one in good}) or ["some"]
    return good, [
        Doubt(
            "no amount", "seats",
            f"{len(series) - len(good)} of its values are no amount of memory (such as NaN), in {', '.join(bad)}.",
            "The driver may not tell it: see nvidia-smi on the node.",
        )
    ]  # fmt: skip


def _stale(age: float) -> Doubt:
    return Doubt(
        "stale", "source", f"its newest measurement is {age:.0f} s old.",
        "Look at the target in Prometheus (Status, Targets), and at the exporter's pod.",
    )  # fmt: skip


def _is(one: Series, names: Names, kind: Kind) -> bool:
    found = names.kind(one.name)
    return found is not None and found[0] is kind


def mib_of(value: float, name: str) -> int | None:
    """A metric's value in MiB; None for what is no amount of memory.

    By the name: what ends in `bytes` counts bytes, all else MiB. DCGM cuts, so do we.
    """
    mib = value / MIB if name.endswith(("bytes", *_IN_BYTES)) else value
    return int(mib) if 0 <= mib < _MOST else None  # NaN is neither


def _mib(one: Series, plain_name: str) -> int:
    """Of a series that is sound."""
    return mib_of(one.value, plain_name) or 0


# ---- who sits there


@dataclass(frozen=True)
class _Process:
    namespace: str
    container: str
    pod: str
    uuid: str
    key: tuple[str, ...]
    shown: str
    mib: int


def _seats(
    series: Sequence[Series], names: Names, families: frozenset[str]
) -> tuple[list[Seat], list[tuple[str, int]], bool, list[Doubt]]:
    """The seats, the processes of nobody, whether that is all, and doubts."""
    best = next((name for name in names.metrics[Kind.SEATS] if _of(series, names, Kind.SEATS, name)), "")
    if not best:
        known, doubts = _nothing(series, names, families)
        return [], [], known, doubts
    processes: dict[tuple[str, ...], _Process] = {}
    doubts = []
    for one in _owned(_of(series, names, Kind.SEATS, best), names, best):
        before = processes.get(one.key)
        if before:
            doubts = [_TWICE]
        if not before or before.mib < one.mib:
            processes[one.key] = one
    theirs: dict[tuple[str, str, str], list[_Process]] = defaultdict(list)
    nobody = []
    for one in processes.values():
        if one.namespace:
            theirs[one.namespace, one.container, one.uuid].append(one)
        else:
            nobody.append((one.shown, one.mib))
    seats = [
        Seat(namespace, container, tuple(sorted({one.pod for one in own})), sum(one.mib for one in own), None, uuid)
        for (namespace, container, uuid), own in theirs.items()
    ]
    if nobody:
        doubts.append(_nameless(nobody))
    seats.sort(key=lambda seat: (-seat.now, seat.name))
    failed = _unread(series, names)
    return seats, sorted(nobody, key=lambda one: -one[1]), not failed, doubts + failed


_TWICE = Doubt(
    "twice", "seats", "the same process is told more than once (two scrape jobs, or two Prometheus): it counts once.",
    "Let one job scrape the exporter.",
)  # fmt: skip


def _nameless(nobody: Sequence[tuple[str, int]]) -> Doubt:
    shown = ", ".join(f"{process or 'a process'} {amount} MiB" for process, amount in nobody[:3])
    more = f" and {len(nobody) - 3} more" if len(nobody) > 3 else ""
    return Doubt(
        "nobody", "seats", f"no pod's name stands at {sum(amount for _, amount in nobody)} MiB: {shown}{more}.",
        "They may be the host's own, of a pod that has just started, or the exporter may not reach the API server.",
    )  # fmt: skip


def _of(series: Iterable[Series], names: Names, kind: Kind, name: str) -> list[Series]:
    return [one for one in series if names.kind(one.name) == (kind, name)]


def _owned(series: Iterable[Series], names: Names, metric: str) -> Iterator[_Process]:
    for labels, one in _tenants(series, names):
        namespace, pod, container = labels["namespace"], labels["pod"], labels["container"]
        process = one.labels.get("process_name") or one.labels.get("container_id", "")
        number = next((one.labels[key] for key in ("pid", "vdevice_index", "vdeviceid") if key in one.labels), "")
        uuid, mib = uuid_of(labels["uuid"]), _mib(one, metric)
        if not is_tenant(namespace, container):
            where = f"{labels['node']} {one.labels.get('instance', '')}"
            yield _Process("", "", "", uuid, ("", process, number, uuid, where), process, mib)
        else:
            key = (namespace, container, pod, number, process, uuid)
            yield _Process(namespace, container, pod, uuid, key, process, mib)


def is_tenant(namespace: str, container: str) -> bool:
    """Whether these name a container of a pod."""
    return namespace not in _NOBODY and all(map(_KUBERNETES.fullmatch, (namespace, container)))


def _tenants(series: Iterable[Series], names: Names) -> Iterator[tuple[dict[str, str], Series]]:
    """Each series with its labels by meaning. Where a scrape has renamed the exporter's own labels to exported_*, the
    plain ones name the exporter's pod, and never a tenant."""
    by_job: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        by_job[one.name, one.labels.get("job", "")].append(one)
    for group in by_job.values():
        renamed = is_renamed(group)
        for one in group:
            yield {what: _label(one, names.labels[what], renamed) for what in LABELS}, one


def is_renamed(series: Iterable[Series]) -> bool:
    return any(f"{_RENAMED}{name}" in one.labels for one in series for name in ("namespace", "pod", "container"))


def _label(one: Series, known: Iterable[str], renamed: bool) -> str:
    for name in known:
        if one.labels.get(name) and not (renamed and name in ("namespace", "pod", "container")):
            return one.labels[name]
    return ""


def uuid_of(text: str) -> str:
    """As all write it: nvidia_gpu_exporter leaves the GPU- out."""
    return text.lower().removeprefix("gpu-")


def _unread(series: Sequence[Series], names: Names) -> list[Doubt]:
    failed = [one for one in series if _is(one, names, Kind.READ) and one.value != 1]
    if not failed:
        return []
    return [Doubt("unread", "seats", "the exporter could not read the processes the last time.", "Look at its log.")]


def _nothing(series: Sequence[Series], names: Names, families: frozenset[str]) -> tuple[bool, list[Doubt]]:
    """No process is named: whether that says that there is none."""
    if failed := _unread(series, names):
        return False, failed
    counts = [one.value for one in series if _is(one, names, Kind.PROCESSES)]
    read_well = any(_is(one, names, Kind.READ) for one in series)
    if counts and sum(counts) == 0 and read_well:
        return True, []
    if counts and sum(counts) > 0:
        text = f"{sum(counts):.0f} processes are on the card, and the driver does not tell what they take ([N/A])."
        return False, [Doubt("no amounts", "seats", text, "See nvidia-smi on the node.")]
    if any(names.kind(name) and names.kind(name)[0] is Kind.SEATS for name in families):  # type: ignore[index]
        return False, [_BLIND]
    return False, []


_BLIND = Doubt(
    "blind", "seats", "it names no process: the card is idle, or the exporter sees nothing, and that looks the same.",
    "Look at the exporter's log: nvidia-smi may fail there, or one process without an amount hides all.",
)  # fmt: skip


# ---- the cards


@dataclass(frozen=True)
class _Guests:
    """What DCGM says of pods on a card: the card's own series, and those with a pod's name, a slot counted once."""

    card: Card
    of_card: int | None
    pods: Mapping[tuple[str, str, str], int]


def _cards(series: Sequence[Series], names: Names) -> tuple[list[Card], list[_Guests]]:
    best = {
        kind: next((name for name in names.metrics[kind] if _of(series, names, kind, name)), "")
        for kind in (Kind.USED, Kind.FREE, Kind.TOTAL, Kind.RESERVED)
    }
    amounts: dict[tuple[str, str], dict[Kind, list[tuple[dict[str, str], Series, int]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for kind, metric in best.items():
        for labels, one in _tenants(_of(series, names, kind, metric), names) if metric else ():
            amounts[_card_key(one, labels)][kind].append((labels, one, _mib(one, metric)))
    products = _products(series, names)
    found, guests = [], []
    for (uuid, part), kinds in sorted(amounts.items()):
        labels, one, _ = next(iter(kinds.values()))[0]
        taken = _taken(kinds[Kind.USED])
        whole = {kind.value: min((mib for _, _, mib in kinds[kind]), default=None) for kind in (Kind.FREE, Kind.TOTAL)}
        card = Card(
            uuid_of(uuid), labels["node"], labels["product"] or products.get(uuid_of(uuid), ""), part,
            whole["total"], taken.used, whole["free"],
            max((mib for _, _, mib in kinds[Kind.RESERVED]), default=None),
        )  # fmt: skip
        card = replace(card, usable=cards.usable(card.product, total=card.total, used=card.used, free=card.free,
                                                 reserved=card.reserved))  # fmt: skip
        found.append(card)
        guests.append(_Guests(card, taken.of_card, taken.pods))
    return found, guests


def _card_key(one: Series, labels: Mapping[str, str]) -> tuple[str, str]:
    part = one.labels.get("GPU_I_ID", "")
    profile = one.labels.get("GPU_I_PROFILE", "")
    uuid = labels["uuid"] or f"{labels['node']}/{one.labels.get('gpu', one.labels.get('device', ''))}"
    return uuid, f"{part} ({profile})" if part and profile else part


def _products(series: Iterable[Series], names: Names) -> dict[str, str]:
    """nvidia_gpu_exporter names the card in a series of its own."""
    return {
        uuid_of(labels["uuid"]): labels["product"]
        for labels, _ in _tenants(series, names)
        if labels["product"] and labels["uuid"]
    }


@dataclass(frozen=True)
class _Taken:
    used: int | None
    of_card: int | None
    pods: Mapping[tuple[str, str, str], int]


def _taken(given: Sequence[tuple[dict[str, str], Series, int]]) -> _Taken:
    """The card's use: its own series where it has one, else the largest that a pod's name stands at. Never the sum.

    Whether pods stand beside the card's own series is asked of each exporter by itself: of two on one node, one may
    name pods and the other none.
    """
    of_cards: dict[tuple[str, str], int] = {}
    by_target: dict[tuple[str, str], dict[tuple[str, str, str], int]] = defaultdict(dict)
    for labels, one, mib in given:
        target, pod = _target(one), labels["pod"] or one.labels.get("pod_uid", "")
        if pod:
            pods, key = by_target[target], (labels["namespace"], labels["container"], pod)
            pods[key] = max(pods.get(key, 0), mib)
        else:
            of_cards[target] = max(of_cards.get(target, 0), mib)
    for target in by_target.keys() & of_cards.keys():
        return _Taken(of_cards[target], of_cards[target], by_target[target])
    every = {key: mib for pods in by_target.values() for key, mib in pods.items()}
    of_card = max(of_cards.values(), default=None)
    used = of_card if of_card is not None else max(every.values(), default=None)
    return _Taken(used, None if every else of_card, every)


def _by_card(guests: Sequence[_Guests], found: Sequence[Card]) -> tuple[list[Seat], bool, list[Doubt]]:
    """Seats from DCGM alone: real where the card has a series of its own beside those of its pods."""
    seats: list[Seat] = []
    doubts: list[Doubt] = []
    known = bool(guests)
    for one in guests:
        if one.of_card is not None and one.pods:
            seats += _pod_seats(one)
            continue
        known = False
        if one.pods:
            doubts.append(_whose(one))
        elif one.of_card is not None and one.of_card <= _IDLE:
            known = len(found) == 1
    if not known:
        seats = []
    return sorted(seats, key=lambda seat: (-seat.now, seat.name)), known, doubts


_IDLE = 16  # MiB that a card without any process has in use


def _pod_seats(one: _Guests) -> list[Seat]:
    theirs: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for (namespace, container, pod), mib in one.pods.items():
        if all(map(_KUBERNETES.fullmatch, (namespace, container))):
            theirs[namespace, container][pod] = mib
    return [
        Seat(namespace, container, tuple(sorted(pods)), sum(pods.values()), None, one.card.uuid)
        for (namespace, container), pods in theirs.items()
    ]


def _whose(one: _Guests) -> Doubt:
    names = [f"{namespace}/{container}" if namespace else pod for (namespace, container, pod) in one.pods]
    shown = ", ".join(sorted(names)[:5])
    if len(names) == 1:
        return Doubt(
            "one pod", "seats",
            f"the {one.card.used} MiB of {one.card.name} stand at the name of {shown}: on a shared card that is the "
            "card's total, and whose name it is, chance.",
            _PER_POD,
        )  # fmt: skip
    alike = len(set(one.pods.values())) == 1
    return Doubt(
        "copies" if alike else "owners", "seats",
        f"the {one.card.used} MiB of {one.card.name} stand at "
        + (f"each of {len(names)} names: they are copies" if alike else f"{len(names)} names in turn")
        + f" of the card's total, and what each takes is not told ({shown}).",
        _PER_POD,
    )  # fmt: skip


_PER_POD = (
    "Let an exporter tell what each process takes: dcgm-exporter from 4.5.3-4.8.2 on, with --kubernetes-virtual-gpus "
    "and hostPID, or one that reads nvidia-smi."
)


# ---- one source against another


def _compared(reading: Reading) -> Reading:
    """With doubts where seats and cards do not fit together, and known where an idle card says so itself."""
    doubts = list(reading.doubts)
    known = reading.known
    if len(reading.cards) == 1:
        doubts += _against(reading, reading.cards[0])
        idle = reading.cards[0].used is not None and reading.cards[0].used <= _IDLE
        if idle and any(doubt.kind == "blind" for doubt in doubts):
            doubts, known = [doubt for doubt in doubts if doubt.kind != "blind"], True
    elif len(reading.cards) > 1:
        lost = [seat for seat in reading.seats if not seat.uuid]
        if lost:
            known = False
            doubts.append(
                Doubt(
                    "which card", "seats",
                    f"on which of {len(reading.cards)} cards a container sits is not told "
                    f"({', '.join(seat.name for seat in lost[:3])}).",
                    "Let an exporter tell it that has the card's UUID as a label.",
                )
            )  # fmt: skip
        for card in reading.cards:
            doubts += _against(reading, card)
    return replace(reading, known=known, doubts=tuple(doubts))


def _against(reading: Reading, card: Card) -> list[Doubt]:
    own = [seat for seat in reading.seats if seat.uuid == card.uuid or (not seat.uuid and len(reading.cards) == 1)]
    seats = sum(seat.now for seat in own)
    if card.used is None or seats <= card.used + max(TOLERANCE, card.used // 50):
        return []
    return [
        Doubt(
            "disagree", "card",
            f"processes take {seats} MiB of {card.name}, of which only {card.used} MiB are in use: the sources "
            "disagree.",
            "One of them is old, or the card is divided (MIG): look at nvidia-smi on the node.",
        )
    ]  # fmt: skip


def merged(first: Reading, second: Reading) -> Reading:
    """Two sources as one: seats of the first that knows them, cards of the first that has them, the doubts of both."""
    seats = first if first.known or not second.known else second
    card = first if first.cards else second
    other = second if seats is first else first
    doubts = [doubt for doubt in seats.doubts if doubt.about != "card"]
    doubts += [doubt for doubt in other.doubts if doubt.about != "seats" or not seats.known]
    both = replace(
        seats,
        cards=card.cards,
        doubts=tuple(dict.fromkeys(doubts)),
        source=" and ".join(dict.fromkeys(one for one in (first.source, second.source) if one)),
    )
    return _compared(replace(both, doubts=tuple(one for one in both.doubts if one.kind != "disagree")))


def completed(reading: Reading, nodes: Sequence[Mapping[str, Any]]) -> Reading:
    """With what the nodes tell: a card's name and total, and whether it is shared. nodes: of portal.stt.gpu_node_info.

    Cards of other nodes are left out, where their exporter names the nodes as the cluster does.
    """
    offering = {str(one.get("name", "")): one for one in nodes if one.get("memory_mib") or one.get("product")}
    found = list(reading.cards)
    if any(card.node in offering for card in found):
        found = [card for card in found if card.node in offering]
    only = next(iter(offering.values())) if len(offering) == 1 else None
    if not found and only and only.get("gpus", 1) <= 1:
        found = [Card("", str(only.get("name", "")), str(only.get("product") or ""))]
    filled = tuple(_filled(card, offering.get(card.node, only)) for card in found)
    doubts, known = reading.doubts, reading.known
    if is_alone(replace(reading, cards=filled)):
        doubts = tuple(doubt for doubt in doubts if doubt.kind != "one pod")  # the pod that has the card
    if len(offering) > 1 and any(doubt.kind == "no history" for doubt in doubts):
        doubts, known = (*doubts, _one_node(len(offering))), False
    return replace(reading, cards=filled, doubts=doubts, known=known)


def is_alone(reading: Reading) -> bool:
    """Whether no card is shared: who gets one has it alone, and nobody else's use of it matters."""
    return bool(reading.cards) and all(card.shared is False for card in reading.cards)


def _filled(card: Card, node: Mapping[str, Any] | None) -> Card:
    if node is None:
        return card
    shared = _shared(node)
    if card.slice:
        return replace(card, node=str(node["name"]), shared=shared)
    product = card.product or str(node.get("product") or "")
    usable = cards.usable(
        product, total=card.total, used=card.used, free=card.free, reserved=card.reserved,
        label=int(node.get("memory_mib") or 0),
    )  # fmt: skip
    return replace(card, node=str(node["name"]), product=product, usable=usable, shared=shared)


def _shared(node: Mapping[str, Any]) -> bool | None:
    """Whether pods share a card there; a MIG slice is a card in this."""
    sharing, replicas = node.get("sharing"), int(node.get("replicas") or 0)
    if sharing in ("time-slicing", "mps") or replicas > 1:
        return True
    return False if sharing or replicas == 1 else None


def _one_node(count: int) -> Doubt:
    return Doubt(
        "one node", "seats", f"a page tells of the one node that it comes from, and {count} have GPUs.",
        "Name a Prometheus that asks all of them.",
    )  # fmt: skip


Tenants = Mapping[tuple[str, str, str], int]
"""Amounts by namespace, container and the card's UUID, which is empty where the source does not tell it."""


def with_peaks(reading: Reading, peaks: Tenants, of_all: int | None) -> Reading:
    """With the most that each had over the window, also of those that are idle now."""
    now = [
        replace(seat, peak=max(seat.now, peaks.get((seat.namespace, seat.container, seat.uuid), 0)))
        for seat in reading.seats
    ]
    there = {(seat.namespace, seat.container, seat.uuid) for seat in reading.seats}
    idle = [
        Seat(namespace, container, (), 0, peak, uuid)
        for (namespace, container, uuid), peak in peaks.items()
        if peak and (namespace, container, uuid) not in there
    ]
    seats = sorted([*now, *idle], key=lambda seat: (-max(seat.now, seat.peak or 0), seat.name))
    return replace(reading, seats=tuple(seats), peak_of_all=of_all)
