"""A reader that goes on for many epochs, in a process of its own, and what memory it held."""

import gc
from pathlib import Path

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.foundation.settings.data import Data
from system.foundation.world import World

BATCH = 48


def soak(url: str, settings: dict, steps: int) -> tuple[list[int], list[int], list[int]]:
    """Samples read so far, and the memory of the reader and of its processes, at every tenth batch
    past the first growth to working size."""
    stream = open_stream(
        read_manifest(url).split("train"),
        Data.model_validate(settings),
        seed=0,
        world=World(),
        global_batch=BATCH,
        micro_batch=BATCH,
        images_seen=0,
    )
    samples, main, processes = [], [], []
    for step in range(steps):
        next(stream)
        if step >= steps // 5 and step % 10 == 0:
            gc.collect()
            samples.append((step + 1) * BATCH)
            main.append(resident())
            processes.append(sum(resident(pid) for pid in stream.processes))
    stream.close()
    return samples, main, processes


def resident(pid: int | str = "self") -> int:
    """Memory of a process that lies in RAM, without what it shares with others, bytes."""
    fields = Path(f"/proc/{pid}/status").read_text().split()
    return 1024 * int(fields[fields.index("RssAnon:") + 1])
