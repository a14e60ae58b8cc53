"""Which worker is slowest, by the time that is its own: waiting for data, and forward passes.

The length of an update says nothing: gradients are summed over all workers, so all of them take as
long as the slowest. What comes before the first sum differs. (Under ZeRO-3 forward passes gather
weights, which hides a part of the difference.)
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from system.foundation.world import World


class Stopwatch:
    """Time that a device works on something: on a GPU by events in its queue, without waiting."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """What is within counts."""
        if self._device.type != "cuda":
            start = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - start
            return
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record(torch.cuda.current_stream(self._device))
        yield
        ended.record(torch.cuda.current_stream(self._device))
        self._events.append((began, ended))

    def seconds(self) -> float:
        """All of it; waits for the device where it has not come that far."""
        if self._events:
            self._events[-1][1].synchronize()
        passed_ms = sum(began.elapsed_time(ended) for began, ended in self._events)
        return self._seconds + passed_ms / 1000


def straggler(world: World, own_s: float) -> dict[str, float]:
    """Every worker's own seconds compared, as metrics; nothing of a world of one.

    One small collective, which all workers must take part in.
    """
    if world.size == 1:
        return {}
    mine = torch.zeros(world.size, dtype=torch.float64, device=world.device)
    mine[world.rank] = own_s
    return compared(world.sum(mine).tolist())


def compared(own_s: list[float]) -> dict[str, float]:
    """The slowest of several workers, and its time over the median of the others."""
    slowest = max(range(len(own_s)), key=own_s.__getitem__)
    others = [seconds for rank, seconds in enumerate(own_s) if rank != slowest]
    ratio = own_s[slowest] / max(1e-9, statistics.median(others))
    return {"throughput/straggler_ratio": ratio, "throughput/slowest_rank": float(slowest)}
