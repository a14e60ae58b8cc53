"""A real update of a recipe on this machine, measured as `system.launch.plan` predicts it.

On the CPU every tensor that an operation makes is followed until it is let go; on a GPU torch's own
allocator says what was the most.
"""

import gc
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.engine.deepspeed_engine import Engine
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.launch.plan.live_bytes import LiveBytes
from system.launch.plan.operations import counter
from system.train.assemble import assemble
from system.train.state import TrainState
from system.train.update import update

# Where DeepSpeed's optimisers keep weights in float32: stage 1 in bf16, stages 1 and 2, stage 3.
MASTERS = (
    "fp32_groups_flat_partition",
    "single_partition_of_fp32_groups",
    "fp32_partitioned_groups_flat",
)


@dataclass(frozen=True)
class Measured:
    """What an update came to, bytes unless said otherwise."""

    parameters: int  # numbers
    flops: int  # operations of the whole update
    weights: int
    masters: int
    moments: int
    averages: int
    kept: int  # by distinct storages that autograd saved in the joint model's forward pass
    state: int  # alive between two updates
    peak: int  # alive at most
    checkpoint: int  # of the saved files


def measure(recipe: Recipe, world: World | None = None) -> Measured:
    """Two updates of a fresh state, the second one looked at."""
    world = world or World()
    live = LiveBytes(world.device.type)
    with live:
        state = assemble(recipe, world, read_manifest(recipe.data.shards))
        stream = _stream(state)
        update(state, stream)
        gc.collect()
        between = live.now
        live.start_over()
        if world.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        saved = _Saved(state)
        with counter() as flops, saved:
            update(state, stream)
    peak = live.peak
    if world.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    engines = [each for each in (state.engine, state.critic) if each is not None]
    shares = [_shares(each) for each in engines]
    modules = [each.module for each in engines]
    found = Measured(
        parameters=sum(_numbers(w) for module in modules for w in module.parameters()),
        flops=int(flops.get_total_flops()),
        weights=sum(_bytes([*each.parameters(), *each.buffers()]) for each in modules),
        masters=sum(share[0] for share in shares),
        moments=sum(share[1] for share in shares),
        averages=sum(share[2] for share in shares),
        kept=saved.bytes,
        state=between,
        peak=peak,
        checkpoint=_saved_bytes(state),
    )
    state.close()
    return found


class _Saved:
    """Distinct storages that autograd saves while the joint model goes forward, weights aside."""

    def __init__(self, state: TrainState) -> None:
        self.bytes = 0
        self._state = state
        self._engine_forward = state.engine.forward
        weights = [*state.engine.module.parameters(), *state.engine.module.buffers()]
        self._known = {each.untyped_storage()._cdata for each in weights}
        self._seen: set[int] = set()
        self._held: list[torch.UntypedStorage] = []  # so that no other takes a place meanwhile

    def __enter__(self) -> "_Saved":
        self._state.engine.forward = self._forward  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: Any) -> None:
        self._state.engine.forward = self._engine_forward  # type: ignore[method-assign]
        self._held.clear()

    def _forward(self, *inputs: Any) -> Any:
        self.bytes = 0
        self._seen = {
            each.untyped_storage()._cdata for each in inputs if isinstance(each, Tensor)
        } | self._known
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
            output = self._engine_forward(*inputs)
        self._held.clear()
        return output

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._held.append(storage)
            self.bytes += storage.nbytes()
        return tensor


def _stream(state: TrainState) -> Any:
    run = state.recipe.run
    return open_stream(
        state.manifest,
        state.recipe.data,
        seed=run.seed,
        world=state.world,
        global_batch=run.global_batch,
        micro_batch=state.micro_batch,
        images_seen=0,
    )


def _shares(engine: Engine) -> tuple[int, int, int]:
    """Masters, moments and averages of DeepSpeed's optimiser on this worker."""
    outer = engine._engine.optimizer
    inner = engine._engine.basic_optimizer
    masters = next(getattr(outer, name) for name in MASTERS if hasattr(outer, name))
    states = [state for state in inner.state.values() if state]
    moments = [state[key] for state in states for key in ("exp_avg", "exp_avg_sq")]
    averages = [value for state in states for key, value in state.items() if "average" in key]
    return _bytes(masters), _bytes(moments), _bytes(averages)


def _numbers(weight: Any) -> int:
    """Of a weight that stage 3 may have cut."""
    return int(getattr(weight, "ds_numel", weight.numel()))


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors; those that share a storage share no part of it. In stage 3 a weight is
    empty, and its share lies beside it."""
    shares = [getattr(each, "ds_tensor", each) for each in tensors]
    return sum(each.numel() * each.element_size() for each in shares)


def _saved_bytes(state: TrainState) -> int:
    with tempfile.TemporaryDirectory() as folder:
        state.save(Path(folder) / "state")
        return sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
