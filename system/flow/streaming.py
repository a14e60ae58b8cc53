"""Batch after batch through the blocks as through a pipeline: while one is in a late (shallow)
block, the next one is in an early (deep) one.

    for drawn in streamed(flow, batches, settings, in_flight=2): ...

A step of one token is small: on a GPU it leaves most of the device idle, on a CPU most cores. Each
batch is drawn by a thread of its own, on CUDA in a lane of its own, and the blocks have gates:
batches pass a block one at a time, in their order. What is drawn is bit for bit what `sampler.draw`
gives for each batch: nothing that a batch writes is another's, and noise belongs to the batch.

What this can win is bounded by the gates: with blocks that take times t_k, a batch every
max(t_k) in place of every sum(t_k). On CUDA the host is through with a block as soon as its work
is queued, so the device may have several batches in one block; nothing there depends on the order.

Memory: `in_flight` batches with the keys and values of a block each, at most; no two batches have
those of the same block (on CUDA: each lane keeps for itself what its largest block took).
"""

from collections import deque
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor

from system.flow.flow import Flow
from system.flow.lanes import own_lane
from system.flow.sampler import Drawn
from system.flow.sampler import Turn
from system.flow.sampler import draw
from system.foundation.settings.evaluation import Sampler


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch is drawn from; both on the flow's device."""

    noise: Float[Tensor, "B T D"]
    label: Int[Tensor, "B"] | None


def streamed(
    flow: Flow, batches: Iterable[Batch], settings: Sampler, *, in_flight: int
) -> Iterator[Drawn]:
    """`sampler.draw` of each batch, in order, with at most `in_flight` of them under way.

    At 1 there are no threads. Batches are asked for as room becomes free, in the caller's thread.
    What a batch raises is raised when its turn comes, after all before it were given. When the
    caller stops early, this returns once the blocks that are being drawn are through.
    """
    if in_flight == 1:
        for batch in batches:
            yield draw(flow, batch.noise, batch.label, settings)
        return
    pipeline = _Pipeline(flow, settings, Gates(len(flow.blocks)))
    under_way: deque[Future[_Queued]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="draw")
    try:
        for number, batch in enumerate(batches):
            under_way.append(pipeline.begun(pool, number, batch))
            if len(under_way) == in_flight:
                yield under_way.popleft().result().here()
        while under_way:
            yield under_way.popleft().result().here()
    finally:
        pipeline.gates.none_after(-1)
        pool.shutdown(cancel_futures=True)


class _Closed(Exception):
    """A batch that nobody waits for any more is at a gate."""


class Gates:
    """A gate before each block: batches pass one at a time, by their numbers from 0."""

    def __init__(self, blocks: int) -> None:
        self._passed = [0] * blocks  # batches that have left the block
        self._last: float = float("inf")  # the last batch that may enter one
        self._changed = Condition()

    def turn(self, number: int) -> Turn:
        """What the batch of this number enters each block by: it waits for those before it."""

        @contextmanager
        def through(block: int) -> Iterator[None]:
            with self._changed:
                self._changed.wait_for(lambda: number > self._last or self._passed[block] == number)
                if number > self._last:
                    raise _Closed
            yield
            with self._changed:
                self._passed[block] += 1
                self._changed.notify_all()

        return through

    def none_after(self, number: int) -> None:
        """Let none behind the batch of this number into a block any more."""
        with self._changed:
            self._last = min(self._last, number)
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Queued:
    """A drawn batch, on CUDA perhaps not computed yet."""

    drawn: Drawn
    computed: torch.cuda.Event | None

    def here(self) -> Drawn:
        """For use on the caller's stream."""
        if self.computed is not None:
            stream = torch.cuda.current_stream(self.drawn.tokens.device)
            stream.wait_event(self.computed)
            self.drawn.tokens.record_stream(stream)  # its memory is the lane's
        return self.drawn


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """What all batches have in common."""

    flow: Flow
    settings: Sampler
    gates: Gates

    def begun(self, pool: ThreadPoolExecutor, number: int, batch: Batch) -> Future[_Queued]:
        """The batch, given to a thread by the caller's."""
        # Kept for all batches: made here, so that no lane reads what another is still computing.
        self.flow.rotary(batch.noise)
        ready = None
        if batch.noise.is_cuda:
            ready = torch.cuda.current_stream(batch.noise.device).record_event()
        return pool.submit(self._drawn, number, batch, ready)

    def _drawn(self, number: int, batch: Batch, ready: torch.cuda.Event | None) -> _Queued:
        try:
            if ready is None:
                return _Queued(self._through_the_gates(number, batch), None)
            with own_lane(batch.noise.device) as lane:
                lane.stream.wait_event(ready)
                for given in (batch.noise, batch.label):
                    if given is not None:
                        given.record_stream(lane.stream)  # its memory is the caller's
                drawn = self._through_the_gates(number, batch)
                return _Queued(drawn, lane.stream.record_event())
        except BaseException:
            self.gates.none_after(number)
            raise

    def _through_the_gates(self, number: int, batch: Batch) -> Drawn:
        turn = self.gates.turn(number)
        return draw(self.flow, batch.noise, batch.label, self.settings, turn)
