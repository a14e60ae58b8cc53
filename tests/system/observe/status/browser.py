"""Chromium for the tests of the page: what a page asks for and says is kept and judged."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from playwright.sync_api import Browser
from playwright.sync_api import Page
from playwright.sync_api import sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[4]
PATIENCE_MS = 300_000.0  # other programs may have the machine
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1366, "height": 900}
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOOPBACK = re.compile(r"(http://127\.0\.0\.1:\d+/|file:///|data:|blob:)")


@dataclass
class Visit:
    """A page with what it said and asked for while it was open."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def check(self) -> None:
        """It said no error and asked for nothing but this machine's."""
        assert self.said == []
        assert [url for url in self.asked if not LOOPBACK.match(url)] == []

    def until(self, expression: str) -> None:
        """Wait until an expression of the page's is true. (Playwright's own `wait_for_function`
        hands the page a text to run, which the page's policy forbids.)"""
        limit = time.monotonic() + PATIENCE_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < limit, f"still not true: {expression}"
            self.page.wait_for_timeout(200)

    def is_as_wide_as_the_window(self) -> bool:
        """Whether nothing makes the page scroll sideways."""
        wide, window = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        return bool(wide <= window)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, in an empty profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def visit(browser: Browser, url: str, size: dict[str, int] = DESK, theme: str = "light") -> Visit:
    """Open an address in a fresh context."""
    is_phone = size is PHONE
    context = browser.new_context(
        viewport=size, color_scheme=theme, is_mobile=is_phone, has_touch=is_phone
    )
    context.set_default_timeout(PATIENCE_MS)
    seen = Visit(context.new_page())
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    seen.page.on("request", lambda request: seen.asked.append(request.url))
    seen.page.on(
        "console", lambda word: seen.said.append(word.text) if word.type != "log" else None
    )
    seen.page.goto(url)
    return seen


@contextmanager
def status_page(root: str, *settings: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """The program, serving a root: its address, and its process."""
    program = subprocess.Popen(
        [sys.executable, "jobs/status_page.py", f"root={root}", "port=0", *settings],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield program.stdout.readline().split(" at ")[1].strip(), program
    finally:
        program.kill()
        program.stdout.close()
        program.wait()
