"""Python runs this as it starts, where a test has put this folder on the path of a Ray.

It shifts their clock by what stands in a shared file, and lets `tests.faults.shocks` reach the
loop.
"""

import mmap
import os
import struct
import sys
import time
from importlib.abc import Loader
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

LOOP = "system.train.loop"
FOLDER = os.environ.get("CHAOS_FOLDER", "")


def shift_the_clock(place: str) -> None:
    """Have `time.time` and `time.time_ns` read the seconds to add from a file that all share."""
    with open(place, "rb") as file:
        shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    clock = time.time
    time.time = lambda: clock() + struct.unpack("d", shared[:8])[0]
    time.time_ns = lambda: int(time.time() * 1e9)


class Watch(MetaPathFinder, Loader):
    """Lets shocks into the loop as soon as that is imported."""

    busy = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The loop's own spec, with its loader wrapped; none for anything else."""
        if name != LOOP or self.busy:
            return None
        self.busy = True
        try:
            spec = find_spec(name)
        finally:
            self.busy = False
        if spec is not None and spec.loader is not None:
            self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the loop's own loader."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """The loop, and then the shocks."""
        self.loader.exec_module(module)
        from tests.faults.shocks import let_in

        let_in(module, FOLDER)


if FOLDER:
    shift_the_clock(os.path.join(FOLDER, "clock"))
    sys.meta_path.insert(0, Watch())
