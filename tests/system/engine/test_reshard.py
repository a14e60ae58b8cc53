import shutil
from pathlib import Path

import deepspeed
import pytest
import torch
from torch import nn

from system.engine.deepspeed_engine import Engine
from system.engine.gather import flat_masters
from system.foundation.errors import CheckpointError
from system.foundation.world import World
from tests.gloo import run_workers
from tests.system.engine.matrix import PRECISIONS
from tests.system.engine.matrix import STAGES
from tests.system.engine.matrix import make_engine
from tests.system.engine.matrix import save_together
from tests.system.engine.matrix import settings
from tests.system.engine.matrix import snapshot
from tests.system.engine.resizes import Case
from tests.system.engine.resizes import Taken
from tests.system.engine.resizes import take_up
from tests.system.engine.resizes import update

CASES = [(stage, precision) for stage in STAGES for precision in PRECISIONS]
FEW = [(1, "bf16"), (2, "fp32"), (3, "bf16")]  # one of each of DeepSpeed's optimisers

matrix = pytest.mark.parametrize("case", CASES, ids=lambda case: f"zero{case[0]}-{case[1]}")


@pytest.fixture(scope="session")
def alone(findings, tmp_path_factory) -> dict[Case, Taken]:
    """What one worker made of what two had saved."""
    folders = {case: found.folder for case, found in findings[0].items()}
    return take_up(World(), folders, tmp_path_factory.mktemp("alone"))


@matrix
def test_one_worker_takes_up_what_two_saved_to_the_bit(findings, alone, case) -> None:
    assert alone[case].state.differences(findings[0][case].saved) == []


@matrix
def test_what_it_saves_is_whole(alone, case) -> None:
    assert alone[case].again.differences(alone[case].state) == []


def check_next_size(taken: dict[Case, Taken], before: dict[Case, Taken]) -> None:
    """That a state went on to another number of workers as it was, and goes on as it would have."""
    for case, found in taken.items():
        assert found.state.differences(before[case].state) == [], case
        assert found.again.differences(before[case].state) == [], case
        # Equal gradients of all workers; their mean may round.
        assert found.losses == pytest.approx(before[case].losses, rel=1e-6), case


def next_size(
    size: int, folder: Path, before: dict[Case, Taken], cases: list[Case]
) -> dict[Case, Taken]:
    folders = {case: before[case].folder for case in cases}
    return run_workers(take_up, size, folder, folders, folder / "saved")[0]


def test_three_workers_take_up_what_one_saved(alone, tmp_path) -> None:
    check_next_size(next_size(3, tmp_path, alone, FEW), alone)


@pytest.mark.slow
def test_two_one_three_five_two(alone, tmp_path) -> None:
    before = alone
    for size in (3, 5, 2):
        taken = next_size(size, tmp_path / str(size), before, CASES)
        check_next_size(taken, before)
        before = taken


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_state_of_another_module_is_refused_by_its_weights(findings, stage) -> None:
    engine = Engine(
        nn.Linear(4, 8), settings(stage, "fp32"), world=World(), micro_batch=4, accumulation=1
    )
    with pytest.raises(CheckpointError, match=r"other shapes: bias, layers\.0\.bias, layers"):
        engine.restore(findings[0][stage, "fp32"].folder)
    engine.close()


def test_groups_may_be_others(findings, monkeypatch) -> None:
    # Stage 3 cuts up a group of which a worker has more than a billion numbers.
    initialize = deepspeed.initialize

    def with_small_groups(*, config, **given):
        config["zero_optimization"]["sub_group_size"] = 20
        return initialize(config=config, **given)

    monkeypatch.setattr(deepspeed, "initialize", with_small_groups)
    engine, _ = make_engine(World(), 3, "fp32")
    found = findings[0][3, "fp32"]
    assert len(flat_masters(engine._engine)) > 2
    engine.restore(found.folder)
    assert snapshot(engine).differences(found.saved) == []
    update(engine, 0)
    engine.close()


def two_save_at_once(world: World, root: Path) -> None:
    """A state without a single update."""
    for stage in (1, 2, 3):
        engine, _ = make_engine(world, stage, "fp32")
        save_together(engine, world, root / str(stage))
        engine.close()


@pytest.mark.slow
def test_a_state_without_updates_has_weights_alone(findings, tmp_path) -> None:
    run_workers(two_save_at_once, 2, tmp_path, tmp_path)
    for stage in (1, 2, 3):
        engine, start = make_engine(World(), stage, "fp32")
        with torch.no_grad():
            for weight in engine.module.parameters():
                weight.zero_()
        engine.restore(tmp_path / str(stage) / "all")
        weights = engine.weights()
        assert all(torch.equal(weights[name], weight) for name, weight in start.items())
        assert not any(engine._engine.basic_optimizer.state.values())
        update(engine, 0)
        engine.close()


@pytest.mark.parametrize("kind", ["model", "optim"])
def test_a_share_that_is_gone_is_missed(findings, tmp_path, kind) -> None:
    folder = tmp_path / "all"
    shutil.copytree(findings[0][3, "fp32"].folder, folder)
    next(folder.rglob(f"zero_pp_rank_1_*{kind}_states.pt")).unlink()
    engine, _ = make_engine(World(), 3, "fp32")
    with pytest.raises(CheckpointError, match=rf"no file .*pp_rank_1_mp_rank_00_{kind}_states"):
        engine.restore(folder)
    engine.close()
