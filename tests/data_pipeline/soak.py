"""A reader that goes on for many epochs, in a process of its own, and what memory it held."""

import ctypes
import gc
from pathlib import Path

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.foundation.settings.data import Data
from system.foundation.world import World

BATCH = 48
MALLINFO = [
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
]


def soak(url: str, settings: dict, steps: int) -> tuple[list[int], list[int], list[int]]:
    """Samples read so far, bytes that the reader holds and memory of its processes, at every tenth
    batch past the first growth to working size."""
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
            main.append(allocated())
            processes.append(sum(resident(pid) for pid in stream.processes))
    stream.close()
    return samples, main, processes


class MallInfo(ctypes.Structure):
    """What glibc's allocator tells of itself (man 3 mallinfo2), bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO]


def allocated() -> int:
    """Bytes that this process has asked for and not given back. Python's own objects are among them
    only under `PYTHONMALLOC=malloc`. Pages that the allocator keeps for later are not, so what it
    happens to keep does not look like a leak."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = MallInfo
    info = mallinfo2()
    return info.uordblks + info.hblkhd


def resident(pid: int) -> int:
    """Memory of a process that lies in RAM, without what it shares with others, bytes."""
    fields = Path(f"/proc/{pid}/status").read_text().split()
    return 1024 * int(fields[fields.index("RssAnon:") + 1])
