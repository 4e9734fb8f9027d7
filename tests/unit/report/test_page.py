"""report.html: made from the document alone, self-contained, and nothing of what others wrote becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import Finding, Status
from ansible_collections.portal.stt.plugins.module_utils._report.document import Document, document
from ansible_collections.portal.stt.plugins.module_utils._report.page import DOCS, page
from ansible_collections.portal.stt.plugins.module_utils._report.picture import Picture, picture, timeline
from ansible_collections.portal.stt.plugins.module_utils._report.rollout import rollouts

from tests import reports
from tests.unit.report.test_document import HOSTILE, everywhere

CSP = r'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'sha256-([^\']+)\';'


class Parsed(HTMLParser):
    """Tags with the names of their attributes, links, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag, tuple(name for name, _ in attrs)] += 1
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "data", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_same_document_makes_the_same_page() -> None:
    first = reports.whole()
    again: Document = json.loads(json.dumps(first))
    assert page(first) == page(again)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = page(reports.whole())
    parsed = Parsed(html)
    assert {tag for tag, _ in parsed.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    } == set()
    assert {link for link in parsed.links if not link.startswith(("#", f"{DOCS}docs/"))} == set()
    assert "url(http" not in html
    assert "@import" not in html
    assert len(parsed.ids) == len(set(parsed.ids))
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    (allowed,) = re.findall(CSP, html)
    assert allowed == base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_what_others_write_is_text(text: str) -> None:
    """The page of a hostile text has the tags and attributes of the page of a harmless one."""
    hostile, harmless = Parsed(page(document(everywhere(text)))), Parsed(page(document(everywhere("Aa:1"))))
    tags = {tag for tag, _ in hostile.tags} - {tag for tag, _ in harmless.tags}
    assert tags <= {"a", "del", "ins", "dd", "p"}
    names = {name for _, each in hostile.tags for name in each} - {name for _, each in harmless.tags for name in each}
    assert names <= {"lang"}
    assert not [link for link in hostile.links if not link.startswith(("#", DOCS))]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_a_document_that_somebody_else_wrote_is_as_harmless(text: str) -> None:
    """As it is, without what makes documents of ours plain."""

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: replaced(one) for key, one in value.items()}
        if isinstance(value, list):
            return [replaced(one) for one in value]
        return text if isinstance(value, str) and value not in fixed else value

    fixed = {"ok", "warning", "unknown", "refused", "created", "changed"}
    html = page(replaced(reports.whole()))
    html.encode()
    assert not [char for char in html if not char.isprintable() and char != "\n"]
    parsed = Parsed(html)
    assert {tag for tag, _ in parsed.tags} <= {tag for tag, _ in Parsed(page(reports.whole())).tags} | {"dl", "dt"}
    assert not [name for _, each in parsed.tags for name in each if name.startswith("on")]
    assert not [link for link in parsed.links if not link.startswith(("#", DOCS))]


def test_differences_are_told_in_words_too() -> None:
    html = page(document(reports.run(reports.speech())))
    assert '<del><bdi class="unseen">[not heard: </bdi>the<bdi class="unseen">]</bdi></del>' in html
    assert '<ins><bdi class="unseen">[heard instead: </bdi>a<bdi class="unseen">]</bdi></ins>' in html


def drawn(found: Document) -> Picture:
    made = picture(found["memory"][0]["cards"][0])
    assert made is not None
    return made


def amounts(made: Picture) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    now, worst = ([(one.kind, one.mib) for one in bar.parts] for bar in (made.now, made.worst))
    return now, worst


def test_the_bars_of_the_operators_card() -> None:
    made = drawn(reports.whole())
    assert amounts(made) == (
        [("reserved", 447), ("tenant", 150), ("tenant", 1950), ("tenant", 2150), ("free", 10663)],
        [("reserved", 447), ("ours", 1500), ("tenant", 150), ("tenant", 1950), ("tenant", 2150), ("tenant", 4455),
         ("headroom", 1024), ("free", 3684)],
    )  # fmt: skip
    assert [(one.name, one.mib) for one in made.now.peaks] == [(reports.OURS, 1500), ("llama-cpp/llama-swap", 4455)]
    for bar in (made.now, made.worst):
        assert (bar.end, bar.over) == (100.0, 0)
        assert sum(one.width for one in bar.parts) == pytest.approx(100)
        assert [one.start for one in bar.parts[1:]] == pytest.approx([one.start + one.width for one in bar.parts[:-1]])
        assert all(one.width == pytest.approx(one.mib / 153.6) for one in bar.parts)


