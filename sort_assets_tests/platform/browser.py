"""A person at the Dagster UI: Chromium without a window, driven by Playwright."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

from sort_assets_tests.platform.home import CHECKOUT

SCREENSHOTS = CHECKOUT / "test-output" / "ui"
"""What the pages looked like, for people."""
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
# A busy machine takes its time over the first page of the UI, which loads all of its code.
_PATIENCE_MS = 60_000
_RUN_MS = 600_000
_ENDED = re.compile("^(Success|Failure|Canceled)$")


def find_chromium() -> str | None:
    """The browser of this system."""
    return shutil.which("chromium") or shutil.which("google-chrome")


class Visitor:
    """Somebody who looks at the UI, and clicks.

    Parameters
    ----------
    page : Page
        The browser's tab.
    address : str
        Of the UI, such as http://127.0.0.1:3000.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self._address = address
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def open(self, asset: str, tab: str = "overview", partition: str | None = None) -> None:
        """Open a tab of the page of an asset."""
        chosen = "" if partition is None else f"&partition={partition}"
        self.page.goto(f"{self._address}/assets/{asset}?view={tab}{chosen}")

    def choose_partition(self, key: str) -> None:
        """Choose one partition in the dialogue that launches runs."""
        self.page.get_by_role("dialog").get_by_text("Select a partition or create one").click()
        self.page.get_by_role("dialog").get_by_text(key, exact=True).locator("visible=true").first.click()

    def watch_the_launched_run(self) -> str:
        """Follow the link to the run that was just launched, and watch it to its end; returns how it ended."""
        self.page.get_by_role("link", name="View", exact=True).click()
        ended = self.page.get_by_text(_ENDED).first
        ended.wait_for(timeout=_RUN_MS)
        return ended.inner_text()

    def assert_pictures(self, *titles: str) -> None:
        """All of these pictures are in the page, and the browser could load and decode them."""
        for title in titles:
            picture = self.page.get_by_role("img", name=title, exact=True)
            assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0, title

    def table(self, *columns: str) -> Locator:
        """The table that has these columns, and other ones perhaps."""
        found = self.page.get_by_role("table")
        for column in columns:
            found = found.filter(has=self.page.get_by_role("columnheader", name=column, exact=True))
        return found.last  # the metadata are a table too, which holds this one

    def choose(self, text: str) -> None:
        """Click on an entry of a list."""
        # Beside the visible text there is an invisible one, which measures how much of it there is room for.
        self.page.get_by_text(text, exact=True).locator("visible=true").first.click()

    def assert_text(self, *texts: str) -> None:
        """All of these texts are to be seen."""
        for text in texts:
            expect(self.page.get_by_text(text).locator("visible=true").first).to_be_visible()

    def keep(self, name: str) -> Path:
        """Keep a screenshot."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path


@contextmanager
def visitor(chromium: str, port: int) -> Iterator[Visitor]:
    """A visitor of the UI at a port of this machine, in a fresh browser."""
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 1500})
            page.set_default_timeout(_PATIENCE_MS)
            yield Visitor(page, f"http://127.0.0.1:{port}")
        finally:
            browser.close()
