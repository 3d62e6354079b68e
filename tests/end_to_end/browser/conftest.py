"""A real browser, Debian's Chromium without a screen; tests skip where it is missing."""

import shutil
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Opened:
    """A page in the browser, with what it asked for and what it complained about."""

    page: Page
    requests: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("no Chromium on this machine: `apt-get install chromium` for the tests of the pages")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Generator[Callable[..., Opened]]:
    """Open a URL or a file in a context of its own, and wait until all charts of a page of ours are drawn."""
    with ExitStack() as stack:

        def open_here(address: str | Path, *, width: int = 1000, **options: Any) -> Opened:
            opened = Opened(stack.enter_context(_new_page(browser, width, options)))
            opened.page.on("request", lambda request: opened.requests.append(request.url))
            opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
            opened.page.on("console", lambda message: opened.complaints.append(message.text))
            opened.page.goto(address.as_uri() if isinstance(address, Path) else address)
            if isinstance(address, Path):
                opened.page.wait_for_selector("html[data-charts=drawn]")
            return opened

        yield open_here


@contextmanager
def _new_page(browser: Browser, width: int, options: dict[str, Any]) -> Generator[Page]:
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    try:
        yield context.new_page()
    finally:
        context.close()
