"""The page in a real browser, over a real run that is under way, and over folders made up."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from system.observe.leaderboard import Leaderboard
from system.observe.leaderboard import Row
from system.observe.leaderboard import write
from system.observe.status.showing import Showing
from system.observe.status.showing import show
from system.telemetry.ledger import read_ledger
from tests.system.observe.status.browser import CHROMIUM
from tests.system.observe.status.browser import PHONE
from tests.system.observe.status.browser import ROOT
from tests.system.observe.status.browser import Visit
from tests.system.observe.status.browser import chromium
from tests.system.observe.status.browser import status_page
from tests.system.observe.status.browser import visit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium"),
]

LAST = "document.querySelector('[data-title=\"{}\"] .plot')?.data?.[0].x.at(-1) ?? 0"
# Bars stand at the trace that they are of: with gFID the corrected values, which come second.
BARS = """Math.max(0, ...(document.querySelector('[data-title=gFID] .plot')?.data ?? [])
    .map((trace) => trace.error_y?.array?.length ?? 0))"""
PICTURES = "document.querySelectorAll('.film img').length"
REPORTS = 48  # of the run that `training.py` is, at whose third part each it is evaluated
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def pictures(tmp_path):
    """Where screenshots go: `SCREENSHOTS`, to be looked at, or with the test's other files."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_run_under_way_moves_the_page_and_the_page_s_death_moves_no_run(tmp_path, pictures):
    root, name = tmp_path / "runs", "live"
    root.mkdir()
    with status_page(str(root), "refresh_s=0.5") as (url, program), chromium() as browser:
        seen = visit(browser, url)
        page = seen.page
        page.wait_for_selector("text=has no runs yet")
        page.evaluate("window.untouched = true")
        training = _train(root, name, tmp_path / "shards")
        try:
            page.click(f"a:text-is('{name}')")
            seen.until(f"({LAST.format('objective')}) > 0")
            before = page.evaluate(LAST.format("objective"))
            seen.until(f"{LAST.format('objective')} > {before}")
            seen.until(f"{PICTURES} >= 1")
            page.screenshot(path=pictures / "live-early.png", full_page=True)
            grown = page.evaluate(PICTURES)
            seen.until(f"{PICTURES} > {grown}")
            seen.until(f"{BARS} >= 2")
            assert page.evaluate("window.untouched") is True
            assert page.inner_text("#time h2") == "Where the time went"
            _recipe_says_where_from(page)
            page.screenshot(path=pictures / "live-late.png", full_page=True)
            seen.check()
            os.kill(program.pid, signal.SIGKILL)
            page.wait_for_selector("footer.away")
            assert training.wait(timeout=900) == 0
        finally:
            training.kill()
            training.wait()
    kinds = [event["kind"] for event in read_ledger(str(root / name))]
    assert (kinds.count("report"), kinds.count("evaluation")) == (REPORTS, 3)
    assert kinds[-1] == "run_finished"


def _train(root: Path, name: str, shards: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("training.py")), root, name, shards],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def _recipe_says_where_from(page) -> None:
    page.fill("#recipe input[type=search]", "run.total_images")
    assert "command line" in page.inner_text("#recipe tbody")
    page.fill("#recipe input[type=search]", "flow.depths")
    assert "configs/smoke.yaml:" in page.inner_text("#recipe tbody")
    page.fill("#recipe input[type=search]", "data.prefetch")
    assert page.inner_text("#recipe tbody") == ""
    page.check("#recipe input[type=checkbox]")
    assert "default" in page.inner_text("#recipe tbody")


