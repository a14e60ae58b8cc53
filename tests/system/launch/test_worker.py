"""What of a worker needs no Ray; the rest runs in test_run.py, on a real one."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from system.foundation.config import resolve
from system.foundation.world import World
from system.launch.assignment import Assignment
from system.launch.command import ROOT
from system.launch.failures import position_of
from system.launch.plan.utilisation import Utilisation
from system.launch.worker import _logged
from system.launch.worker import _pace
from system.launch.worker import _told
from system.launch.worker import next_attempt
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.state import Progress
from system.train.state import TrainState


def assignment(tmp_path: Path) -> Assignment:
    recipe = resolve(ROOT / "configs/simflow_digits.yaml", []).recipe
    return Assignment(recipe, str(tmp_path), "cpu")


def test_no_share_of_a_peak_is_told_on_a_cpu(tmp_path: Path) -> None:
    counted = replace(assignment(tmp_path), utilisation=Utilisation(2e9, {"A": 1e12}))
    assert _pace(counted, World())(100.0) == {}


def test_attempts_are_numbered_from_the_ledger_even_when_they_die_at_once(tmp_path: Path) -> None:
    assert next_attempt(read_ledger(str(tmp_path))) == 1
    with (
        Ledger(str(tmp_path), "worker-0", run="r", attempt=1) as ledger,
        pytest.raises(ValueError, match="first"),
        _told(ledger, World()),
    ):
        raise ValueError("the first attempt fails")
    assert next_attempt(read_ledger(str(tmp_path))) == 2
    with Ledger(str(tmp_path), "worker-0", run="r", attempt=2) as ledger, _told(ledger, World()):
        pass
    events = read_ledger(str(tmp_path))
    assert [event["kind"] for event in events] == ["attempt_started", "attempt_finished"] * 2
    assert [event.get("outcome") for event in events] == [None, "failed", None, "finished"]
    assert "the first attempt fails" in events[1]["error"]


def test_only_the_first_worker_tells_of_an_attempt_but_each_of_its_failure(tmp_path: Path) -> None:
    with Ledger(str(tmp_path), "worker-1", run="r", attempt=1) as ledger:
        with _told(ledger, World(rank=1, size=2)):
            pass
        with pytest.raises(ValueError, match="second"), _told(ledger, World(rank=1, size=2)):
            raise ValueError("the second worker fails")
    [event] = read_ledger(str(tmp_path))
    assert (event["kind"], event["rank"]) == ("attempt_finished", 1)


def test_a_failure_says_at_which_position_it_came(tmp_path: Path) -> None:
    recipe = assignment(tmp_path).recipe
    progress = Progress(images_seen=640)
    state = TrainState(recipe, World(), manifest=None, engine=None, progress=progress, began=512)

    def fail(assembled: TrainState | None) -> None:
        with _told(ledger, World()) as told:
            told.state = assembled
            raise ValueError("in the attempt")

    with Ledger(str(tmp_path), "worker-0", run="r", attempt=1) as ledger:
        for assembled, position in ((state, (640, True)), (None, None)):
            with pytest.raises(ValueError, match="in the attempt") as failed:
                fail(assembled)
            assert position_of(failed.value) == position


def test_warnings_and_the_last_error_lie_in_the_runs_folder(tmp_path: Path) -> None:
    with _logged(str(tmp_path), 3):
        logging.getLogger("system.anything").warning("look here")
    with pytest.raises(ValueError, match="end"), _logged(str(tmp_path), 3):
        raise ValueError("the end")
    said = (tmp_path / "logs" / "worker-3.log").read_text("utf-8")
    assert "look here" in said
    assert "ValueError: the end" in said
    before = len(logging.getLogger("system").handlers)
    with _logged("memory://somewhere", 0):
        assert len(logging.getLogger("system").handlers) == before
