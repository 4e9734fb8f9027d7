"""What the integration tests leave behind: a lab with its own node only, on which molecule and e2e can go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import simulated


@pytest.fixture(scope="session", autouse=True)
def no_simulated_node_is_left() -> Iterator[None]:
    yield
    simulated.replace(None)
