"""A browser for all tests of pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from lab import browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Without its sandbox, which root cannot have; it gets pages of these tests only."""
    found = browser.find()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found.program, env=found.environment, args=["--no-sandbox"], timeout=60_000
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe() -> str:
    return browser.axe().read_text()
