"""The rule as a table, and what is left of real files by it."""

from pathlib import Path

import pytest

from system.engine.checkpoints import Checkpoint
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import upload
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.launch.command import ROOT
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.guards.rollback import Rollback
from system.train.retention import Known
from system.train.retention import kept
from system.train.retention import prune
from system.train.retention import ruling_metric


def recipe(*settings: str) -> Recipe:
    return resolve(ROOT / "configs/simflow_digits.yaml", list(settings)).recipe


def whole(*images: int, attempt: int = 1) -> list[Checkpoint]:
    return [Checkpoint(seen, attempt, f"{seen}-{attempt}") for seen in images]


NOTHING = Known({}, frozenset())
SPIKE = Rollback(1, 45, 50, "a spike")


@pytest.mark.parametrize(
    ("settings", "known", "stays"),
    [
        ((), NOTHING, {40, 50, 60}),
        (("run.keep_checkpoints=1",), NOTHING, {60}),
        (("run.keep_checkpoints=9",), NOTHING, {10, 20, 30, 40, 50, 60}),
        (("run.keep_checkpoints=1",), Known({10: 5.0, 20: 3.0, 30: 4.0}, frozenset()), {20, 60}),
        (("run.keep_checkpoints=1", "run.keep_best=0"), Known({10: 5.0}, frozenset()), {60}),
        (
            ("run.keep_checkpoints=1", "run.keep_best=2"),
            Known({10: 5.0, 20: 3.0, 60: 1.0}, frozenset()),
            {20, 60},
        ),
        # The first ones at or after 25 and 50.
        (("run.keep_checkpoints=1", "run.keep_every_images=25"), NOTHING, {30, 50, 60}),
        (("run.keep_checkpoints=1",), Known({}, frozenset({10, 30})), {10, 30, 60}),
        # 50 and 60 are tainted: they take nobody's place, and 40 is where the run goes on.
        (("run.keep_checkpoints=2",), Known({50: 0.1}, frozenset(), (SPIKE,)), {30, 40, 60}),
    ],
)
def test_the_table(settings: tuple[str, ...], known: Known, stays: set[int]) -> None:
    found = kept(whole(10, 20, 30, 40, 50, 60), recipe(*settings).run, known)
    assert {one.images_seen for one in found} == stays


def test_the_last_one_before_a_spike_stays_when_many_have_followed() -> None:
    after = [*whole(10, 20, 30, 40, 50), *whole(50, 60, 70, 80, 90, attempt=2)]
    found = kept(after, recipe("run.keep_checkpoints=1").run, Known({}, frozenset(), (SPIKE,)))
    assert {(one.images_seen, one.attempt) for one in found} == {(40, 1), (90, 2)}


def commit(store: CheckpointStore, folder: Path, images: int) -> Checkpoint:
    place, local = store.place(images, 1), folder / str(images)
    local.mkdir()
    (local / "state.json").write_text("{}" * images)
    upload(local, place.url, 0, 1)
    return place


def test_the_ledger_decides_over_real_files(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path / "run/checkpoints"))
    made = [commit(store, tmp_path, images) for images in (10, 20, 30, 40, 50)]
    with Ledger(str(tmp_path / "run"), "worker-0", run="r", attempt=1) as ledger:
        for images, value in ((10, 3.0), (20, 2.0)):
            ledger.write("evaluation_requested", images_seen=images)
            ledger.write("evaluation", images_seen=images, values={"evaluation/gfid": value})
        ledger.write("evaluation_requested", images_seen=30)
    events = read_ledger(str(tmp_path / "run"))
    assert prune(store, recipe("run.keep_checkpoints=1"), events) == [made[0], made[3]]
    assert store.all() == [made[1], made[2], made[4]]


def test_a_newer_one_that_lacks_a_byte_or_its_marker_costs_no_whole_one_its_place(
    tmp_path: Path,
) -> None:
    store = CheckpointStore(str(tmp_path / "run/checkpoints"))
    made = [commit(store, tmp_path, images) for images in (10, 20, 30, 40)]
    Path(made[2].url, "state.json").write_text("short")
    Path(made[3].url, "COMMITTED.0-of-1.json").unlink()
    one = recipe("run.keep_checkpoints=1")
    assert prune(store, one, []) == [made[0]]
    assert store.latest() == made[1]
    assert Path(made[3].url).exists()  # it may be on its way


REFERENCE = (
    "evaluation.every_images=1",
    "evaluation.reference=r.npz",
    "evaluation.detector=d.pth",
)


@pytest.mark.parametrize(
    ("settings", "metric"),
    [
        ((), "evaluation/gfid"),
        (("objective.route=autoencoder_only",), "evaluation/rfid"),
        (("evaluation.kind=adm_50k", *REFERENCE), "evaluation/gfid"),
        (("evaluation.kind=dinov2", *REFERENCE), "evaluation/fd_dinov2"),
        (("evaluation.kind=none",), None),
    ],
)
def test_the_ruling_metric(settings: tuple[str, ...], metric: str | None) -> None:
    assert ruling_metric(recipe(*settings)) == metric
