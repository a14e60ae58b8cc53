"""CUDA streams that one thread at a time is on, for work that shall go on beside other work.

torch takes its streams from 32 in a ring, so two that were asked for at different times can be one,
and what one thread starts there while another captures would become part of that one's graph. So
lanes are lent and given back: nobody is on one that somebody else is on, and as many exist as were
ever needed at once.

A process may capture one graph at a time, and torch's own context waits for the whole device before
it does. Here a capture waits for other captures alone: what other lanes compute goes on.
"""

from collections import Counter
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic
from typing import TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)
Thing = TypeVar("Thing")

MOST = 32  # streams of a device that torch hands out before it begins again with the first

_capturing = Lock()


class Lender(Generic[Key, Thing]):
    """Things that are made for a key when none is idle, and lent to one at a time."""

    def __init__(self, make: Callable[[Key], Thing], most: int) -> None:
        self._make = make
        self._most = most
        self._idle: dict[Key, list[Thing]] = defaultdict(list)
        self._made: Counter[Key] = Counter()
        self._lock = Lock()

    @contextmanager
    def lent(self, key: Key) -> Iterator[Thing]:
        """One of the key's things, which nobody else has meanwhile."""
        thing = self._taken(key)
        try:
            yield thing
        finally:
            with self._lock:
                self._idle[key].append(thing)

    def _taken(self, key: Key) -> Thing:
        with self._lock:
            if self._idle[key]:
                return self._idle[key].pop()
            assert self._made[key] < self._most, f"more than {self._most} of {key} at once"
            thing = self._make(key)
            self._made[key] += 1
            return thing


class Lane:
    """A stream, and the memory that graphs captured on it use one after the other."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self._last: torch.cuda.CUDAGraph | None = None

    def captured(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """The step as a graph, not run yet. It may be replayed until the next one is captured.

        Call it on the lane, after the step has run there once: a graph may not be the first to use
        a library. The last graph keeps its memory for the next, which takes it over.
        """
        graph = torch.cuda.CUDAGraph()
        with _capturing:
            # Other threads may do meanwhile what a graph may not hold, as to ask for memory.
            graph.capture_begin(
                pool=None if self._last is None else self._last.pool(),
                capture_error_mode="thread_local",
            )
            try:
                step()
            finally:
                graph.capture_end()
        self._last = graph
        return graph


LANES = Lender(Lane, MOST)


@contextmanager
def own_lane(device: torch.device) -> Iterator[Lane]:
    """A lane of this CUDA device, which this thread is on meanwhile and no other.

    It waits for nothing and nothing waits for it: that is for the caller to say, who knows what is
    read and written there.
    """
    with LANES.lent(device) as lane, torch.cuda.stream(lane.stream):
        yield lane
