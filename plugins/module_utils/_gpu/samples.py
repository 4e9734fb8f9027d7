# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What monitoring says, as series: an exporter's page, an answer of Prometheus' HTTP API. Both come from outside.

Formats: Prometheus exposition format; Prometheus, web/api/v1/api.go (``status``, ``data.resultType``, ``warnings``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._findings import CollectionError
from .._text import plain

PAGE_BYTES = 8 * 1024 * 1024
ANSWER_BYTES = 32 * 1024 * 1024
SERIES = 100_000
POINTS = 2_000_000
LABEL_LENGTH = 253

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]{0,199}")
_LAST = 253402300800.0  # the year 10000, which no calendar here has


class SourceError(CollectionError):
    """A source of measured memory does not answer, or not with what it should.

    status: HTTP status where there is one.
    """

    check = "gpu.memory"

    def __init__(
        self, subject: str, message: str, remedy: str, *, evidence: tuple[str, ...] = (), status: int = 0
    ) -> None:
        super().__init__(subject, message, remedy, evidence=evidence)
        self.status = status


@dataclass(frozen=True)
class Series:
    """One series: its labels, and its points (Unix seconds, value) by time. A page's single point has the time 0."""

    name: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The newest."""
        return self.points[-1][1]

    @property
    def at(self) -> float:
        """When the newest was scraped; 0 where that is not told."""
        return self.points[-1][0]


@dataclass(frozen=True)
class Told:
    """What one source said. families: names that a page declares, with or without samples. warnings: of the API."""

    series: tuple[Series, ...] = ()
    families: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def page(body: bytes, subject: str, wanted: Callable[[str], bool] = lambda name: True) -> Told:
    """An exporter's page. wanted: which metrics are kept. Raises SourceError for what is none, and without the library.

    One broken line makes the whole page unreadable, as for Prometheus: no line is guessed.
    """
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as exc:
        raise SourceError(
            "controller", f"a library is missing: {exc}.", "Install it: pip install prometheus-client."
        ) from exc
    if len(body) > PAGE_BYTES:
        raise SourceError(
            subject, f"its page is larger than {PAGE_BYTES // 1024**2} MiB.", "Look at what answers there."
        )
    text = _text(body, subject)
    families, series = set(), []
    try:
        for family in text_string_to_metric_families(text):
            families.add(plain(family.name, 200))
            for sample in family.samples:
                if _NAME.fullmatch(sample.name) and wanted(sample.name):
                    series.append(Series(sample.name, _labels(sample.labels), ((0.0, float(sample.value)),)))
            if len(series) > SERIES:
                raise _too_many(subject)
    except (ValueError, TypeError, IndexError, KeyError) as exc:
        raise _broken(text, subject, text_string_to_metric_families, exc) from None
    return Told(tuple(series), frozenset(families))


def answer(body: bytes, subject: str, wanted: Callable[[str], bool] = lambda name: True) -> Told:
    """An answer of Prometheus' query or query_range. Raises SourceError for an error and for what is no such answer."""
    if len(body) > ANSWER_BYTES:
        raise SourceError(
            subject, f"its answer is larger than {ANSWER_BYTES // 1024**2} MiB.", "Ask for a shorter window."
        )
    try:
        said = json.loads(_text(body, subject))
    except (ValueError, RecursionError):
        raise SourceError(subject, "its answer is not JSON.", _NOT_THE_API) from None
    if not isinstance(said, dict) or said.get("status") not in ("success", "error"):
        raise SourceError(subject, "its answer is not that of Prometheus' HTTP API.", _NOT_THE_API)
    if said["status"] == "error":
        raise refusal(subject, 0, said)
    data = said.get("data")
    kind = data.get("resultType") if isinstance(data, dict) else None
    result = data.get("result") if isinstance(data, dict) else None
    if kind not in ("vector", "matrix") or not isinstance(result, list):
        raise SourceError(subject, "its answer is neither a vector nor a matrix.", _NOT_THE_API)
    if len(result) > SERIES:
        raise _too_many(subject)
    series = [one for one in _of_api(result, kind, subject) if wanted(one.name)]
    return Told(tuple(series), frozenset(one.name for one in series), _warnings(said))


