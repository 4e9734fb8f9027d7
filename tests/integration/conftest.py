"""What the integration tests leave behind: a lab with its own node only, on which molecule and e2e can go on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab import simulated


@pytest.fixture(scope="session", autouse=True)
def no_simulated_node_is_left() -> Iterator[None]:
    yield
    if "K8S_AUTH_KUBECONFIG" in os.environ:  # else these tests are run outside the lab, and leave it alone
        simulated.replace(None)
