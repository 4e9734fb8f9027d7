"""The main job on the real node: from nothing to the text of a spoken sentence, and again without a change."""

from __future__ import annotations

import pytest

from tests.conftest import Played, play


@pytest.fixture(scope="module")
def first() -> Played:
    return play("site.yml")


def test_speech_comes_back_as_text(first: Played) -> None:
    assert first.rc == 0, first.output
    assert "heard:    Please open the window and close the door." in first.output
    assert "clip English: heard right: WER 0.00" in first.output


def test_the_server_was_warm_when_it_was_ready(first: Played) -> None:
    assert "warm: the first request took" in first.output, first.output


def test_a_second_run_changes_nothing(first: Played) -> None:
    assert first.rc == 0, first.output
    second = play("site.yml")
    assert second.rc == 0, second.output
    assert second.changed == 0, second.output
