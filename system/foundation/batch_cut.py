"""How a global batch is cut over workers and passes: the same batch for every number of workers.

48 images, at most 4 in a pass      2 workers: 6 passes of 4      3: 4 of 4      16: 1 of 3
"""

from system.foundation.errors import ClusterError


def cut_batch(global_batch: int, workers: int, most: int | None = None) -> tuple[int, int]:
    """Images per pass of a worker, and passes per update: as few passes as there can be.

    `most` is how many images one pass may have; None: all of a worker's share. Raises ClusterError
    where the batch does not divide over the workers, with the numbers over which it does.
    """
    share, rest = divmod(global_batch, workers)
    if rest:
        raise ClusterError(
            f"run.global_batch {global_batch} {indivisible(global_batch, workers)}. Set "
            "cluster.workers to one of these; another run.global_batch is another run"
        )
    passes = next(n for n in range(1, share + 1) if share % n == 0 and share <= n * (most or share))
    return share // passes, passes


def indivisible(global_batch: int, workers: int) -> str:
    """Why so many workers cannot have the batch, and how many can."""
    sizes = ", ".join(str(size) for size in world_sizes(global_batch, 1, global_batch))
    return f"not divisible by cluster.workers {workers}; it divides by {sizes}"


def world_sizes(global_batch: int, fewest: int, most: int) -> list[int]:
    """The numbers of workers, within these bounds, over which the batch divides."""
    return [size for size in range(fewest, most + 1) if global_batch % size == 0]
