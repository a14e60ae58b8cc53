"""What a checkpoint costs the loop: beside a bare copy of the state and DeepSpeed's own save.

One worker on one core. On a CPU the copy out of device memory is one from memory to memory; the
state at the digits recipe's size is small enough that what a save does beside the copy shows, and
once more with a wider flow, where the copy is all that counts.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.child import in_child
from tests.benchmarks.parts.published import published
from tests.benchmarks.parts.saving import Found
from tests.benchmarks.parts.saving import time_saving
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_most

MB, MS = 1e6, 1e3
PUBLISHED = "simflow_256"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int = 25
    updates: int = 20
    wide_rounds: int = 7
    settings: tuple[str, ...] = ()
    wide: tuple[str, ...] = ("flow.width=768", "flow.depths=[1, 1, 2]", "run.global_batch=16")


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows, about two minutes on two cores and 2 GB in the temporary folder."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        place = Path(folder)
        small = in_child(time_saving, place, scale.settings, scale.rounds, scale.updates, cores=1)
        yield from _rows("digits", small)
        yield from _share("digits", small.hold, small.updates_between * small.update)
        wide = (*scale.settings, *scale.wide)
        large = in_child(time_saving, place, wide, scale.wide_rounds, 1, cores=1)
        yield from _rows("wider flow", large)
    size, rate = published(PUBLISHED), large.held_bytes / large.worked
    yield Row(f"{PUBLISHED}: held by one worker", size.held_bytes / MB, "MB")
    yield Row(f"{PUBLISHED}: update at the peak of its GPUs", MS * size.least_update_s, "ms")
    yield from _share(PUBLISHED, size.held_bytes / rate, size.updates_between * size.least_update_s)


def _rows(name: str, found: Found) -> Iterator[Row]:
    yield Row(f"{name}: state held", found.held_bytes / MB, "MB")
    yield Row(f"{name}: state cloned", found.copied_bytes / MB, "MB")
    yield Row(f"{name}: the loop stands still", MS * found.hold, "ms")
    yield Row(f"{name}: of that, on its core", MS * found.worked, "ms")
    yield Row(f"{name}: bare copy of the state", MS * found.copy, "ms")
    yield Row(f"{name}: DeepSpeed's save_checkpoint", MS * found.deepspeed, "ms")
    yield Row(f"{name}: stands still / bare copy", found.hold / found.copy, "x", at_most(1.2))
    yield Row(f"{name}: save_checkpoint / stands still", found.deepspeed / found.hold, "x")
    yield Row(f"{name}: background, to the local disk", MS * found.write, "ms")
    yield Row(f"{name}: background, digests and upload", MS * found.upload, "ms")
    yield Row(f"{name}: update", MS * found.update, "ms")


def _share(name: str, held_s: float, interval_s: float) -> Iterator[Row]:
    yield Row(f"{name}: share of the time between two", 100 * held_s / interval_s, "%", at_most(1))
