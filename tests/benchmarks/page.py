"""The status page over many long runs: how long a browser takes until something is painted."""

import tempfile
import time
from collections.abc import Iterator

from playwright.sync_api import Browser

from tests.benchmarks.parts.many_runs import write_runs
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_most
from tests.system.observe.status.browser import chromium
from tests.system.observe.status.browser import status_page
from tests.system.observe.status.browser import visit

RUNS, REPORTS = 200, 5000
FIRST_PAINT_S = 2.0
PAINT = """performance.getEntriesByName("first-contentful-paint").map((e) => e.startTime)[0] || 0"""
PAINTED = f"({PAINT}) > 0"
ALL_READ = "Source.fleet.items.get('root').read"


def rows() -> Iterator[Row]:
    """First paint just after the start and after all was read, and what stands behind it."""
    yield from measured(RUNS, REPORTS)


def measured(runs: int, reports: int) -> Iterator[Row]:
    """The same over so many runs of so many reports."""
    with tempfile.TemporaryDirectory() as root:
        yield Row("ledgers", write_runs(root, runs, reports) / 1e6, "MB")
        with status_page(root) as (url, _), chromium() as browser:
            begin = time.perf_counter()
            yield Row(
                "first paint, just started", _paint(browser, url), "s", at_most(FIRST_PAINT_S)
            )
            _wait_for_all(browser, url)
            yield Row("all ledgers read", time.perf_counter() - begin, "s")
            yield Row("first paint, all rows", _paint(browser, url), "s", at_most(FIRST_PAINT_S))
            yield Row("a run's curves drawn", _curves(browser, url), "s")


def _paint(browser: Browser, url: str) -> float:
    """Seconds from asking for the page to its first content, as the browser says."""
    seen = visit(browser, url)
    seen.until(PAINTED)
    found = float(seen.page.evaluate(PAINT)) / 1000
    seen.page.context.close()
    return found


def _wait_for_all(browser: Browser, url: str) -> None:
    seen = visit(browser, url)
    while not seen.page.evaluate(ALL_READ):
        seen.page.wait_for_timeout(500)
    seen.page.context.close()


def _curves(browser: Browser, url: str) -> float:
    """Seconds from asking for a run's page to its first chart."""
    begin = time.perf_counter()
    seen = visit(browser, f"{url}#/run/run-000")
    seen.until("document.querySelector('[data-title=objective] .plot')?.data?.length > 0")
    found = time.perf_counter() - begin
    seen.page.context.close()
    return found
