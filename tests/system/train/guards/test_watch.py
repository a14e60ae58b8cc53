"""A sample that does harm: the run is taken back, goes on without it, and says so."""

import pytest
import torch

from data_pipeline.audit.lineage import trace
from data_pipeline.audit.proof import prove
from system.foundation.errors import NumericsError
from system.foundation.errors import RolledBack
from system.foundation.world import World
from system.telemetry.ledger import read_ledger
from tests.system.train.guards.poison import poisoned
from tests.system.train.guards.poison import watched
from tests.system.train.trials import run_loop

RUN = {
    "name": "tiny",
    "global_batch": 8,
    "total_images": 160,
    "report_every_images": 16,
    "checkpoint_every_images": 32,
}


def huge(image: torch.Tensor) -> torch.Tensor:
    return image + 1e4


def events_of(made, kind):
    return [e for e in read_ledger(f"{made.run.root}/tiny") if e["kind"] == kind]


def test_a_spike_takes_the_run_back_and_its_positions_are_left_out_by_name(recipe, digits) -> None:
    made, poison = watched(recipe(run=RUN)), poisoned([100], huge)
    with pytest.raises(RolledBack, match=r"a spike at positions 96 to 104: the loss was"):
        run_loop(World(), made, prepare=poison)
    (event,) = events_of(made, "rolled_back")
    assert (event["start"], event["stop"], event["attempt"]) == (96, 104, 1)
    assert [each[0] for each in event["normal"]] == [*range(0, 96, 8)]

    ended, collector = run_loop(World(), made, attempt=2, prepare=poison)
    assert ended.updates == 19, "one of twenty was left out"
    assert events_of(made, "resumed")[-1]["images_seen"] == 96
    assert list(collector.evaluated) == [128, 160]
    (left_out,) = events_of(made, "positions_left_out")
    assert (left_out["start"], left_out["stop"], left_out["attempt"]) == (96, 104, 2)
    assert len(left_out["keys"]) == 8
    proof = prove(trace(read_ledger(f"{made.run.root}/tiny")), lambda origin: digits.split("train"))
    assert proof.holds
    (exception,) = proof.exceptions
    assert "positions 96 to 104 were left out by name, not lost" in exception
    assert all(key in exception for key in left_out["keys"])


@pytest.mark.slow
def test_what_is_left_out_moves_nothing(recipe) -> None:
    made = watched(recipe(run=RUN))
    with pytest.raises(RolledBack):
        run_loop(World(), made, prepare=poisoned([100], huge))
    before, _ = run_loop(World(), made, attempt=2, stop_at=96)
    after, _ = run_loop(World(), made, attempt=3, stop_at=104)
    assert all(torch.equal(after.weights[name], weight) for name, weight in before.weights.items())


def test_a_run_is_taken_back_so_many_times_and_no_more(recipe) -> None:
    made = watched(recipe(run=RUN), max_rollbacks=1)
    poison = poisoned([100, 108], huge)
    with pytest.raises(RolledBack, match="time 1 of 1"):
        run_loop(World(), made, prepare=poison)
    # The next one comes right behind: what is normal is known from before.
    with pytest.raises(NumericsError, match=r"104 to 112.*taken back 1 times already"):
        run_loop(World(), made, attempt=2, prepare=poison)
    assert len(events_of(made, "rolled_back")) == 1


@pytest.mark.slow
def test_a_spike_before_the_first_checkpoint_begins_anew(recipe) -> None:
    run = RUN | {"checkpoint_every_images": 160}
    made, poison = watched(recipe(run=run)), poisoned([100], huge)
    with pytest.raises(RolledBack):
        run_loop(World(), made, prepare=poison)
    ended, _ = run_loop(World(), made, attempt=2, prepare=poison)
    assert ended.updates == 19


def test_checkpoints_from_behind_a_spikes_beginning_are_passed_over(recipe) -> None:
    run = RUN | {"checkpoint_every_images": 8}
    made = watched(recipe(run=run), odd_updates=2)
    poison = poisoned([100, 108], huge)
    with pytest.raises(RolledBack, match="96 to 112"):
        run_loop(World(), made, prepare=poison)
    run_loop(World(), made, attempt=2, prepare=poison)
    assert events_of(made, "resumed")[-1]["images_seen"] == 96
    (passed_over,) = events_of(made, "checkpoint_passed_over")
    assert passed_over["checkpoint"].endswith("000000000104-1")
    assert "spike at position 96" in passed_over["reason"]


@pytest.mark.slow
def test_the_watch_can_be_switched_off(recipe) -> None:
    made = watched(recipe(run=RUN), on_spike="ignore")
    ended, _ = run_loop(World(), made, prepare=poisoned([100], huge))
    assert ended.updates == 20


@pytest.mark.slow
def test_nothing_is_judged_while_the_learning_rate_warms_up(recipe) -> None:
    engine = {"schedule": {"kind": "constant", "warmup_images": 104}}
    made = watched(recipe(run=RUN, engine=engine))
    ended, _ = run_loop(World(), made, prepare=poisoned([100], huge))
    assert ended.updates == 20
