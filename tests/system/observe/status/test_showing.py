import json
import os
import re
import runpy
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from system.foundation import storage
from system.foundation.errors import BadInput
from system.launch.command import run
from system.observe.status.showing import Showing
from system.observe.status.showing import show
from system.observe.status.showing import written

ROOT = Path(__file__).parents[4]


def content_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.S)
    return json.loads(found[1])


def test_one_file_has_every_row_and_so_many_runs_whole(run_url):
    root = str(Path(run_url).parent)
    whole = content_of(written(Showing(root=root)))
    assert whole["runs"]["a run"]["changed"]["chart:gFID"]["series"]
    rows = content_of(written(Showing(root=root, details=0)))
    assert rows["runs"] == {}
    assert rows["fleet"]["changed"]["run:a run"]["gfid"] is None
    assert rows["live"] is False


def test_the_file_goes_where_it_is_asked_for_a_bucket_too(run_url, tmp_path, capsys):
    root = str(Path(run_url).parent)
    job = runpy.run_path(str(ROOT / "jobs" / "status_page.py"))

    def ended(*arguments: str) -> int:
        return run(job["main"], None, about=job["__doc__"], schema=Showing, arguments=arguments)

    assert ended(f"root={root}", f"once={tmp_path / 'page.html'}") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    show(Showing(root=root, once="memory://bucket/page.html"))
    assert storage.read_text("memory://bucket/page.html").startswith("<!doctype html>")
    assert ended("roots=x") == 2


def test_an_empty_root_makes_a_page_that_says_so(tmp_path):
    assert "has no runs yet" in written(Showing(root=str(tmp_path)))


def test_a_port_that_is_taken_is_said(tmp_path):
    with pytest.raises(BadInput, match="give another port"):
        show(Showing(root=str(tmp_path), host="192.0.2.1", port=0))


def test_the_program_serves_on_loopback_until_it_is_told_to_end(run_url):
    program = subprocess.Popen(
        [sys.executable, "jobs/status_page.py", str(Path(run_url).parent), "port=0"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = program.stdout.readline().split(" at ")[1].strip()
        assert address.startswith("http://127.0.0.1:")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=60) as answer:
            assert "Content-Security-Policy" in answer.headers
        program.send_signal(signal.SIGTERM)
        program.wait(timeout=60)
    finally:
        program.kill()
        program.stdout.close()
        program.wait()
