"""A watch that goes on, against a server that is scripted: no network, no time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import ClusterError
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.watch import (
    Changed,
    Interrupted,
    Listed,
    News,
    follow,
    insist,
)

PATH = "/api/v1/namespaces/n/pods"


def answer(status: int) -> ClusterError:
    return ClusterError("API server", f"HTTP {status}.", "", status=status)


def thing(version: int, name: str = "a") -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


def event(kind: str, version: int, name: str = "a") -> dict[str, Any]:
    return {"type": kind, "object": thing(version, name)}


class Script:
    """Answers lists and watches one after the other; an exception is raised. `asked` is what came in."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.asked.append("list")
        return self._next()  # type: ignore[no-any-return]

    def watch(
        self, path: str, query: Mapping[str, Any] | None = None, *, resource_version: str = "", timeout: float = 300
    ) -> Iterator[dict[str, Any]]:
        self.asked.append(f"watch {resource_version}")
        for one in self._next():
            if isinstance(one, Exception):
                raise one
            yield one

    def _next(self) -> Any:
        one = self._answers.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    @property
    def done(self) -> bool:
        return not self._answers


def run(script: Script, lasts: float = 0) -> tuple[list[News], list[float]]:
    """The news until the script is at its end, and the pauses that were asked for. lasts: seconds of each watch."""
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return script.done

    def clock() -> float:
        return len(script.asked) * lasts  # read before and after each request of a watch

    return list(follow(script, PATH, wait=wait, clock=clock)), pauses


LIST = {"metadata": {"resourceVersion": "10"}, "items": [thing(7)]}
LATER = {"metadata": {"resourceVersion": "20"}, "items": [thing(7), thing(20, "b")]}
GONE = answer(410)
DOWN = answer(0)


@pytest.mark.parametrize(
    ("answers", "asked", "news"),
    [
        pytest.param(
            [LIST, [event("MODIFIED", 11)], [event("DELETED", 12)]],
            ["list", "watch 10", "watch 11"],
            ["listed 1", "changed", "gone"],
            id="goes on from the last version when a request ends",
        ),
        pytest.param(
            [LIST, [event("BOOKMARK", 90)], [event("MODIFIED", 91)]],
            ["list", "watch 10", "watch 90"],
            ["listed 1", "changed"],
            id="a bookmark moves the version and is no news",
        ),
        pytest.param(
            [LIST, [event("MODIFIED", 11), GONE], LIST, []],
            ["list", "watch 10", "list", "watch 10"],
            ["listed 1", "changed", "listed 1"],
            id="410 Gone: everything is asked for again",
        ),
        pytest.param(
            [LIST, GONE, LIST, []],
            ["list", "watch 10", "list", "watch 10"],
            ["listed 1", "listed 1"],
            id="410 as the answer to the request",
        ),
        pytest.param(
            [LIST, [event("MODIFIED", 11), DOWN], DOWN, LIST, []],
            ["list", "watch 10", "list", "list", "watch 10"],
            ["listed 1", "changed", "interrupted", "interrupted", "listed 1"],
            id="a broken connection, and an API server that restarts",
        ),
        pytest.param(
            [LIST, answer(401), LIST, []],
            ["list", "watch 10", "list", "watch 10"],
            ["listed 1", "interrupted", "listed 1"],
            id="credentials that have expired are tried again, and there is news when they are accepted",
        ),
        pytest.param(
            [answer(429), LIST, []],
            ["list", "list", "watch 10"],
            ["interrupted", "listed 1"],
            id="an API server that asks for patience",
        ),
        pytest.param([answer(403)], ["list"], ["refused"], id="a right that is missing ends it"),
        pytest.param(
            [LIST, DOWN, answer(403), LIST, []],
            ["list", "watch 10", "list", "list", "watch 10"],
            ["listed 1", "interrupted", "interrupted", "listed 1"],
            id="an API server that restarts, and has not read the roles yet",
        ),
        pytest.param(
            [LIST, [], LATER, []],
            ["list", "watch 10", "list", "watch 20"],
            ["listed 1", "listed 2"],
            id="a watch that ended without a word: the list tells",
        ),
        pytest.param(
            [LIST, [event("MODIFIED", 11)], [], LATER, [event("MODIFIED", 21)], [event("DELETED", 22)]],
            ["list", "watch 10", "watch 11", "list", "watch 20", "watch 21"],
            ["listed 1", "changed", "listed 2", "changed", "gone"],
            id="no list where events flow",
        ),
    ],
)
def test_follow(answers: list[Any], asked: list[str], news: list[str]) -> None:
    script = Script(*answers)
    got, _ = run(script)
    assert script.asked == asked
    assert [_short(one) for one in got] == news


def _short(one: News) -> str:
    if isinstance(one, Listed):
        return f"listed {len(one.objects)}"
    if isinstance(one, Changed):
        return "gone" if one.gone else "changed"
    assert isinstance(one, Interrupted)
    return "refused" if one.final else "interrupted"


def test_pauses_grow_and_begin_anew_after_an_answer() -> None:
    script = Script(LIST, DOWN, DOWN, DOWN, DOWN, DOWN, LIST, [event("MODIFIED", 11), DOWN], LIST, [])
    _, pauses = run(script)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("lasts", "right"),
    [
        pytest.param(0, [0.25, 0.5, 1.0, 2.0, 2.0, 0, 0.25], id="cut at once, until one is not"),
        pytest.param(30, [0, 0, 0, 0, 0, 0, 0], id="nothing happens, for as long as it lasts"),
    ],
)
def test_watches_that_end_without_a_word(lasts: float, right: list[float]) -> None:
    script = Script(*[LIST, []] * 5, LIST, [event("MODIFIED", 11)], [])
    got, pauses = run(script, lasts)
    assert [_short(one) for one in got] == [*["listed 1"] * 6, "changed"]
    assert pauses == right


def test_an_api_server_that_says_410_for_ever_is_not_asked_without_a_pause() -> None:
    _, pauses = run(Script(*[LIST, GONE] * 5))
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0]


def test_a_right_that_was_taken_away_ends_it_after_half_a_minute() -> None:
    script = Script(LIST, *[answer(403)] * 30)
    got, pauses = run(script)
    assert [_short(one) for one in got] == ["listed 1", *["interrupted"] * (len(pauses)), "refused"]
    assert 30 <= sum(pauses) <= 32


@pytest.mark.parametrize(
    ("answers", "pauses", "left"),
    [
        pytest.param([0, 503, 429, 200], [0.25, 0.5, 1.0], "", id="until it answers"),
        pytest.param([0, 404], [0.25], "HTTP 404.", id="an answer is an answer"),
        pytest.param([0] * 40, [0.25, 0.5, 1.0, *[2.0] * 14], "HTTP 0.", id="not for ever"),
    ],
)
def test_a_single_request_is_tried_again(answers: list[int], pauses: list[float], left: str) -> None:
    waited: list[float] = []

    def send() -> str:
        status = answers.pop(0)
        if status != 200:
            raise answer(status)
        return ""

    def attempt() -> str:
        try:
            return insist(send, wait=waited.append, clock=lambda: sum(waited))
        except ClusterError as error:
            return error.message

    assert (attempt(), waited) == (left, pauses)