def _warnings(said: Mapping[str, Any]) -> tuple[str, ...]:
    """What an answer says beside its data; VictoriaMetrics says it with a field of its own."""
    given = said.get("warnings")
    warnings = [plain(one) for one in given[:5]] if isinstance(given, list) else []
    return tuple([*warnings, "its answer is partial"] if said.get("isPartial") is True else warnings)


def refusal(subject: str, status: int, said: Mapping[str, Any]) -> SourceError:
    """What Prometheus says in place of an answer: its own words, and what they ask for."""
    kind, words = plain(said.get("errorType") or ""), plain(said.get("error") or "").rstrip(".")
    shown = f"HTTP status {status}, {kind}" if status else kind
    return SourceError(
        subject,
        f"it refuses the query ({shown}): {words or 'without a word'}.",
        _ERRORS["timeout"] if "too many samples" in words else _ERRORS.get(kind, "Look at its log."),
        status=status,
    )


_NOT_THE_API = (
    "Check address and path of its API: some serve it below a prefix (/prometheus, /select/0/prometheus), and a login "
    "page may stand before it."
)
_ERRORS = {
    "bad_data": "Check the metric and label names, and ask for a shorter window or a longer step.",
    "execution": "Check the metric and label names: two series may become the same one.",
    "timeout": "Ask for a shorter window or a longer step.",
    "unavailable": "Try again; it may still be starting.",
}


def _text(body: bytes, subject: str) -> str:
    text = body.decode(errors="replace")
    if text.lstrip()[:1] == "<" or "<html" in text[:2000].lower():
        raise SourceError(subject, "it answers with a page of HTML.", _NOT_THE_API)
    return text


def _labels(labels: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): plain(value, LABEL_LENGTH) for name, value in labels.items() if _NAME.fullmatch(str(name))}


def _of_api(result: Iterable[Any], kind: str, subject: str) -> Iterable[Series]:
    left = POINTS
    for one in result:
        metric = one.get("metric") if isinstance(one, dict) else None
        given = (one.get("values") if kind == "matrix" else [one.get("value")]) if isinstance(one, dict) else None
        if not isinstance(metric, dict) or not isinstance(given, list):
            raise SourceError(subject, "its answer holds something that is no series.", _NOT_THE_API)
        left -= len(given)
        if left < 0:
            raise _too_many(subject)
        points = tuple(point for point in map(_point, given) if point is not None)
        if len(points) < len(given):
            raise SourceError(subject, "its answer holds something that is no sample.", _NOT_THE_API)
        if points:
            name = str(metric.get("__name__", ""))
            if not name or _NAME.fullmatch(name):  # it goes into the next query
                yield Series(name, _labels(metric), points)


def _point(given: Any) -> tuple[float, float] | None:
    """A pair of time and value, which stands there as text; NaN is a value."""
    try:
        at, value = given
        found = float(at), float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if 0 <= found[0] < _LAST else None


def _broken(text: str, subject: str, parse: Callable[[str], Iterable[Any]], exc: Exception) -> SourceError:
    """Which line it is; the library does not tell."""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            for _ in parse(f"{line}\n"):
                pass
        except (ValueError, TypeError, IndexError, KeyError):
            return SourceError(
                subject,
                f"line {number} of its page is not in Prometheus' format, and Prometheus drops such a page as a whole.",
                "See whether the exporter writes a quote or a backslash unescaped, or [N/A] in place of a number.",
                evidence=(plain(line, 200),),
            )
    return SourceError(subject, f"its page is not in Prometheus' format: {plain(exc)}.", "Look at what answers there.")


def _too_many(subject: str) -> SourceError:
    return SourceError(subject, f"it has more than {SERIES} series or {POINTS} points.", "Narrow the query or page.")
