"""DeepSpeed's settings, derived from a run's: a pure function, so that a table can test it."""

from typing import Any

from system.foundation.settings.engine import Engine

# Elements per collective. DeepSpeed's default of 5e8 holds a buffer of a gigabyte in bf16.
BUCKET_ELEMENTS = 50_000_000


def clips_itself(settings: Engine) -> bool:
    """Whether our engine clips and checks the gradients: where DeepSpeed steps the bare optimiser.

    Stage 0 in float32 is the one combination in which it neither tells the norm of the gradients
    nor skips a step whose gradients are not finite.
    """
    return settings.zero_stage == 0 and settings.precision == "fp32"


def deepspeed_config(
    settings: Engine, *, micro_batch: int, accumulation: int, world_size: int, device: str = "cpu"
) -> dict[str, Any]:
    """The dictionary that `deepspeed.initialize` takes on a type of device.

    The learning rate comes with every step, so there is no scheduler here; nothing is printed.
    """
    bf16 = settings.precision == "bf16"
    config: dict[str, Any] = {
        "train_batch_size": micro_batch * accumulation * world_size,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": 0.0 if clips_itself(settings) else settings.gradient_clip,
        "zero_optimization": _zero(
            settings.zero_stage, overlap=overlaps(settings.zero_stage, world_size, device)
        ),
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
        "wall_clock_breakdown": False,
        "checkpoint": {"tag_validation": "Ignore", "use_node_local_storage": False},
    }
    if bf16:
        config["bf16"] = {"enabled": True, "check_grad_overflow": True}
        if settings.zero_stage > 0:
            # bf16 sums of many micro-batches lose their small ones. Stage 0 has no such option.
            config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config


def overlaps(stage: int, world_size: int, device: str) -> bool:
    """Whether gradients are summed over the workers while the backward pass goes on.

    It takes a second bucket and a stream of its own, which gloo's collectives know nothing of, and
    there is nothing to sum in a world of one.
    """
    return stage in (1, 2) and world_size > 1 and device == "cuda"


def _zero(stage: int, *, overlap: bool) -> dict[str, Any]:
    if stage == 0:
        return {"stage": 0}
    options: dict[str, Any] = {
        "stage": stage,
        "contiguous_gradients": True,
        "overlap_comm": overlap,
        "reduce_bucket_size": BUCKET_ELEMENTS,
    }
    if stage < 3:
        return options | {"allgather_bucket_size": BUCKET_ELEMENTS, "round_robin_gradients": False}
    return options | {"stage3_prefetch_bucket_size": BUCKET_ELEMENTS}
