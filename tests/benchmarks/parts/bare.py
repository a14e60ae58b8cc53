"""What a worker does before it trains, without Ray: import, assemble, restore."""

import time

# All that Ray's worker imports; it is what takes the time.
from system.launch import worker  # noqa: F401  isort: skip

import torch
import torch.distributed as dist

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import CheckpointStore
from system.foundation import storage
from system.foundation.config import resolve
from system.foundation.world import World
from system.train.assemble import assemble
from tests.benchmarks.parts.recovery import CONFIG


def restore(rank: str, workers: str, meeting: str, *settings: str) -> None:
    """Say when everything is imported, and when the newest checkpoint is taken up."""
    imported = time.time()
    torch.set_num_threads(1)
    recipe, world = resolve(CONFIG, settings).recipe, World(int(rank), int(workers))
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=world.rank, world_size=world.size
    )
    state = assemble(recipe, world, read_manifest(recipe.data.shards))
    run = storage.join(recipe.run.root, recipe.run.name)
    newest = CheckpointStore(storage.join(run, "checkpoints")).newest_or_refuse()
    assert newest is not None
    state.restore(storage.local_path(newest.url))
    print(imported, time.time(), flush=True)
    dist.destroy_process_group()
