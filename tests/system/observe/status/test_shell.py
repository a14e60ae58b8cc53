import gzip
import json
import re

import pytest

from system.observe.status.shell import ALL_SCRIPTS
from system.observe.status.shell import PLOTTING
from system.observe.status.shell import SCRIPTS
from system.observe.status.shell import SHEET
from system.observe.status.shell import address
from system.observe.status.shell import asset
from system.observe.status.shell import live_page
from system.observe.status.shell import packed
from system.observe.status.shell import whole_page

EVIL = "</script><script>alert(1)</script><!--"


def content_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.S)
    return json.loads(found[1])


def test_the_live_page_links_to_its_files_and_has_the_rows_inside():
    page = live_page({"fleet": {"changed": {"run:a": {"name": EVIL}}}}, refresh_s=2)
    content = content_of(page)
    assert content["fleet"]["changed"]["run:a"]["name"] == EVIL
    assert (content["live"], content["refresh_ms"]) == (True, 2000)
    assert "alert(1)</script>" not in page
    assert re.findall(r'src="([^"]+)"', page) == [address(ALL_SCRIPTS)]
    assert content["plotting"] == address(PLOTTING)
    assert page.count("<script>") == 0
    assert len(page) < 4000


def test_the_whole_page_runs_its_own_scripts_alone():
    page = whole_page({"fleet": {"root": EVIL}, "runs": {}}, "<b>")
    assert content_of(page)["fleet"]["root"] == EVIL
    assert "<title>&lt;b&gt;</title>" in page
    policy = page.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    assert "default-src &#39;none&#39;" in policy
    assert policy.count("sha256-") == len(SCRIPTS) + 1
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert not re.search(r"""(src|href)=["'](?!data:)""", page.partition("<body>")[0])


def test_files_have_addresses_that_change_with_their_content_and_no_other_can_be_had():
    assert re.fullmatch(r"/assets/[0-9a-f]{16}/page\.css", address(SHEET))
    assert b"--c0" in asset(SHEET)
    assert gzip.decompress(packed(SHEET)) == asset(SHEET)
    assert b"plotly" in asset(PLOTTING)[:200]
    assert all(asset(name) in asset(ALL_SCRIPTS) for name in SCRIPTS)
    for name in ("page.html", "../shell.py", "/etc/passwd", ""):
        with pytest.raises(KeyError):
            asset(name)


def test_no_script_reads_html():
    for name in SCRIPTS:
        text = asset(name).decode()
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, (name, way)