def test_what_does_not_fit_runs_past_the_edge() -> None:
    made = drawn(reports.incident("2026-06-02"))
    assert made.worst.over == 3392  # of which 1024 are to be left free
    assert made.worst.end == pytest.approx(100 * 15360 / (15360 + 3392))
    over = next(one for one in made.worst.parts if one.kind == "over")
    assert (over.start, over.start + over.width) == pytest.approx((made.worst.end, 100))
    assert "× 3392 MiB too many</strong>, with 1024 to be left free" in page(reports.incident("2026-06-02"))


def test_outlines_do_not_cover_each_other() -> None:
    grow = {f"a/{number}": (100, 4000) for number in range(8)}
    made = drawn(document(reports.run(*reports.memory(reports.on_card(grow), ours_mib=100))))
    assert made.now.lanes == 5  # what is beyond is in the table
    for lane in range(5):
        ends = [(one.start, one.start + one.width) for one in made.now.peaks if one.lane == lane]
        assert all(begin >= end for (_, end), (begin, _) in pairwise(ends))


def test_without_a_size_there_is_a_table_and_no_picture() -> None:
    card = {**reports.whole()["memory"][0]["cards"][0], "usable": None, "total": None, "budget": None}
    found = document(reports.run())
    found["memory"] = [{**reports.whole()["memory"][0], "cards": [card]}]  # type: ignore[list-item]
    html = page(found)
    assert "How much memory the card has is not known" in html
    assert "immich/immich-machine-learning" in html
    assert 'class="bar"' not in html


PLACED = " 0.3 s  pod a-b: scheduled on node x"
JOB = [Finding("rollout", Status.OK, "Job a/seed", "has succeeded.").as_result()]


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        pytest.param(
            {},
            [("scheduled", "a place on a node", 0.4), ("pulled", "the image", 48.3),
             ("started", "the container to start", 49.9), ("ready", "the model to be warm", 74.1)],
            id="all",
        ),
        pytest.param(
            {"progress": [PLACED, " 0.5 s  container started", " 2.0 s  ready"]},
            [("scheduled", "a place on a node", 0.3), ("started", "the container to start", 0.5),
             ("ready", "the model to be warm", 2.0)],
            id="nobody told of the image",
        ),
        pytest.param(
            {"progress": [PLACED], "status": "failed", "seconds": 60.0},
            [("scheduled", "a place on a node", 0.3), ("stuck", "the image", 60.0)],
            id="it did not come",
        ),
        pytest.param(
            {"progress": [PLACED, " 0.5 s  container started", " 0.5 s  ready"], "seconds": 9.0, "findings": JOB},
            [("scheduled", "a place on a node", 0.3), ("started", "the container to start", 0.5),
             ("ready", "its work", 9.0)],
            id="a Job works",
        ),
    ],
)  # fmt: skip
def test_a_timeline_is_what_was_waited_for(given: dict[str, Any], waits: list[tuple[str, str, float]]) -> None:
    (one,) = rollouts(reports.rollout(**given))
    drawn = timeline(one["pods"][0], one)
    assert [(wait.kind, wait.what, wait.end) for wait in drawn] == waits
    assert [wait.begin for wait in drawn] == [0.0, *(wait.end for wait in drawn[:-1])]
    assert drawn[-1].start + drawn[-1].width == pytest.approx(100 * drawn[-1].end / one["seconds"])


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_what_stands_in_a_picture_can_be_read(scheme: int) -> None:
    """axe-core looks at no text in SVG."""
    root = re.findall(r":root \{(.*?)\}", page(reports.whole()), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", root))
    for part in ("odd", "even", "ours", "nobody"):
        assert contrast(colours["on"], colours[part]) >= 4.5, part
    for part in ("free", "panel", "back", "mark", "added"):
        assert contrast(colours["ink"], colours[part]) >= 4.5, part
    for part in ("odd", "even", "ours", "nobody", "over", "hatch"):
        assert contrast(colours[part], colours["free"]) >= (3 if part != "hatch" else 2), part
