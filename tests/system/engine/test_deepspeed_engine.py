import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from system.engine.deepspeed_engine import Engine
from system.foundation.errors import CheckpointError
from system.foundation.errors import ClusterError
from system.foundation.world import World
from tests.system.engine.matrix import ACCUMULATION
from tests.system.engine.matrix import DECAYS
from tests.system.engine.matrix import POISONED
from tests.system.engine.matrix import PRECISIONS
from tests.system.engine.matrix import RUNNING
from tests.system.engine.matrix import RUNNING_FACTOR
from tests.system.engine.matrix import STAGES
from tests.system.engine.matrix import Net
from tests.system.engine.matrix import settings

CASES = [(stage, precision) for stage in STAGES for precision in PRECISIONS]
# bf16 keeps eight bits of a weight.
ROUNDING = {"fp32": 0.0, "bf16": 2**-8}

matrix = pytest.mark.parametrize("case", CASES, ids=lambda case: f"zero{case[0]}-{case[1]}")


@matrix
def test_weights_and_averages_start_at_the_modules_weights(findings, case) -> None:
    found = findings[0][case]
    for name, start in found.start.items():
        torch.testing.assert_close(
            found.start_averages[name], start, atol=ROUNDING[case[1]], rtol=ROUNDING[case[1]]
        )
    assert found.start_averages["kept"].tolist() == [0, 1, 2]
    assert "dropped" not in found.start_averages


@matrix
def test_averages_are_the_written_recursion_over_the_float32_weights(findings, case) -> None:
    found = findings[0][case]
    for decay, averages in zip(DECAYS, found.averages, strict=True):
        for name, average in averages.items():
            if name == "running":
                continue
            expected = found.start_averages[name].float()
            for weights in found.history:
                expected = decay * expected + (1 - decay) * weights[name].float()
            # Two updates of lerp against two of multiply and add.
            torch.testing.assert_close(average.float(), expected, atol=1e-7, rtol=1e-6)


@matrix
def test_a_running_buffer_stays_float32_and_is_its_own_average(findings, case) -> None:
    found = findings[0][case]
    passes = torch.tensor(RUNNING)
    for _ in range(2 * ACCUMULATION):
        passes *= RUNNING_FACTOR
    assert torch.equal(found.averages[0]["running"], passes)
    assert torch.equal(found.history[-1]["running"], passes)
    assert torch.equal(found.averages_on_restore[0]["running"], passes)


@matrix
def test_what_is_gathered_is_float32_on_rank_0_alone_and_the_frozen_part_is_there(
    findings, case
) -> None:
    first, second = findings[0][case], findings[1][case]
    assert second.averages[0] == second.after == {}
    assert {weight.dtype for weight in first.averages[0].values()} == {torch.float32}
    # Not as bf16 rounds it, which is what the module computes with.
    assert torch.equal(first.averages[0]["still.weight"], first.start["still.weight"])
    assert not torch.equal(first.averages[0]["layers.0.weight"], first.start["layers.0.weight"])


@matrix
def test_a_loss_that_is_not_finite_on_one_worker_moves_nothing_on_any(findings, case) -> None:
    for found in (ranks[case] for ranks in findings):
        assert [step.skipped for step in found.steps] == [u == POISONED for u in range(5)]
        assert found.steps[POISONED].gradient_norm == float("inf")
        assert all(weight.isfinite().all() for weight in found.after.values())


@matrix
def test_all_workers_see_one_gradient_norm(findings, case) -> None:
    first, second = findings[0][case], findings[1][case]
    assert [s.gradient_norm for s in first.steps] == [s.gradient_norm for s in second.steps]
    assert first.losses != second.losses  # of their own shares


@matrix
def test_resumed_is_uninterrupted_bit_for_bit(findings, case) -> None:
    found = findings[0][case]
    assert found.resumed_losses == found.losses[2:]
    for name, weight in found.after.items():
        assert torch.equal(found.resumed_weights[name], weight), name
        for restored, saved in zip(found.averages_on_restore, found.averages, strict=True):
            assert torch.equal(restored[name], saved[name]), name
        assert found.resumed_averages[name].isfinite().all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_stage_trains_alike(findings, precision) -> None:
    # Stage 0 sums bf16 gradients in bf16, the others in float32.
    tolerance = {"fp32": 1e-6, "bf16": 0.01}[precision]
    losses = {stage: findings[0][stage, precision].losses for stage in STAGES}
    for stage in STAGES[1:]:
        assert losses[stage] == pytest.approx(losses[0], rel=tolerance)


@matrix
def test_the_state_of_another_stage_is_refused(findings, case) -> None:
    assert "It must come from the same model, ZeRO stage" in findings[0][case].complaint


def one(world: World | None = None, accumulation: int = 1) -> Engine:
    torch.manual_seed(0)
    return Engine(
        Net(),
        settings(2, "fp32"),
        world=world or World(),
        micro_batch=4,
        accumulation=accumulation,
    )


def update(engine: Engine) -> None:
    engine.backward(engine.forward(torch.ones(4, 4)).value.square().mean())
    engine.step(1e-2, DECAYS)


def test_records_come_out_as_they_went_in() -> None:
    output = one().forward(torch.ones(4, 4))
    assert output.value.shape == (4, 3)
    assert output.watched.keys() == {"mean"}


def test_micro_batches_of_one_update_are_counted() -> None:
    engine = one(accumulation=2)
    engine.backward(engine.forward(torch.ones(4, 4)).value.mean())
    with pytest.raises(AssertionError, match="all of its micro-batches"):
        engine.step(1e-2, DECAYS)
    engine.backward(engine.forward(torch.ones(4, 4)).value.mean())
    with pytest.raises(AssertionError, match="a step is due"):
        engine.backward(engine.forward(torch.ones(4, 4)).value.mean())


def test_a_group_of_another_size_is_refused() -> None:
    one()
    with pytest.raises(ClusterError, match="rank 0 of 1 workers, expected rank 1 of 2"):
        one(World(1, 2))


def test_a_saved_state_holds_no_programs(tmp_path: Path) -> None:
    engine = one()
    update(engine)
    engine.save(tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".pt"}


def test_a_folder_without_a_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be taken up"):
        one().restore(tmp_path)


class Program:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_state_that_would_run_a_program_is_refused_unrun(tmp_path: Path) -> None:
    engine = one()
    update(engine)
    engine.save(tmp_path)
    ran = tmp_path / "ran"
    victim = next(tmp_path.rglob("*model_states.pt"))
    torch.save({"module": Program(ran)}, victim)
    with pytest.raises(CheckpointError, match="cannot be taken up"):
        one().restore(tmp_path)
    assert not ran.exists()
    pickle.loads(pickle.dumps(Program(ran)))  # the payload does work where it is let
    assert ran.exists()


def test_nothing_of_deepspeeds_progress_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    update(one())
    captured = capfd.readouterr()
    assert captured.out == ""


def test_an_engine_of_bf16_moves_float32_masters() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(4, 4)
    engine = Engine(linear, settings(0, "bf16"), world=World(), micro_batch=4, accumulation=1)
    before = engine.weights()["weight"]
    loss = engine.forward(torch.ones(4, 4, dtype=torch.bfloat16)).float().square().mean()
    engine.backward(loss)
    engine.step(1e-6, DECAYS)  # too small a move for bf16 to show
    after = engine.weights()["weight"]
    assert not torch.equal(before, after)
    assert linear.weight.dtype == torch.bfloat16
    engine.close()