@pytest.fixture
def root(run_url, tmp_path):
    """Three runs: two that differ by a key, one with a name and words that would be HTML."""
    root = tmp_path / "runs"
    for name, seed in (("one", 1), ("two", 2), (EVIL, 3)):
        shutil.copytree(run_url, root / name)
        (root / name / "recipe.yaml").write_text(f"run:\n  name: a\n  seed: {seed}\n")
        gfid = {"evaluation/gfid": 3.25, "evaluation/gfid_standard_error": 0.5}
        event = {"time": 2e9, "kind": "evaluation", "images_seen": 2000, "values": gfid}
        (root / name / "ledger" / "more.jsonl").write_text(f"{json.dumps(event)}\ntorn")
    rows = [
        Row(trial=f"t{n}", run=f"r{n}", overrides={"flow.width": 64 * n, "note": EVIL},
            state="running", rung=n % 2, images_seen=1000, value=4.0 - n, error=0.1)
        for n in range(1, 4)
    ]  # fmt: skip
    board = Leaderboard(
        campaign="widths", objective="evaluation/gfid", direction="min", state="running",
        trials=tuple(rows), gpu_hours_spent=1.5, gpu_hours_limit=8, cost_spent=0, cost_limit=None,
        rungs=(1000, 2000), updated=2e9,
    )  # fmt: skip
    write(str(root), board)
    return root


def test_runs_are_compared_filtered_and_escaped(root, pictures):
    with status_page(str(root)) as (url, _), chromium() as browser:
        seen = visit(browser, url)
        _look_around(seen)
        seen.page.screenshot(path=pictures / "compare.png", full_page=True)
        seen.check()


def test_one_file_does_the_same_without_a_server(root, tmp_path, pictures):
    show(Showing(root=str(root), once=str(tmp_path / "page.html")))
    with chromium() as browser:
        seen = visit(browser, f"file://{tmp_path / 'page.html'}", theme="dark")
        _look_around(seen)
        seen.page.screenshot(path=pictures / "file-dark.png", full_page=True)
        seen.check()
        assert {url.partition("#")[0] for url in seen.asked if url.startswith("file")} == {
            f"file://{tmp_path / 'page.html'}"
        }


def test_a_phone_scrolls_down_alone(root, pictures):
    with status_page(str(root)) as (url, _), chromium() as browser:
        for place, there in (
            ("", "tr[data-run=one]"),
            ("#/run/one", ".plot[data-drawn]"),
            ("#/compare/one,two", ".plot[data-drawn]"),
            ("#/campaign/widths", "tr[data-trial]"),
            ("#/run/nobody", ".empty"),
        ):
            seen = visit(browser, url + place, size=PHONE)
            seen.page.wait_for_selector(there)
            seen.page.wait_for_timeout(1000)
            name = place.strip("#/").replace("/", "-") or "fleet"
            seen.page.screenshot(path=pictures / f"phone-{name}.png", full_page=True)
            assert seen.is_as_wide_as_the_window(), place
            seen.check()
            seen.page.context.close()


def _look_around(seen: Visit) -> None:
    """Every view once, from the table of runs to the comparison of two of them."""
    page = seen.page
    page.wait_for_selector("tr[data-run=one]")
    assert page.locator("tbody tr").count() == 3
    assert page.inner_text(f"tr[data-run={json.dumps(EVIL)}] .name a") == EVIL
    page.fill("input[type=search]", "two")
    assert page.locator("tbody tr").count() == 1
    page.fill("input[type=search]", "")
    page.click("a.campaign")
    assert page.locator("tr[data-trial]").count() == 3
    page.fill("input[type=search]", "flow.width=128")
    assert page.locator("tr[data-trial]").count() == 1
    page.fill("input[type=search]", "")
    page.select_option("select[aria-label=rung]", "1")
    assert page.locator("tr[data-trial]").count() == 2
    page.click("a.back")
    page.check("input[aria-label='choose one']")
    page.check("input[aria-label='choose two']")
    page.click("a.button")
    seen.until("document.querySelector('[data-title=gFID] .plot')?.data?.length === 2")
    seen.until(f"{BARS} >= 2")
    assert page.locator("#differences tbody tr").count() == 1
    assert page.inner_text("#differences tbody tr").split() == ["run.seed", "1", "2"]
    page.click("a.back")
    page.click(f"tr[data-run={json.dumps(EVIL)}] .name a")
    page.wait_for_selector(".film img")
    assert page.inner_text("h1") == EVIL
    assert "<b>two</b>" in page.inner_text("#happened")
    page.click("a.back")
    page.click("tr[data-run=one] .name a")
    page.wait_for_selector(".film img")
    page.click("a.back")
    page.click("a.button")  # what was chosen stays chosen
    page.wait_for_selector("#differences tbody tr")
