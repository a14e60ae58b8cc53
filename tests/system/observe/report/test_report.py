import runpy
from pathlib import Path

from system.foundation import storage
from system.launch.command import run
from system.observe.report.report import Reporting
from system.observe.report.report import write_report

ROOT = Path(__file__).parents[4]


def test_the_page_lies_in_the_runs_folder_or_where_it_is_asked_for(run_url):
    assert write_report(Reporting(run=run_url)) == f"{run_url}/report.html"
    assert "a run" in (Path(run_url) / "report.html").read_text()
    assert write_report(Reporting(run=run_url, out="memory://reports/x.html"))
    assert storage.read_text("memory://reports/x.html").startswith("<!doctype html>")


def test_equal_folders_are_equal_pages(run_url):
    first = Path(write_report(Reporting(run=run_url))).read_bytes()
    assert Path(write_report(Reporting(run=(run_url,)))).read_bytes() == first


def test_the_job_says_where_the_page_is_and_refuses_what_is_no_run(run_url, tmp_path, capsys):
    job = runpy.run_path(str(ROOT / "jobs" / "report.py"))

    def ended(*arguments: str) -> int:
        return run(job["main"], None, about=job["__doc__"], schema=Reporting, arguments=arguments)

    assert ended(f"run={run_url}") == 0
    assert capsys.readouterr().out.strip() == f"{run_url}/report.html"
    assert ended(f"run=[{run_url},{run_url}]", f"out={tmp_path / 'two.html'}") == 0
    capsys.readouterr()
    assert ended(f"run={tmp_path / 'nothing'}") == 2
    assert "expected the folder of a run" in capsys.readouterr().err
