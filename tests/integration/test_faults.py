"""Each fault that needs no kubelet, injected for real: the right cause, quickly, and what served comes back."""

from __future__ import annotations

import pytest

from lab.faults import Fault, table
from tests import hiccups, rollouts


@pytest.fixture(scope="module")
def explained() -> dict[str, rollouts.Explained | Exception]:
    return dict(rollouts.explain_all("cluster", "replay"))


@pytest.fixture(scope="module")
def ended() -> dict[str, str]:
    return hiccups.outcomes()


@pytest.mark.parametrize("fault", [one for one in table() if one.at != "node"], ids=lambda fault: fault.name)
def test_fault_is_explained(fault: Fault, explained: dict[str, rollouts.Explained | Exception]) -> None:
    rollouts.check(fault, explained[fault.name])


@pytest.mark.parametrize("hiccup", hiccups.HICCUPS, ids=lambda hiccup: hiccup.name)
def test_what_passes_by_itself_is_no_failure(hiccup: hiccups.Hiccup, ended: dict[str, str]) -> None:
    assert ended[hiccup.name] == "complete"
