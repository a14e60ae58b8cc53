"""The batches of one rank, one after the other, with the account of what it met on the way."""

import itertools
from collections.abc import Iterator

import torch

from data_pipeline.decoding.host_batches import HostBatches
from data_pipeline.stream.account import Account
from data_pipeline.stream.placement import place
from system.foundation.cursor import Cursor
from system.foundation.errors import TrainingSystemError
from system.foundation.nouns import Batch


class Stream(Iterator[tuple[Batch, Cursor]]):
    """Endless micro-batches of one rank, and the account of what it met on the way."""

    def __init__(
        self,
        batches: HostBatches,
        cursors: Iterator[Cursor],
        account: Account,
        *,
        samples_per_epoch: int,
        device: torch.device,
    ) -> None:
        self.account = account
        self.samples_per_epoch = samples_per_epoch
        self._batches = batches
        self._placed = place(batches, device)
        self._cursors = cursors

    def __next__(self) -> tuple[Batch, Cursor]:
        """The next micro-batch. Raises DataError past `data.max_bad_fraction`."""
        try:
            placed = next(self._placed)
            self.account.add(placed.host)
        except TrainingSystemError:
            self.close()
            raise
        count = len(placed.label)
        position = torch.arange(placed.host.start, placed.host.start + count)
        key = tuple(itertools.chain.from_iterable(part.keys for part in placed.host.parts))
        batch = Batch(placed.image, placed.label, position, key, placed.features)
        return batch, next(self._cursors)

    @property
    def processes(self) -> list[int]:
        """The identifiers of the decoding processes that live."""
        return self._batches.processes

    def close(self) -> None:
        """End the decoding processes now, not when this stream happens to be collected."""
        self._batches.close()
