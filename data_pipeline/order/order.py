"""Which sample stands at which position of the training stream: a pure function, computed locally.

Position n belongs to epoch n // samples. In each epoch the shards are shuffled, cut into windows of
`window_shards`, and the samples of a window are shuffled together. Nothing depends on ranks, so the
same global batch is cut for any world size, and an epoch's last partial batch runs into the next.
A `Choice` may leave samples out of an epoch or repeat them; they stay in their shards' windows.

    order = Order(shard_samples=[100, 80], seed=0, window_shards=2)
    order.samples(350, 354)  # four manifest indices from epoch 1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from data_pipeline.order.selection import Choice
from system.foundation.philox import generator

_KEPT_WINDOWS = 2  # the current one, and the one that a batch across its edge also needs


@dataclass(frozen=True, slots=True)
class _Epoch:
    """The shuffled shards of one epoch, and where each window starts among its samples."""

    shards: Int64[np.ndarray, "shards"]
    starts: Int64[np.ndarray, "window_bounds"]
    chosen: Int64[np.ndarray, "samples"] | None  # in the manifest's order; None for all
    first: Int64[
        np.ndarray, "shard_bounds"
    ]  # where each shard's samples begin among the chosen ones


class Order:
    """Positions of the stream to indices in the manifest's own order. O(window) memory.

    (With a choice, O(samples of the split): eight bytes for each.)
    """

    def __init__(
        self,
        shard_samples: Sequence[int],
        seed: int,
        window_shards: int,
        choice: Choice | None = None,
    ) -> None:
        self._first = np.concatenate([[0], np.cumsum(np.asarray(shard_samples, np.int64))])
        self._choice = choice
        self.samples_per_epoch = (
            int(self._first[-1]) if choice is None else choice.samples_per_epoch
        )
        assert self.samples_per_epoch > 0, (
            "an order needs samples; manifests without any are refused"
        )
        self._seed = seed
        self._window_shards = window_shards
        self._windows_per_epoch = -(-len(shard_samples) // window_shards)
        self._epochs: dict[int, _Epoch] = {}
        self._windows: dict[tuple[int, int], np.ndarray] = {}

    def samples(self, start: int, stop: int) -> Int64[np.ndarray, "positions"]:
        """The manifest indices of the samples at positions start … stop-1."""
        pieces = [np.empty(0, np.int64)]
        while start < stop:
            epoch, within = divmod(start, self.samples_per_epoch)
            starts = self._epoch(epoch).starts
            window = int(np.searchsorted(starts, within, side="right")) - 1
            first = within - int(starts[window])
            piece = self._window(epoch, window)[first : first + stop - start]
            pieces.append(piece)
            start += len(piece)
        return np.concatenate(pieces)

    def _epoch(self, epoch: int) -> _Epoch:
        if epoch not in self._epochs:
            chosen, first = None, self._first
            if self._choice is not None:
                chosen = self._choice.epoch(epoch)
                first = np.searchsorted(chosen, self._first)
            shards = _permutation(self._seed, "order/shards", epoch, len(first) - 1)
            ends = np.cumsum(np.diff(first)[shards])
            last = np.append(ends[self._window_shards - 1 :: self._window_shards], ends[-1])
            starts = np.concatenate([[0], last[: self._windows_per_epoch]])
            _remember(self._epochs, epoch, _Epoch(shards, starts, chosen, first))
        return self._epochs[epoch]

    def _window(self, epoch: int, window: int) -> Int64[np.ndarray, "samples"]:
        if (epoch, window) not in self._windows:
            begun = self._epoch(epoch)
            shards = begun.shards[window * self._window_shards :][: self._window_shards]
            places = np.concatenate(
                [np.arange(begun.first[s], begun.first[s + 1], dtype=np.int64) for s in shards]
            )
            samples = places if begun.chosen is None else begun.chosen[places]
            place = epoch * self._windows_per_epoch + window
            shuffled = samples[_permutation(self._seed, "order/window", place, len(samples))]
            _remember(self._windows, (epoch, window), shuffled)
        return self._windows[epoch, window]


def _permutation(seed: int, stream: str, position: int, length: int) -> Int64[np.ndarray, "length"]:
    # Raw Philox words are the same in every release of numpy; Generator.permutation need not be.
    words = generator(seed, stream, position).bit_generator.random_raw(length)
    return np.argsort(words, kind="stable")


def _remember(kept: dict[Any, Any], key: Any, value: Any) -> None:
    while len(kept) >= _KEPT_WINDOWS:
        del kept[next(iter(kept))]
    kept[key] = value
