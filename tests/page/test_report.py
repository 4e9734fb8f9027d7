"""The page of a report as a browser shows it: nothing loads, nothing runs, nothing runs over, everybody can read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from ansible_collections.portal.stt.plugins.module_utils._gpu.memory import Card, Reading
from ansible_collections.portal.stt.plugins.module_utils._report.document import Document, document
from ansible_collections.portal.stt.plugins.module_utils._report.page import page
from playwright.sync_api import Browser, Page

from tests import reports
from tests.unit.report.test_document import HOSTILE, everywhere

Scheme = Literal["light", "dark"]
WIDTHS = (360, 768, 1280)
LONG = "a-name-of-a-pod-that-somebody-has-made-as-long-as-kubernetes-takes-it-to-be-" * 3


def two_cards() -> Reading:
    one = reports.on_card({"a/a": (1000, 2000)}, ours=(1400, 1500))
    other = reports.on_card({"b/b": (500, 500)}, card=replace(reports.T4, uuid="22222222", node="gpu-node-2"))
    seats = tuple(replace(seat, uuid=reading.cards[0].uuid) for reading in (one, other) for seat in reading.seats)
    return replace(one, cards=one.cards + other.cards, seats=seats)


def slices() -> Reading:
    made = reports.on_card(
        {}, card=Card("33333333", "a100-1", "NVIDIA A100-SXM4-40GB", "1g.5gb 7", total=4864, reserved=13)
    )
    return replace(made, cards=tuple(replace(made.cards[0], slice=f"1g.5gb {number}") for number in range(7, 14)))


def of(reading: Reading, *more: dict[str, Any], **given: Any) -> Document:
    return document(reports.run(*reports.memory(reading, **{"ours_mib": 1500, **given}), *more))


def speech(*texts: tuple[str, str, str]) -> dict[str, Any]:
    return reports.speech(
        clips=[reports.clip(f"clip {language}", language, said, heard) for language, said, heard in texts]
    )


STUCK = reports.rollout(
    status="failed", seconds=900.0, progress=["  0.4 s  pod a-b: scheduled on node x", "  0.9 s  pulling a/b:1"],
    diagnosis={"cause": "image-missing", "what": "The registry has no such tag."},
)  # fmt: skip
PAGES: dict[str, Document] = {
    "whole": reports.whole(),
    "2026-06-02": reports.incident("2026-06-02"),
    "2026-08-31": reports.incident("2026-08-31", 1500),
    "nothing": document(reports.run()),
    "no memory": document(reports.run(reports.speech())),
    "40 tenants": of(reports.on_card({f"team-{number}/app": (300 - 7 * number, 300) for number in range(40)})),
    "3 MiB": of(reports.on_card({"tiny/tiny": (3, 3)}), ours_mib=1),
    "over-full": of(reports.on_card({"a/a": (14000, 40000), "b/b": (9000, 12000)})),
    "slices": of(slices()),
    "two cards": of(two_cards(), deployed=True),
    "blind": of(replace(reports.on_card({}), known=False), neighbours=[{"name": "a/b", "peak_mib": 900}]),
    "12 models": document(reports.run({"results": [reports.speech(f"some/model-{number}") for number in range(12)]})),
    "long names": of(reports.on_card({f"{LONG}/{LONG}": (100, 5000)}), STUCK, namespace=LONG, container=LONG),
    "scripts": document(reports.run(speech(
        ("bg", "Моля, отворете прозореца.", "Мола, отворете прозореца!"),
        ("ar", "افتح النافذة من فضلك", "افتح الباب من فضلك"),
        ("he", "בבקשה לפתוח את החלון", "לפתוח את החלון"),
        ("zh", "请打开窗户，然后关上门。", "请打开窗户然后关上们"),
        ("fa", "می\u200cخواهم پنجره را باز کنم", "می\u200cخواهم پنجره را ببندم"),
        ("hi", "कृपया खिड़की खोलें", "कृपया खिड़की खोले"),
        ("ja", "窓を開けてください", ""),
    ))),
    "nodes": document(reports.run(reports.images(*["T4, driver 570.195.03", "RTX 3060, driver 570.195.03"] * 4))),
    **{f"hostile {number}": document(everywhere(text)) for number, text in enumerate(HOSTILE)},
}  # fmt: skip


@dataclass
class Seen:
    """A page, and what it did beside being shown."""

    page: Page
    said: list[str]
    asked: list[str]


@contextmanager
def opened(chromium: Browser, folder: Path, name: str, width: int, scheme: Scheme) -> Iterator[Seen]:
    file = folder / "report.html"
    file.write_text(page(PAGES[name]))
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    seen = Seen(context.new_page(), [], [])
    seen.page.on("console", lambda message: seen.said.append(message.text))
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    seen.page.on("dialog", lambda dialog: seen.said.append(dialog.message))
    seen.page.on("request", lambda request: seen.asked.append(request.url))
    seen.page.goto(file.as_uri())
    try:
        yield seen
        assert seen.said == []
        assert seen.asked == [file.as_uri()]
    finally:
        context.close()


TOO_WIDE = """() => [...document.querySelectorAll('body *')].filter(one =>
    !one.closest('svg svg') && !one.closest('.unseen, .skip') && !one.closest('.wide')
    && one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("name", PAGES)
def test_nothing_runs_over_and_nothing_runs(chromium: Browser, tmp_path: Path, name: str) -> None:
    with opened(chromium, tmp_path, name, WIDTHS[0], "light") as seen:
        for width in WIDTHS:
            seen.page.set_viewport_size({"width": width, "height": 900})
            over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert (width, seen.page.evaluate(over)) == (width, 0)
            assert (width, seen.page.evaluate(TOO_WIDE)) == (width, [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(chromium: Browser, axe: str, tmp_path: Path, name: str, scheme: Scheme) -> None:
    with opened(chromium, tmp_path, name, 768, scheme) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        seen.page.evaluate(axe)
        found = seen.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
        assert len(found["passes"]) > 15


def test_it_prints_on_a4_in_light_colours(chromium: Browser, tmp_path: Path) -> None:
    with opened(chromium, tmp_path, "whole", 1280, "dark") as seen:
        seen.page.emulate_media(media="print")
        seen.page.set_viewport_size({"width": 687, "height": 1000})  # A4 without margins of 14 mm
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 687
        ink = seen.page.evaluate("getComputedStyle(document.querySelector('h1')).color")
        assert ink == "rgb(23, 32, 42)"


def test_the_parts_of_a_bar_are_as_wide_as_their_amounts(chromium: Browser, tmp_path: Path) -> None:
    """As drawn, in pixels, at the width of a telephone."""
    script = """() => [...document.querySelectorAll('#memory figure:nth-of-type(2) svg.bar > svg')].slice(0, 7).map(
        one => [one.querySelector('title').textContent, one.querySelector('rect').getBoundingClientRect().width])"""
    with opened(chromium, tmp_path, "2026-08-31", 360, "light") as seen:
        whole = seen.page.evaluate("document.querySelector('svg.bar').getBoundingClientRect().width")
        drawn = dict(seen.page.evaluate(script))
        assert drawn["immich/ml: 12044 MiB"] == pytest.approx(whole * 12044 / (15360 + 2472), abs=1)
        assert drawn["kept by the driver: 447 MiB"] == pytest.approx(whole * 447 / (15360 + 2472), abs=1)
