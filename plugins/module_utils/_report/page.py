# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""report.html, from report.json alone: the same document always makes the same page.

One file without scripts; it loads nothing, and its own policy forbids it to. Escaping is on in each template, and what
cannot be seen is shown as an escape, whoever wrote the document.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from .._findings import Status
from . import picture, text
from .document import Document
from .lines import SIGNS, WORDS, place

DOCS = "https://github.com/portal-stt/portal.stt/blob/main/"
_HERE = Path(__file__).parent
_KINDS = {"native": "ok", "allowed": "warning", "unknown": "unknown", "refused": "refused"}
_CHECK = re.compile(r"[a-z]+(\.[a-z0-9_]+)*")
_LANGUAGE = re.compile(r"[a-z]{2}")


def page(document: Document) -> str:
    """The page of a report, as HTML."""
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    signs = {status.value: sign for status, sign in SIGNS.items()}
    told = [one for one in document["findings"] if one["status"] != Status.OK.value]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            doc=document,
            told=told,
            fine=[one for one in document["findings"] if one["status"] == Status.OK.value],
            parts=(
                ("memory", "The card’s memory", document["memory"]),
                ("speech", "Speech", document["speech"]),
                ("rollout", "The rollout", document["rollouts"]),
                ("images", "Image and nodes", document["images"]),
                ("changes", "What changed", document["changes"]),
            ),
            signs=signs,
            words={status.value: word for status, word in WORDS.items()},
            verdicts={status.value: word for status, word in WORDS.items()},
            kinds=_KINDS,
            rows=picture.rows,
            docs=f"{DOCS}docs/",
            style=Markup(style),
            style_hash=f"sha256-{digest}",
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    environment.filters.update(
        is_language=lambda given: bool(_LANGUAGE.fullmatch(given)),
        moment=_moment,
        picture=picture.picture,
        place=_place,
        requests=picture.requests,
        seconds=_seconds,
        share=_share,
        timeline=picture.timeline,
    )
    return environment


def _seen(value: Any) -> Any:
    """What a template prints: text as it can be seen."""
    return text.fit(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _moment(at: str) -> str:
    """2026-11-27T01:41:06Z, as a person reads it."""
    return f"{at[:10]} {at[11:16]} UTC" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", at) else at


def _place(check: str) -> str:
    """Where the docs say more; "" for what is no check of ours."""
    return place(check).removeprefix("docs/") if _CHECK.fullmatch(check) else ""


def _seconds(given: float) -> str:
    if given < 10:
        return f"{given:.2f} s"
    return f"{given:.1f} s" if given < 120 else f"{given:.0f} s"


def _share(given: float) -> str:
    """Per cent of a picture's width."""
    return f"{given:.3f}%"
