"""How glibc keeps memory in workers that compute on the CPU.

By itself it gives large pieces back to the kernel as soon as they are free, and every pass of a
training step gets them anew: page by page, each a fault and 4 KB of zeros. A worker needs the same
pieces again a moment later, so here it keeps them, in one heap for all of its threads (Ray calls
the training loop in one that is not the main one; the heaps of such threads are small, and are
given back whole). Other C libraries do not look at it, and on a GPU pages are of little account.
"""

import os
from collections.abc import Mapping

VARIABLE = "GLIBC_TUNABLES"
KEPT = {
    "glibc.malloc.mmap_threshold": 2**30,  # no piece below is a mapping of its own
    "glibc.malloc.trim_threshold": 2**32,  # so much may be free at the end of the heap
    "glibc.malloc.arena_max": 1,
}


def heap_settings(device: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a worker has in its environment for this; nothing on GPUs.

    Who has chosen for themselves is left alone.
    """
    if device != "cpu" or VARIABLE in environment:
        return {}
    return {VARIABLE: ":".join(f"{name}={value}" for name, value in KEPT.items())}
