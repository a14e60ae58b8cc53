"""Real worker processes over gloo on this machine, for tests that need more than one."""

import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import multiprocessing

from system.foundation.world import World


def run_workers(
    function: Callable[..., Any], size: int, folder: Path, *arguments: Any
) -> list[Any]:
    """What `function(world, *arguments)` returns on each of `size` workers, by rank.

    `function` must be importable. They meet in a file below `folder`: no port is taken.
    """
    meeting = folder / f"meeting-{uuid4().hex[:8]}"
    meeting.mkdir(parents=True)
    multiprocessing.spawn(_work, (function, size, meeting, arguments), nprocs=size)
    return [pickle.loads((meeting / f"result-{rank}").read_bytes()) for rank in range(size)]


def _work(rank: int, function: Callable[..., Any], size: int, folder: Path, given: Any) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=120),
    )
    try:
        result = function(World(rank, size), *given)
        (folder / f"result-{rank}").write_bytes(pickle.dumps(result))
        dist.barrier()
    finally:
        dist.destroy_process_group()
