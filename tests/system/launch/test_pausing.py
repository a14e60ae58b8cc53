"""A job is paused by its own name and by its own time, and by nothing else."""

import time

from system.launch.pausing import PauseWatch
from system.launch.pausing import ask_to_pause
from system.launch.pausing import job_variables

PATIENCE_S = 30.0


def hears(watch):
    deadline = time.monotonic() + PATIENCE_S
    while not watch.is_asked and time.monotonic() < deadline:
        time.sleep(0.01)
    return watch.is_asked


def test_the_job_that_is_asked_pauses_and_no_other(tmp_path):
    url = str(tmp_path / "run")
    first, second = job_variables("run-1", None), job_variables("run-2", None)
    with PauseWatch(url, first, 0.01) as asked, PauseWatch(url, second, 0.01) as other:
        ask_to_pause(url, "run-1", "night is over")
        ask_to_pause(url, "run-1", "asked once more")
        assert hears(asked)
        assert not other.is_asked
    with PauseWatch(url, second, 0.01) as later:
        time.sleep(0.1)
        assert not later.is_asked
    assert (tmp_path / "run" / "pauses" / "run-1").read_text() == "night is over"


def test_a_job_pauses_by_itself_when_its_time_is_up(tmp_path):
    begun = time.time()
    with PauseWatch(str(tmp_path), job_variables("run-1", begun + 0.3), 0.01) as watch:
        assert hears(watch)
    assert time.time() >= begun + 0.3


def test_a_run_that_nobody_named_looks_for_nothing(tmp_path):
    with PauseWatch(str(tmp_path), {}, 0.01) as watch:
        assert not watch._thread.is_alive()
        assert not watch.is_asked


def test_storage_that_does_not_answer_asks_for_no_pause(tmp_path, caplog):
    with PauseWatch("nowhere://bucket/run", job_variables("run-1", None), 0.01) as watch:
        deadline = time.monotonic() + PATIENCE_S
        while "not known now" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not watch.is_asked
    assert "not known now" in caplog.text
