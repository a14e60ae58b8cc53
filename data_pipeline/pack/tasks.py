"""Shards packed by the workers of a Ray cluster. The only file of this room that knows Ray.

A task has everything it needs: the recipe, and the entries of its shard. What it leaves is a tar at
its place, and what it returns is the rows of that tar. A worker that dies is replaced, and its
shard made again: the same bytes, put in the place of whatever was there.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import ray
from ray.exceptions import RayError
from ray.exceptions import RayTaskError

from data_pipeline.pack.pack_shard import PackedShard
from data_pipeline.pack.pack_shard import pack_shard
from data_pipeline.pack.plan import PlannedShard
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.sources.entry import Reader
from data_pipeline.sources.source import AnySource
from data_pipeline.sources.source import open_reader
from system.foundation.errors import ClusterError
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError

RETRIES = 3
AHEAD = 2  # tasks for each worker that are handed out before one is done


def pack_by_tasks(
    shards: Sequence[PlannedShard], recipe: PackRecipe, total: int
) -> Iterator[PackedShard]:
    """Each shard as soon as it is done, in no order; at most `recipe.workers` at once.

    Raises what a task raised, and ClusterError where workers die over one shard again and again.
    Tasks that nobody waits for any more end with the connection to the cluster. (To cancel them can
    bring down the process that asks for it: ray 2.60.)
    """
    remote = ray.remote(_pack).options(
        max_retries=RETRIES,
        retry_exceptions=[StorageError],
        scheduling_strategy="SPREAD",
        name="pack",
    )
    settings, following = ray.put(recipe), iter(shards)
    waiting: dict[ray.ObjectRef, str] = {}
    while True:
        for planned in islice(following, _most_waiting(recipe) - len(waiting)):
            waiting[remote.remote(planned, settings, total)] = planned.name
        if not waiting:
            return
        ready, _ = ray.wait([*waiting], num_returns=1)
        yield _result(ready[0], waiting.pop(ready[0]))


def _most_waiting(recipe: PackRecipe) -> int:
    """Looked at each time, so that a cluster that grows is used."""
    if recipe.workers is not None:
        return recipe.workers
    return max(1, AHEAD * int(ray.cluster_resources().get("CPU", 1)))


def _result(reference: "ray.ObjectRef", name: str) -> PackedShard:
    try:
        packed: PackedShard = ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, TrainingSystemError):
            raise error.cause from None
        raise
    except RayError as error:
        raise ClusterError(
            f"{name}: its workers died {RETRIES + 1} times ({type(error).__name__}: {error}). Give "
            "them more memory or fewer at once (workers=N), and start the same command again: "
            "finished shards are kept."
        ) from error
    return packed


def _pack(planned: PlannedShard, recipe: PackRecipe, total: int) -> PackedShard:
    return pack_shard(planned, recipe, _reader(recipe.source), total)


@lru_cache(maxsize=1)
def _reader(source: AnySource) -> Reader:
    """Kept from one task of a worker to the next."""
    return open_reader(source)
