"""What a run was trained on, in its ledger: intervals of positions with the digests of their keys.

`jobs/audit_run.py` proves from these events that every key was trained on once per epoch. An
interval ends wherever a checkpoint may be taken up, so what a crash undid is left out whole.
"""

from dataclasses import dataclass
from dataclasses import field
from itertools import groupby

import torch

from data_pipeline.order.order import Order
from data_pipeline.order.selection import choose
from data_pipeline.shards.columns import digest_of
from data_pipeline.stream.stream import Stream
from system.telemetry.ledger import Ledger
from system.train.state import TrainState


@dataclass(slots=True, eq=False)
class Consumption:
    """Writes the account of one attempt's stream. All workers must call `write` alike."""

    state: TrainState
    stream: Stream
    ledger: Ledger
    _start: int = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.state.progress.images_seen
        if self.state.world.is_first:
            self.ledger.write("stream_opened", images_seen=self._start, **self._identity())

    def write(self) -> None:
        """Account for what was consumed since the last call, or since the start."""
        stop, length = self.state.progress.images_seen, self.stream.samples_per_epoch
        self._write_counts()
        if stop == self._start:
            return
        own = self.stream.account.take_digests()
        epochs = range(self._start // length, (stop - 1) // length + 1)
        assert own.keys() <= set(epochs)
        # Sums modulo 2^64 are what two's complement gives.
        signed = [own.get(epoch, 0) - (own.get(epoch, 0) >> 63 << 64) for epoch in epochs]
        device = self.state.world.device
        totals = self.state.world.sum(torch.tensor(signed, dtype=torch.int64, device=device))
        if self.state.world.is_first:
            digests = {
                str(epoch): f"{total % 2**64:016x}"
                for epoch, total in zip(epochs, totals.tolist(), strict=True)
            }
            self.ledger.write("consumed", start=self._start, stop=stop, digests=digests)
        self._start = stop

    def pass_over(self, reason: str) -> None:
        """Account for the next global batch, and go on behind it without it."""
        self.write()
        start, progress = self._start, self.state.progress
        progress.images_seen = self._start = start + self.state.recipe.run.global_batch
        if self.state.world.is_first:
            keys = self._due(start, self._start)
            self.ledger.write(
                "positions_left_out",
                images_seen=self._start,
                start=start,
                stop=self._start,
                reason=reason,
                digests={
                    str(epoch): f"{digest_of(key for _, key in part):016x}"
                    for epoch, part in groupby(keys, lambda each: each[0])
                },
                keys=[key for _, key in keys],
            )

    def _due(self, start: int, stop: int) -> list[tuple[int, str]]:
        """The epoch and the key of each of the positions start … stop-1, out of the manifest."""
        recipe, manifest = self.state.recipe, self.state.manifest
        choice = choose(manifest, recipe.data.selection, recipe.run.seed)
        counts = [shard.samples for shard in manifest.shards]
        order = Order(counts, recipe.run.seed, recipe.data.window_shards, choice)
        samples = enumerate(order.samples(start, stop).tolist(), start)
        length = self.stream.samples_per_epoch
        return [(position // length, manifest.key(sample)) for position, sample in samples]

    def _write_counts(self) -> None:
        """What this worker's reading met: retries, restarts, images that simplejpeg refused."""
        counted = self.stream.account.counted
        if counted:
            seen, rank = self.state.progress.images_seen, self.state.world.rank
            self.ledger.write("data_counted", images_seen=seen, rank=rank, counted=dict(counted))
            counted.clear()

    def _identity(self) -> dict[str, object]:
        """Everything that the order of the images is a function of."""
        recipe, manifest = self.state.recipe, self.state.manifest
        return {
            "shards": manifest.url,
            "split": manifest.shards[0].split,
            "manifest_digest": manifest.digest,
            "keys_digest": f"{manifest.keys_digest:016x}",
            "samples": manifest.samples,
            "samples_per_epoch": self.stream.samples_per_epoch,
            "global_batch": recipe.run.global_batch,
            "seed": recipe.run.seed,
            "window_shards": recipe.data.window_shards,
            "selection": recipe.data.selection.model_dump(mode="json"),
        }
