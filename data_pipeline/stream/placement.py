"""Micro-batches brought to the device, where their pixels become numbers in [-1, 1].

On a GPU the ring is pinned and copies run on a stream of their own, one micro-batch ahead of the
model where that one is decoded already.
"""

import weakref
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from jaxtyping import Int64
from torch import Tensor

from data_pipeline.decoding.host_batches import HostBatch
from data_pipeline.decoding.host_batches import HostBatches
from data_pipeline.decoding.host_batches import Pooled
from data_pipeline.decoding.ring import Ring
from system.foundation.errors import ClusterError


class Placed(NamedTuple):
    """A micro-batch on its device, and what is told of it."""

    image: Float[Tensor, "B C H W"]
    label: Int64[Tensor, "B"]
    host: HostBatch  # its arrays may hold other samples by now
    features: dict[str, Float[Tensor, "B ..."]]


class OnHost(Iterator[Placed]):
    """Micro-batches for a model on the CPU."""

    def __init__(self, batches: HostBatches) -> None:
        self._batches = batches

    def __next__(self) -> Placed:
        host = next(self._batches)
        image, label = torch.from_numpy(host.image), torch.from_numpy(host.label)
        features = {
            name: torch.from_numpy(array).to(torch.float32, copy=True)
            for name, array in host.features.items()
        }
        return Placed(normalised(image), label.clone(), host, features)


class OnGpu(Iterator[Placed]):
    """Micro-batches for a model on a GPU."""

    def __init__(self, batches: HostBatches, device: torch.device) -> None:
        self._batches = batches
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._copied = torch.cuda.Event()
        self._ahead: Placed | None = None
        if isinstance(batches, Pooled):
            _pin(batches.ring)

    def __next__(self) -> Placed:
        placed = self._ahead or self._copy()
        model = torch.cuda.current_stream(self._device)
        model.wait_event(self._copied)
        # The memory was taken on the copying stream and must not be given out again before the
        # model's has used it.
        for tensor in (placed.image, placed.label, *placed.features.values()):
            tensor.record_stream(model)
        self._ahead = self._copy() if self._batches.is_ready() else None
        return placed

    def _copy(self) -> Placed:
        self._copied.synchronize()  # the slot of the one before may be filled again from here on
        host = next(self._batches)
        with torch.cuda.stream(self._stream):
            image = torch.from_numpy(host.image).to(self._device, non_blocking=True)
            label = torch.from_numpy(host.label).to(self._device, non_blocking=True)
            features = {
                name: torch.from_numpy(array).to(self._device, non_blocking=True).float()
                for name, array in host.features.items()
            }
            placed = Placed(normalised(image), label, host, features)
            self._copied.record(self._stream)
        return placed


def place(batches: HostBatches, device: torch.device) -> Iterator[Placed]:
    """The micro-batches on a device."""
    return OnGpu(batches, device) if device.type == "cuda" else OnHost(batches)


def normalised(image: Tensor) -> Float[Tensor, "B C H W"]:
    """uint8 pixels `B H W C` as float32 in [-1, 1], channels first, where they lie."""
    first, layout = image.permute(0, 3, 1, 2), torch.contiguous_format
    return first.to(torch.float32, memory_format=layout).div_(127.5).sub_(1)


def _pin(ring: Ring) -> None:
    """Lock a ring's memory in place, so that copies from it need no copy before."""
    memory, runtime = np.frombuffer(ring.memory, np.uint8), torch.cuda.cudart()
    code = runtime.cudaHostRegister(memory.ctypes.data, memory.nbytes, 0)
    if int(code) == 0:
        weakref.finalize(ring, runtime.cudaHostUnregister, memory.ctypes.data)
    else:
        raise ClusterError(
            f"CUDA could not pin {memory.nbytes / 2**20:,.0f} MiB of host memory for batches "
            f"(error {int(code)}). Allow more locked memory (ulimit -l), or lower data.workers or "
            "data.prefetch."
        )
