"""Each fault that needs a real kubelet, container runtime or NFS server, injected for real."""

from __future__ import annotations

import pytest

from lab.faults import Fault, table
from tests import rollouts

pytestmark = pytest.mark.skipif(not rollouts.node_is_there(), reason="the lab runs without its node (--no-node)")


@pytest.fixture(scope="module")
def explained() -> dict[str, rollouts.Explained | Exception]:
    return dict(rollouts.explain_all("node"))


@pytest.mark.parametrize("fault", [one for one in table() if one.at == "node"], ids=lambda fault: fault.name)
def test_fault_is_explained(fault: Fault, explained: dict[str, rollouts.Explained | Exception]) -> None:
    rollouts.check(fault, explained[fault.name])
