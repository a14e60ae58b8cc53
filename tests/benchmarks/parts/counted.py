"""What DeepSpeed sends in an update, by its own communication log: real workers, or one of many.

Real engines speak over gloo on this machine. For more workers than it has, torch's fake process
group lets one process be rank 0 of any number: nothing is sent, and everything else is done.
"""

import time
from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.comm import comm
from torch import Tensor
from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.engine import process_group
from system.engine.deepspeed_config import deepspeed_config
from system.engine.optimiser import AveragingAdamw
from system.engine.optimiser import parameter_groups
from system.foundation.recipe import Recipe
from system.foundation.settings.engine import Engine
from system.foundation.world import World
from system.launch.plan.network.gathers import Limits
from system.train.assemble import assemble
from system.train.update import update

KINDS = {
    "all_reduce": "all-reduce",
    "all_gather_into_tensor": "all-gather",
    "reduce_scatter_tensor": "reduce-scatter",
    "broadcast": "broadcast",
}
BEFORE = 2  # updates until stage 3 knows the order of its modules


@dataclass(slots=True)
class Sent:
    """Collectives by kind: how many, and the bytes of their whole tensors."""

    calls: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Faked:
    """Rank 0 of many workers."""

    sent: Sent
    update_s: float  # of the process's own time


def count_recipes(world: World, recipes: Sequence[Recipe]) -> list[Sent]:
    """The third update of each recipe on these workers."""
    return [_count_recipe(world, each) for each in recipes]


def _count_recipe(world: World, recipe: Recipe) -> Sent:
    state = assemble(recipe, world, read_manifest(recipe.data.shards))
    run = recipe.run
    stream = open_stream(
        state.manifest,
        recipe.data,
        seed=run.seed,
        world=world,
        global_batch=run.global_batch,
        micro_batch=state.micro_batch,
        images_seen=0,
    )
    for _ in range(BEFORE):
        update(state, stream)
    with logged(world.size) as sent:
        update(state, stream)
    state.close()
    return sent


@contextmanager
def logged(workers: int) -> Iterator[Sent]:
    """Read what goes through DeepSpeed meanwhile."""
    log, sent = comm.comms_logger, Sent()
    log.reset_data()
    comm.configure(enabled=True, prof_all=True, verbose=False, debug=False)
    try:
        yield sent
    finally:
        comm.configure(enabled=False, prof_all=False)
    for name, by_size in log.get_raw_data().items():
        # The log has what a worker puts into a gathering; it is asked for what comes out.
        factor = workers if name == "all_gather_into_tensor" else 1
        for size, (calls, *_) in by_size.items():
            kind = KINDS.get(name, name)
            sent.calls[kind] += calls
            sent.size[kind] += calls * size * factor
    log.reset_data()


class Stack(nn.Module):
    """Layers with norms: weights of both of the optimiser's groups."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width)) for _ in range(depth))
        )

    def forward(self, given: Tensor) -> Tensor:
        """Their mean square."""
        result: Tensor = self.layers(given).square().mean()
        return result


@dataclass(frozen=True, slots=True)
class Faking:
    """What rank 0 of so many workers does."""

    workers: int
    settings: Engine
    passes: int = 1
    depth: int = 8
    width: int = 16
    limits: Mapping[str, int] = field(default_factory=dict)  # of zero_optimization
    rounds: int = 1


def fake(asked: Sequence[Faking]) -> list[Faked]:
    """Updates of a small stack, as rank 0 sees them, one world after another. It takes the process
    for itself."""
    torch.set_num_threads(1)
    return [_fake(each) for each in asked]


def _fake(asked: Faking) -> Faked:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=asked.workers)
    process_group.join(World(0, asked.workers))
    engine = _engine(asked)
    given = torch.ones(1, asked.width, dtype=next(engine.module.parameters()).dtype)
    for _ in range(BEFORE):
        _update(engine, given, asked.passes)
    with logged(asked.workers) as sent:
        _update(engine, given, asked.passes)
    start = time.process_time()
    for _ in range(asked.rounds):
        _update(engine, given, asked.passes)
    taken = (time.process_time() - start) / asked.rounds
    engine.destroy()
    deepspeed.comm.destroy_process_group()
    comm.cdb = None  # or the next world would speak over this one's group
    return Faked(sent, taken)


def _engine(asked: Faking) -> Any:
    """As our own engine has it made, without the second process group of its saves."""
    torch.manual_seed(0)
    module = Stack(asked.depth, asked.width)
    settings = asked.settings
    config = deepspeed_config(
        settings, micro_batch=1, accumulation=asked.passes, world_size=asked.workers
    )
    config["zero_optimization"] |= dict(asked.limits)
    optimiser = AveragingAdamw(parameter_groups(module, 0.0), settings.optimiser)
    with process_group.quiet():
        engine, *_ = deepspeed.initialize(
            model=module, optimizer=optimiser, config=config, dist_init_required=False
        )
    return engine


def _update(engine: Any, given: Tensor, passes: int) -> None:
    for number in range(passes):
        engine.set_gradient_accumulation_boundary(number + 1 == passes)
        engine.backward(engine(given))
    engine.step()


def as_options(limits: Limits) -> dict[str, int]:
    """Limits as DeepSpeed calls them."""
    return {
        "reduce_bucket_size": limits.bucket,
        "stage3_prefetch_bucket_size": limits.ahead,
        "stage3_max_live_parameters": limits.live,
        "stage3_max_reuse_distance": limits.reuse,
        "stage3_param_persistence_threshold": limits.kept,
    }
