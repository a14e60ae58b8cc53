import pytest

from system.engine.deepspeed_config import clips_itself
from system.engine.deepspeed_config import deepspeed_config
from system.foundation.settings.engine import Engine


def config(**settings: object) -> dict:
    return deepspeed_config(Engine(**settings), micro_batch=4, accumulation=3, world_size=2)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_stage_and_precision(stage: int, precision: str) -> None:
    made = config(zero_stage=stage, precision=precision)
    assert made["zero_optimization"]["stage"] == stage
    assert made["train_batch_size"] == 24
    assert made["train_micro_batch_size_per_gpu"] == 4
    assert made["gradient_accumulation_steps"] == 3
    assert ("bf16" in made) == (precision == "bf16")
    # DeepSpeed has no float32 accumulation of bf16 gradients outside of ZeRO.
    assert ("data_types" in made) == (precision == "bf16" and stage > 0)
    if precision == "bf16":
        assert made["bf16"] == {"enabled": True, "check_grad_overflow": True}


@pytest.mark.parametrize(
    ("stage", "precision", "ours"),
    [(0, "fp32", True), (0, "bf16", False), (1, "fp32", False), (3, "bf16", False)],
)
def test_the_one_that_clips_is_named_once(stage: int, precision: str, ours: bool) -> None:
    settings = Engine(zero_stage=stage, precision=precision, gradient_clip=0.7)
    assert clips_itself(settings) is ours
    made = deepspeed_config(settings, micro_batch=1, accumulation=1, world_size=1)
    assert made["gradient_clipping"] == (0.0 if ours else 0.7)


def test_nothing_schedules_or_prints() -> None:
    made = config()
    assert "scheduler" not in made
    assert "optimizer" not in made
    assert made["steps_per_print"] is None


@pytest.mark.parametrize(
    ("stage", "workers", "device", "overlaps"),
    [
        (0, 2, "cuda", False),
        (1, 2, "cuda", True),
        (2, 2, "cuda", True),
        (3, 2, "cuda", False),
        (2, 1, "cuda", False),
        (1, 2, "cpu", False),
        (2, 2, "cpu", False),
    ],
)
def test_sums_go_on_beside_the_backward_pass_on_gpus_alone(
    stage: int, workers: int, device: str, overlaps: bool
) -> None:
    made = deepspeed_config(
        Engine(zero_stage=stage), micro_batch=1, accumulation=1, world_size=workers, device=device
    )
    assert made["zero_optimization"].get("overlap_comm", False) is overlaps


def test_a_bucket_is_bounded_in_every_sharded_stage() -> None:
    for stage in (1, 2, 3):
        assert config(zero_stage=stage)["zero_optimization"]["reduce_bucket_size"] <= 10**8
