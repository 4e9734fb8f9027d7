"""The README's picture of a report: python -m tests.page"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ansible_collections.portal.stt.plugins.module_utils._report.page import page
from playwright.sync_api import sync_playwright

from lab import browser
from tests import reports
from tests.conftest import ROOT

IMAGE = ROOT / "docs" / "images" / "report.png"


def main() -> None:
    """The preflight that an incident would have met, as a browser shows it."""
    found = browser.find()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(page(reports.incident("2026-06-02")))
        chromium = playwright.chromium.launch(
            executable_path=found.program, env=found.environment, args=["--no-sandbox"]
        )
        shown = chromium.new_page(viewport={"width": 900, "height": 900}, color_scheme="light")
        shown.goto(file.as_uri())
        IMAGE.parent.mkdir(exist_ok=True)
        shown.screenshot(path=IMAGE, full_page=True)
        chromium.close()
    print(f"{IMAGE.relative_to(ROOT)}: {IMAGE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
