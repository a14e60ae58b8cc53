"""How glibc keeps memory in workers that compute on the CPU.

By itself it gives large pieces back to the kernel as soon as they are free, and every pass of a
training step gets them anew: page by page, each a fault and 4 KB of zeros. A worker needs the same
pieces again a moment later, so here it keeps them, in one heap for all of its threads (Ray calls
the training loop in one that is not the main one; the heaps of such threads are small, and are
given back whole). Other C libraries do not look at it, and on a GPU pages are of little account.
"""

import os
from collections.abc import Mapping
from collections.abc import MutableMapping

VARIABLE = "GLIBC_TUNABLES"
# What glibc is told by as well, each a choice of somebody's.
OTHERS = "MALLOC_"
KEPT = {
    # Older versions take no threshold this high for pieces that are mappings of their own, but
    # every version can have none of them.
    "glibc.malloc.mmap_max": 0,
    "glibc.malloc.trim_threshold": 2**32,  # so much may be free at the end of the heap
    "glibc.malloc.arena_max": 1,
}
VALUE = ":".join(f"{name}={value}" for name, value in KEPT.items())


def heap_settings(device: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a worker has in its environment for this; nothing on GPUs.

    A choice in the driver's environment is left alone.
    """
    is_chosen = any(name == VARIABLE or name.startswith(OTHERS) for name in environment)
    return {} if device != "cpu" or is_chosen else {VARIABLE: VALUE}


def spare_children(environment: MutableMapping[str, str] = os.environ) -> None:
    """In a worker, whose C library has read it: let what it starts have a heap as usual.

    Decoding processes and the mirror come and go with little, and their memory is watched.
    """
    if environment.get(VARIABLE) == VALUE:
        del environment[VARIABLE]
