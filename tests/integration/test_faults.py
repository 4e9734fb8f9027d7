"""Each fault of the lab's table, injected for real: the right cause, quickly, and what served comes back."""

from __future__ import annotations

import pytest

from lab.faults import Fault, table
from tests import hiccups, rollouts

Answers = dict[str, dict[str, rollouts.Explained | BaseException]]


@pytest.fixture(scope="module")
def explained() -> Answers:
    """Filled place by place, when the first fault of a place is asked for."""
    return {}


@pytest.fixture(scope="module")
def ended() -> dict[str, str]:
    return hiccups.outcomes()


@pytest.mark.parametrize("fault", table(), ids=lambda fault: f"{fault.at}-{fault.name}")
def test_fault_is_explained(fault: Fault, explained: Answers) -> None:
    if fault.at == "node" and not rollouts.node_is_there():
        pytest.skip("the lab runs without its node (python -m lab up --no-node)")
    if fault.at not in explained:
        explained[fault.at] = rollouts.explain_all(fault.at)
    got = explained[fault.at][fault.name]
    assert isinstance(got, rollouts.Explained), got
    assert (got.cause, got.final) == (fault.cause, fault.final), got.message
    assert got.rolled_back == got.served_again == (fault.serves and not fault.outside), got.message


@pytest.mark.parametrize("hiccup", hiccups.HICCUPS, ids=lambda hiccup: hiccup.name)
def test_what_passes_by_itself_is_no_failure(hiccup: hiccups.Hiccup, ended: dict[str, str]) -> None:
    assert ended[hiccup.name] == "complete"
