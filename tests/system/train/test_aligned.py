"""Alignment in training: one world, two workers in every ZeRO stage, and a run cut in two."""

from pathlib import Path
from typing import Any

import pytest
import torch

from data_pipeline.shards.manifest import read_manifest
from system.foundation.errors import BadInput
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.telemetry.metrics import unregistered
from system.train.assemble import assemble
from system.train.changes import frozen_changes
from system.train.frozen import build_teacher
from system.train.loop import open_training_stream
from system.train.update import update
from tests.gloo import run_workers
from tests.system.train.trials import aligned
from tests.system.train.trials import run_aligned
from tests.system.train.trials import run_loop

CPU = torch.device("cpu")


def changed(recipe: Any, **keys: Any) -> Any:
    alignment = recipe.objective.alignment.model_copy(update=keys)
    objective = recipe.objective.model_copy(update={"alignment": alignment})
    return recipe.model_copy(update={"objective": objective})


def alone(recipe: Any) -> Any:
    return recipe.model_copy(
        update={"cluster": recipe.cluster.model_copy(update={"workers": 1, "micro_batch": None})}
    )


@pytest.fixture
def recipe(digits: Any, tmp_path: Path) -> Any:
    return alone(aligned(digits.url, tmp_path, 2, "fp32"))


def test_an_update_tells_the_cosine_and_moves_heads_and_flow(recipe: Any, tmp_path: Path) -> None:
    state = assemble(recipe, World(), read_manifest(recipe.data.shards))
    before = state.engine.weights()
    with Ledger(str(tmp_path / "run"), "worker-0", run="tiny") as ledger:
        outcome = update(state, open_training_stream(state, ledger))
    cosine = outcome.means["alignment/cosine"].item()
    assert -1 < cosine < 1
    assert outcome.means["loss/alignment"].item() == -cosine
    assert unregistered(outcome.means) == []
    after = state.engine.weights()
    for part in ("heads.", "flow.blocks.1.", "autoencoder.encoder."):
        assert any(n.startswith(part) and not torch.equal(after[n], before[n]) for n in after)
    assert not any("teacher" in name for name in state.engine.averaged())
    state.close()


def test_the_teacher_is_frozen_and_leaves_the_global_generator_alone(recipe: Any) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    teacher = build_teacher(recipe, CPU)
    assert torch.equal(torch.rand(1), expected)
    assert teacher is not None
    assert not any(weight.requires_grad for weight in teacher.parameters())
    without = recipe.objective.model_copy(update={"alignment": type(recipe.objective)().alignment})
    assert build_teacher(recipe.model_copy(update={"objective": without}), CPU) is None


def test_features_agree_more_with_every_report(recipe: Any) -> None:
    recipe = changed(recipe, weight=1.0)
    run = recipe.run.model_copy(update={"total_images": 256, "report_every_images": 64})
    ended, _ = run_loop(World(), recipe.model_copy(update={"run": run}))
    cosines = [values["alignment/cosine"] for values in ended.values.values()]
    assert cosines == sorted(cosines)
    assert cosines[-1] > cosines[0] + 0.1


def test_a_run_cut_in_two_is_the_whole_run_bit_for_bit(recipe: Any, tmp_path: Path) -> None:
    run = recipe.run.model_copy(update={"total_images": 32, "checkpoint_every_images": 16})
    recipe = recipe.model_copy(update={"run": run})
    whole, _ = run_loop(World(), recipe)
    root = run.model_copy(update={"root": str(tmp_path / "cut")})
    halved = recipe.model_copy(update={"run": root})
    run_loop(World(), halved, stop_at=16)
    resumed, _ = run_loop(World(), halved, attempt=2)
    for name, weight in whole.weights.items():
        assert torch.equal(resumed.weights[name], weight), name
        assert torch.equal(resumed.averages[name], whole.averages[name]), name
    assert any(name.startswith("heads.") for name in whole.averages)


def test_two_workers_agree_in_every_stage(digits: Any, tmp_path: Path) -> None:
    first, second = run_workers(run_aligned, 2, tmp_path, digits.url, tmp_path)
    expected = first[0, "fp32"]
    assert first.keys() == second.keys() == {(0, "fp32"), (2, "fp32"), (3, "fp32"), (3, "bf16")}
    for (stage, precision), trace in first.items():
        # bf16 keeps eight bits of a weight.
        noise = 1e-5 if precision == "fp32" else 5e-3
        assert trace.losses == pytest.approx(expected.losses, rel=noise), (stage, precision)
        assert trace.gradient_norms == pytest.approx(expected.gradient_norms, rel=5 * noise)
        assert trace.losses == second[stage, precision].losses


@pytest.mark.parametrize(
    "keys",
    [{"head_width": 9}, {"head_layers": 2}, {"heads": "shared"}, {"places": ((0, 1),)}],
    ids=lambda keys: next(iter(keys)),
)
def test_a_saved_state_of_other_heads_is_not_taken_up(recipe: Any, keys: dict[str, Any]) -> None:
    (name,) = keys
    (problem,) = frozen_changes(recipe, changed(recipe, **keys))
    assert problem.startswith(f"objective.alignment.{name}: ")
    assert frozen_changes(recipe, changed(recipe, weight=0.3, strategy="detach")) == []


def test_a_teacher_that_is_not_there_is_named(recipe: Any) -> None:
    teacher = recipe.objective.alignment.teacher.model_copy(update={"weights": "/absent.pth"})
    with pytest.raises(BadInput, match=r"teacher\.weights: no file at /absent\.pth"):
        build_teacher(changed(recipe, teacher=teacher), CPU)
