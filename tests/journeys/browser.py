"""The console in a headless Chromium: one page, and everything the browser complained of while it was open."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Error, Locator, Page, Response, expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")


class Console:
    """The console under `root`; `page` for whatever has no name of its own here."""

    def __init__(self, page: Page, root: str) -> None:
        self.page = page
        self.root = root
        self.complaints: list[str] = []
        self.refusals: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))

    def open(self, path: str) -> None:
        """Load a page of the console from its address, and wait until its heading is there."""
        answer = self.page.goto(self.root + path)
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        expect(self.heading()).to_be_visible()

    def heading(self, name: str | re.Pattern[str] | None = None) -> Locator:
        """The page's one heading of the first level, by its exact words or a pattern."""
        # Exact, since "web_base 1" would also be found in "Training of web_base 1", one page too early.
        return self.page.get_by_role("heading", level=1, name=name, exact=True)

    def button(self, name: str) -> Locator:
        """A button by its exact words."""
        return self.page.get_by_role("button", name=name, exact=True)

    def link(self, name: str) -> Locator:
        """A link by its exact words."""
        return self.page.get_by_role("link", name=name, exact=True)

    def field(self, label: str) -> Locator:
        """A field by its exact label; required ones carry a star."""
        return self.page.get_by_label(re.compile(rf"^{re.escape(label)}\s*\*?$"))

    def badge(self, words: str) -> Locator:
        """The state of what the page is about, beside its heading."""
        return self.page.locator("header").filter(has=self.heading()).get_by_text(words, exact=True)

    def choose_file(self, file: str, content: bytes) -> None:
        """Put a file into the upload field of the page."""
        chosen: Any = {"name": file, "mimeType": "application/octet-stream", "buffer": content}
        self.page.get_by_label("Drop files here or choose them").set_input_files(chosen)

    def fill_dataset_form(self, name: str, file: str, content: bytes, *, held_out: bool = False) -> None:
        """Everything the form for a new data set needs before it is sent."""
        self.open("/catalog/datasets/new")
        self.field("Name").fill(name)
        self.field("Owner team").fill("tests")
        self.page.get_by_role("checkbox", name="Benchmark").set_checked(held_out)
        self.choose_file(file, content)

    def upload(self, name: str, file: str, content: bytes, *, held_out: bool = False) -> str:
        """Create and upload a data set by the form; the address of its page."""
        self.fill_dataset_form(name, file, content, held_out=held_out)
        self.button("Create data set").click()
        expect(self.heading(f"{name} 1")).to_be_visible()
        expect(self.page.get_by_role("region", name="Preview", exact=True)).to_contain_text("rows")
        return self.page.url.removeprefix(self.root)

    def approve(self) -> None:
        """Submit the version on this page for review and approve it, with a note."""
        self.button("Submit for review").click()
        self.field("Notes").fill("Looked at in the console.")
        self.button("Approve").click()
        expect(self.badge("Approved")).to_be_visible()
        expect(self.page.get_by_role("list", name="Decisions")).to_contain_text("Looked at in the console.")

    def described(self) -> str:
        """The page as a screen reader has it: what to look at when a test fails."""
        try:
            return f"{self.page.url}\n{self.page.locator('body').aria_snapshot(timeout=5_000)}"
        except Error as error:
            return f"{self.page.url} says nothing: {error.message}"

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            heard = self.refusals if REFUSED.match(message.text) else self.complaints
            heard.append(f"{self.page.url}: {message.text} ({message.location.get('url')})")


@contextlib.contextmanager
def console(root: str) -> Iterator[Console]:
    """A fresh browser with nothing remembered; when it closes, the browser must have complained of nothing.

    Requests that the API refused (4xx) are kept apart, since a test may want one.
    """
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    executable = next((path for path in found if path), None)
    if executable is None:
        pytest.skip("no Chromium on this machine")
    expect.set_options(timeout=90_000)  # a page shares two cores with the training it shows
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900}, locale="en-US")
            page.set_default_timeout(90_000)
            opened = Console(page, root)
            yield opened
        finally:
            browser.close()
    assert opened.complaints == []
