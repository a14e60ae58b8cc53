"""Shared memory between one reader of batches and its decoding processes: slots, and who does what.

Each slot has room for one micro-batch: pixels as uint8 NHWC, labels, and features where there are
some. Rows are decoded straight into them. The memory is an unnamed file, so nothing is left behind
whoever dies; it does not count against `/dev/shm`. Beside the slots each process has a line that
says what it is at, for whoever waits for it.
"""

import math
import mmap
import os
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from jaxtyping import UInt8

from system.foundation.errors import ClusterError

LINE_BYTES = 512
_HEAD = 16  # the position being decoded and the time since when, before the text


@dataclass(frozen=True, slots=True)
class RingShape:
    """How many slots of how many rows, and the shape of a row."""

    slots: int
    rows: int
    size: int
    channels: int
    processes: int
    features: Sequence[Sequence[Any]] = ()  # name, shape of a row, and dtype of each

    @property
    def pixels(self) -> tuple[int, int, int, int, int]:
        """The shape of all pixels: slots, rows, height, width, channels."""
        return (self.slots, self.rows, self.size, self.size, self.channels)

    @property
    def bytes(self) -> int:
        """Bytes of the whole ring."""
        return self.features_at[-1] + math.prod(self.pixels)

    @property
    def labels_at(self) -> int:
        """Where the labels begin."""
        return LINE_BYTES * self.processes

    @property
    def features_at(self) -> tuple[int, ...]:
        """Where each feature's array begins, and where the last one ends."""
        bounds = [self.labels_at + 8 * self.slots * self.rows]
        for _, shape, dtype in self.features:
            size = self.slots * self.rows * int(np.prod(shape)) * np.dtype(dtype).itemsize
            bounds.append(bounds[-1] + size + -size % 8)  # so that whatever follows is aligned
        return tuple(bounds)


class Line(NamedTuple):
    """What a decoding process is at."""

    position: int  # of the stream, or NOWHERE
    since: float  # time.monotonic()
    text: str


class Ring:
    """The slots and lines, mapped into this process. `descriptor` opens it in another one.

    Raises ClusterError where the machine has not that much memory.
    """

    def __init__(self, shape: RingShape, descriptor: int | None = None) -> None:
        self.shape = shape
        if descriptor is None:
            _check_room(shape)
            descriptor = os.memfd_create("batches")
            os.ftruncate(descriptor, shape.bytes)
        self.descriptor = descriptor
        self._closing = weakref.finalize(self, os.close, descriptor)
        self.memory = mmap.mmap(descriptor, shape.bytes)
        count = shape.slots * shape.rows
        labels = np.frombuffer(self.memory, np.int64, count, shape.labels_at)
        self.labels: Int64[np.ndarray, "S B"] = labels.reshape(shape.slots, shape.rows)
        self.features: dict[str, np.ndarray] = {}
        for start, (name, row, dtype) in zip(shape.features_at, shape.features, strict=False):
            values = np.frombuffer(self.memory, dtype, count * int(np.prod(row)), start)
            self.features[name] = values.reshape(shape.slots, shape.rows, *row)
        pixels = np.frombuffer(self.memory, np.uint8, -1, shape.features_at[-1])
        self.pixels: UInt8[np.ndarray, "S B H W C"] = pixels.reshape(shape.pixels)

    def write_line(self, process: int, position: int, text: str) -> None:
        """Say what a process is at."""
        start = LINE_BYTES * process
        encoded = text.encode()[: LINE_BYTES - _HEAD].ljust(LINE_BYTES - _HEAD, b"\0")
        numbers = np.array([position, time.monotonic_ns()], np.int64).tobytes()
        self.memory[start : start + LINE_BYTES] = numbers + encoded

    def read_line(self, process: int) -> Line:
        """What a process is at, or was when it died."""
        start = LINE_BYTES * process
        line = bytes(self.memory[start : start + LINE_BYTES])
        position, since = np.frombuffer(line[:_HEAD], np.int64).tolist()
        text = line[_HEAD:].rstrip(b"\0").decode(errors="replace")
        return Line(position, since / 1e9, text)

    def close(self) -> None:
        """Close the descriptor, once; the memory goes with the last array that looks at it."""
        self._closing()


def _check_room(shape: RingShape) -> None:
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if shape.bytes > present:
        raise ClusterError(
            f"{shape.slots} batches of {shape.rows} images in shared memory take "
            f"{shape.bytes / 2**30:,.1f} GiB, and this machine has {present / 2**30:,.1f}. Lower "
            "data.prefetch, data.workers or cluster.micro_batch."
        )
