"""Whatever a hub, a volume or a model's file says: a snapshot that stays in its folder, or a sentence.

PORTAL_STT_EXAMPLES sets the number of examples (2000 if it is not set).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from lab.hub import small_model
from tests.unit.speaches.test_seed import load

seed: Any = load("seed")
EXAMPLES = int(os.environ.get("PORTAL_STT_EXAMPLES", "2000"))

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        [
            "",
            "..",
            "../../x",
            "/etc/passwd",
            "a\0b",
            "a\\b",
            "model.bin",
            "README.md",
            "vocabulary.x/../../y",
            "a\n b: c",
        ]
    )
    | st.sampled_from(["a" * 40, "b" * 64, "A" * 40, "a" * 40 + "\n"])
)
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
NAMES = st.sampled_from([*seed.NEEDED, "vocabulary.txt", "vocabulary.json", "preprocessor_config.json"]) | ANYTHING
LARGE = st.fixed_dictionaries({}, optional={"size": ANYTHING, "sha256": ANYTHING})
SIBLING = st.fixed_dictionaries(
    {"rfilename": NAMES}, optional={"size": st.integers(0, 9) | ANYTHING, "blobId": ANYTHING, "lfs": LARGE | ANYTHING}
)
DESCRIPTION = st.fixed_dictionaries(
    {}, optional={"sha": st.just("c" * 40) | ANYTHING, "siblings": st.lists(SIBLING | ANYTHING) | ANYTHING}
)


def told_or_fault(call: Callable[[], Any]) -> Any:
    """What the call returns, or the error that is meant for a person."""
    try:
        return call()
    except (seed.Fault, seed.NoHub, seed.Unfit) as error:
        return error


def is_safe(snapshot: Any) -> bool:
    """Whether nothing of it can leave its folder, or the place that it has in a result."""
    return re.fullmatch("[0-9a-f]{40}", snapshot.revision) is not None and all(
        re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", file.name)
        and type(file.size) is int
        and file.size >= 0
        and re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", file.digest)
        for file in snapshot.files
    )


@profile(max_examples=EXAMPLES, deadline=None)
@given(DESCRIPTION | ANYTHING)
def test_what_a_hub_describes(told: object) -> None:
    hub = seed.Hub("http://hub.example", "")
    hub._read = lambda _: json.dumps(told).encode()
    found = told_or_fault(lambda: hub.snapshot("a/b", None))
    if not isinstance(found, seed.Fault):
        assert is_safe(found)
        return
    result = seed._result([], found, "")
    assert (found.code, len(result) <= 4096) == (14, True)
    assert all(str(value).isprintable() for value in json.loads(result).values())


@profile(max_examples=EXAMPLES, deadline=None)
@given(st.fixed_dictionaries({}, optional={"resolved": ANYTHING, "snapshots": ANYTHING}) | ANYTHING, st.lists(SIBLING))
def test_what_a_record_says(told: Any, entries: list[dict[str, object]]) -> None:
    files = [{"name": one["rfilename"], "size": one.get("size"), "digest": one.get("blobId")} for one in entries]
    for record in (told, {"resolved": {"main": "c" * 40}, "snapshots": {"c" * 40: files or told}}):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "portal-stt.json").write_text(json.dumps(record))
            known = seed._known(Path(folder), seed.Wanted("a/b"))
        assert known is None or is_safe(known)


@profile(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), max_size=4), st.integers(0, 500))
def test_damaged_weights(changes: list[tuple[int, bytes]], length: int) -> None:
    """Whole, or said not to be; never another error."""
    with tempfile.TemporaryDirectory() as folder:
        path = small_model(Path(folder), 500)["model.bin"]
        data = bytearray(path.read_bytes())
        for at, new in changes:
            data[at : at + len(new)] = new
        path.write_bytes(data[: length or None])
        found = told_or_fault(lambda: seed._mel_bins(path))
    assert isinstance(found, int) or str(found).startswith("model.bin ")


@profile(max_examples=EXAMPLES, deadline=None)
@given(st.text() | st.sampled_from(["//other/x", "http://other", "https://u:p@other", "file:///x", "javascript:x"]))
def test_where_a_redirect_leads(location: str) -> None:
    found = told_or_fault(lambda: seed._redirected("https://hub.example/a", location))
    assert str(found).isprintable()
    assert isinstance(found, seed.NoHub) or re.match("https://[^@/]+(/|$|[?])", found)
