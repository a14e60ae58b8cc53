"""Whole float32 tensors out of a DeepSpeed engine, by the name each has in the module.

DeepSpeed keeps the float32 weights and the optimiser's state in a different place for every pair of
stage and precision; this file is the one that knows them.
"""

from collections.abc import Iterator

import deepspeed
from deepspeed.utils import lazy_init_hp_params_optimizer_state
from deepspeed.utils import safe_get_full_fp32_param
from deepspeed.utils import safe_get_full_optimizer_state
from torch import Tensor
from torch import nn

from system.engine.optimiser import average_key


def gather_weights(
    engine: deepspeed.DeepSpeedEngine, module: nn.Module
) -> Iterator[tuple[str, Tensor]]:
    """Every weight and persistent buffer in float32, one at a time. All workers must take part."""
    return _gather(engine, module, state_key=None)


def gather_averages(
    engine: deepspeed.DeepSpeedEngine, module: nn.Module, which: int
) -> Iterator[tuple[str, Tensor]]:
    """The averaged weights alike, by the place of their decay. What is not trained, or not yet
    moved, is its own average."""
    key = average_key(which)
    moved = any(key in state for state in engine.basic_optimizer.state.values())
    return _gather(engine, module, state_key=key if moved else None)


def flat_masters(engine: deepspeed.DeepSpeedEngine) -> list[Tensor]:
    """This worker's flat tensors of float32 weights, one for each group, in stages 1 to 3."""
    places = (
        "single_partition_of_fp32_groups",
        "fp32_groups_flat_partition",
        "fp32_partitioned_groups_flat",
    )
    place = next(place for place in places if hasattr(engine.optimizer, place))
    masters: list[Tensor] = getattr(engine.optimizer, place)
    return masters


def flat_averages(engine: deepspeed.DeepSpeedEngine, which: int) -> list[Tensor]:
    """This worker's pieces of an average alike; of the weights where none has moved yet."""
    state, key = engine.basic_optimizer.state, average_key(which)
    return [state.get(flat, {}).get(key, flat).detach() for flat in flat_masters(engine)]


def gather_untrained(
    engine: deepspeed.DeepSpeedEngine, module: nn.Module
) -> Iterator[tuple[str, Tensor]]:
    """The weights that are not trained alike. All workers must take part."""
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            yield name, _whole(engine, weight, None).float()


def kept_buffers(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers that are saved, as they lie there."""
    kept = module.state_dict(keep_vars=True)
    for name, buffer in module.named_buffers():
        if name in kept:
            yield name, buffer.detach()


def whole_averages(
    engine: deepspeed.DeepSpeedEngine, module: nn.Module, which: int
) -> Iterator[tuple[str, Tensor]]:
    """The averages of trained weights as they lie there, in stage 0."""
    masters, key = _whole_masters(engine), average_key(which)
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            yield name, _whole(engine, masters.get(weight, weight), key)


def _gather(
    engine: deepspeed.DeepSpeedEngine, module: nn.Module, state_key: str | None
) -> Iterator[tuple[str, Tensor]]:
    _link_states(engine)
    masters = _whole_masters(engine)
    for name, weight in module.named_parameters():
        yield name, _whole(engine, masters.get(weight, weight), state_key).float()
    yield from kept_buffers(module)


def _whole(engine: deepspeed.DeepSpeedEngine, weight: Tensor, state_key: str | None) -> Tensor:
    if not weight.requires_grad:
        with deepspeed.zero.GatheredParameters([weight]):
            return weight.detach().clone()
    if not engine.zero_optimization():
        state = engine.basic_optimizer.state.get(weight, {})
        return state.get(state_key, weight).detach()
    if state_key is None:
        return safe_get_full_fp32_param(weight)
    return safe_get_full_optimizer_state(weight, state_key)


def _whole_masters(engine: deepspeed.DeepSpeedEngine) -> dict[Tensor, Tensor]:
    """Stage 0 in bf16: the module's weights to their float32 masters."""
    optimiser = engine.optimizer
    if engine.zero_optimization() or optimiser is engine.basic_optimizer:
        return {}
    pairs = zip(optimiser.fp16_groups, optimiser.fp32_groups, strict=True)
    return {low: high for lows, highs in pairs for low, high in zip(lows, highs, strict=True)}


def _link_states(engine: deepspeed.DeepSpeedEngine) -> None:
    """Tell every weight where its piece of the optimiser's state lies, in stages 1 and 2.

    DeepSpeed does so once, after the first parameter group's first step, when the other groups have
    no state yet; and it forgets after a restore (0.19.8). Stage 3 looks the state up by itself.
    """
    optimiser = engine.optimizer
    if hasattr(optimiser, "single_partition_of_fp32_groups"):
        groups = zip(optimiser.bit16_groups, optimiser.single_partition_of_fp32_groups, strict=True)
    elif hasattr(optimiser, "fp32_groups_flat_partition"):
        groups = zip(optimiser.bf16_groups, optimiser.fp32_groups_flat_partition, strict=True)
    else:
        return
    for weights, partition in groups:
        state = engine.basic_optimizer.state
        if partition in state:
            lazy_init_hp_params_optimizer_state(weights, partition, state)
