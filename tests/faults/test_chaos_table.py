"""What strikes a run, and what becomes of it: one run of the real command lives through it all.

The rows of docs/results/chaos.md are written by

    CHAOS_TABLE=docs/results/chaos.md python -m pytest tests/faults/test_chaos_table.py
"""

import time
from pathlib import Path

import pytest

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from tests.faults import shocks
from tests.faults.chaos_runs import BATCH
from tests.faults.chaos_runs import JOB
from tests.faults.chaos_runs import Lived
from tests.faults.chaos_runs import hooked
from tests.faults.chaos_runs import lived
from tests.faults.chaos_runs import record
from tests.faults.chaos_runs import small
from tests.system.launch.conftest import start_program

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.chaos,
    pytest.mark.by_hand,
    pytest.mark.timeout(3600),
]

# By shock, the updates before it.
AT = {
    "not_a_number": 6,
    "clock_forward": 9, "clock_back": 11, "clock_right": 13,
    "spike": 21,
    "poison": 29,
    "out_of_memory": 37,
    "dead_rank": 45,
    "hung_loader": 53,
    "hung_collective": 61,
}  # fmt: skip
UPDATES = 68
# A watch that needs few updates and minds no ordinary noise; hangs that are found soon, but not
# where a busy machine is merely slow.
HANG_S, HANG_UPDATES = 40, 10
GUARDS = [
    "guards.spikes.least_updates=6",
    "guards.spikes.odd_updates=1",
    "guards.spikes.updates_before=0",
    "guards.spikes.loss_deviations=100",
    "guards.spikes.gradient_deviations=50",
    f"guards.hangs.least_s={HANG_S}",
    f"guards.hangs.typical_updates={HANG_UPDATES}",
]


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """One run that lives through one shock after the other."""
    folder, root = tmp_path_factory.mktemp("shocks"), tmp_path_factory.mktemp("runs")
    shards = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
    shocks.prepare(folder)
    shocks.plan(folder, {"struck": {shock: update * BATCH for shock, update in AT.items()}})
    settings = small(root, shards, "struck", UPDATES)
    job = start_program(JOB, *settings, *GUARDS, **hooked(folder))
    return lived(str(root / "struck"), job, folder)


def test_it_ends_well_and_every_sample_counts_once(struck: Lived) -> None:
    assert struck.code == 0, struck.said
    assert struck.times.keys() == AT.keys()
    assert struck.of("run_finished")[-1]["images_seen"] == UPDATES * BATCH
    proof, text = audit(Audit(run=struck.url))
    assert proof.holds, text


def test_numbers_of_one_worker_that_are_none_stop_the_update_on_both(struck: Lived) -> None:
    skipped = struck.of("skipped_update")
    assert {each["images_seen"] for each in skipped} == {(AT["not_a_number"] + 1) * BATCH}
    assert {each["rank"] for each in skipped[0]["blame"]} == {1}
    record(
        "NaN in one rank: images of worker 1 become NaN in one update",
        f"the update is skipped on both workers, which go on: {skipped[0]['reason']}",
        "`skipped_update` with `blame`", "none lost",
    )  # fmt: skip


def test_clocks_that_jump_change_nothing(struck: Lived) -> None:
    begun = struck.times["clock_forward"][0]
    ahead = [e for e in struck.events if e["time"] > time.time() + shocks.HOUR_S / 2]
    behind = [e for e in struck.events if e["time"] < begun - shocks.HOUR_S / 2]
    assert {e["kind"] for e in ahead} >= {"report"}, "they did jump"
    assert {e["kind"] for e in behind} >= {"report"}
    assert not [e for e in ahead + behind if e["kind"] in ("failure_decided", "hang")]
    assert {e["attempt"] for e in struck.of("report") if e in ahead + behind} == {1}
    record(
        "clock jump: `time.time` of driver, workers and Ray goes 1 h ahead, 1 h behind, and back",
        "nothing: decisions and waits read monotonic clocks", "no line of its own", "none lost",
    )  # fmt: skip


def test_a_spike_takes_it_back_and_leaves_its_batch_out(struck: Lived) -> None:
    (event,) = struck.of("rolled_back")
    at = AT["spike"] * BATCH
    assert (event["start"], event["stop"]) == (at, at + BATCH)
    assert struck.decided("planned") == ["restart"]
    assert at in {e["start"] for e in struck.of("positions_left_out")}
    record(
        "loss spike from a poisoned batch: the images of one batch are shifted by 10,000",
        "taken back to the checkpoint before it, restarted, its positions left out by name",
        "`rolled_back`, `positions_left_out`", struck.back_after("spike"),
    )  # fmt: skip


def test_a_batch_that_kills_twice_is_left_out_by_name(struck: Lived) -> None:
    at = AT["poison"] * BATCH
    assert struck.decided("unknown") == ["restart", "skip"]
    assert struck.of("failure_decided", action="skip")[0]["position"] == at
    assert len(struck.of("positions_left_out", start=at)[0]["keys"]) == BATCH
    record(
        "poison batch: worker 1 raises at one batch, whenever it comes",
        "restarted once; at the second failure skipped by position and keys",
        "`failure_decided` (restart, skip), `positions_left_out`", struck.back_after("poison"),
    )  # fmt: skip


def test_out_of_memory_is_met_with_smaller_passes_once(struck: Lived) -> None:
    (decided,) = struck.of("failure_decided", cause="out_of_memory")
    assert (decided["action"], decided["micro_batch"]) == ("restart", shocks.MOST_IMAGES)
    record(
        "out of memory: an allocation fails, for real, in passes of more than 16 images",
        "restarted once, with passes of 16 images", "`failure_decided` (out_of_memory, restart)",
        struck.back_after("out_of_memory"),
    )  # fmt: skip


def test_a_dead_rank_is_replaced(struck: Lived) -> None:
    after = [e for e in struck.of("failure_decided") if e["time"] > struck.times["dead_rank"][0]]
    assert (after[0]["cause"], after[0]["action"]) == ("lost", "restart")
    record(
        "dead rank: SIGKILL of worker 1", "restarted from the newest checkpoint",
        "`worker_failed`, `failure_decided` (lost, restart)", struck.back_after("dead_rank"),
    )  # fmt: skip


@pytest.mark.parametrize(
    # Who waits in a collective for one whose loader hangs may be the first to find it.
    ("shock", "injected", "stages"),
    [
        (
            "hung_loader",
            "hung loader: the decoding processes of worker 0 are stopped (SIGSTOP)",
            {"data", "collective"},
        ),
        (
            "hung_collective",
            "hung collective: worker 1 is stopped (SIGSTOP) while worker 0 waits for it",
            {"collective"},
        ),
    ],
)
def test_hangs_are_found_and_their_stacks_kept(
    struck: Lived, shock: str, injected: str, stages: set[str]
) -> None:
    began = struck.times[shock][0]
    hang = next(e for e in struck.of("hang") if e["time"] > began)
    assert hang["stage"] in stages
    assert (Path(struck.url) / hang["stacks"]).exists()
    record(
        injected,
        f"found after {hang['time'] - began:.0f} s ({hang['reason']}), stacks in `logs/`, worker "
        "ended with exit code 70, restarted",
        f"`hang` (stage {hang['stage']}), `failure_decided`", struck.back_after(shock),
    )  # fmt: skip
