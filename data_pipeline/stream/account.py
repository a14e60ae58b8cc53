"""What a rank met in its stream: counts, bad samples with their reasons, and the bound on them."""

import logging
from collections import Counter
from collections.abc import Callable

from data_pipeline.decoding.assembly import Assembled
from data_pipeline.decoding.host_batches import HostBatch
from data_pipeline.decoding.image_reader import BadEntry
from data_pipeline.decoding.image_reader import mending
from data_pipeline.decoding.image_reader import too_many_bad
from data_pipeline.shards.manifest import Manifest
from system.foundation.errors import DataError
from system.foundation.settings.data import Data

_log = logging.getLogger(__name__)

OnBadSample = Callable[[BadEntry], None]


class Account:
    """Counts what a rank met; speaks up for each bad sample, and stops past the bound.

    The bound holds for a rank by itself here; for all of them together by `check`.
    """

    def __init__(self, manifest: Manifest, data: Data, on_bad_sample: OnBadSample | None) -> None:
        self.images = 0
        self.bad: Counter[str] = Counter()  # by reason
        self.counted: Counter[str] = Counter()  # decoder's refusals, requests, restarts, by name
        self._digests: Counter[int] = Counter()
        self._manifest = manifest
        self._data = data
        self._on_bad_sample = on_bad_sample or _log_bad_sample

    def add(self, batch: HostBatch) -> None:
        """Take a delivered batch into account. Raises DataError past `data.max_bad_fraction`."""
        self.counted.update({f"process {cause}": n for cause, n in batch.restarts.items()})
        for part in batch.parts:
            self._add(part)

    def take_digests(self) -> dict[int, int]:
        """Of the keys delivered since the last call, by epoch, as `shards.columns.digest_of`."""
        digests = {epoch: total % 2**64 for epoch, total in sorted(self._digests.items())}
        self._digests.clear()
        return digests

    def check(self, bad: int, images: int) -> None:
        """Raise DataError where all ranks together met more than `data.max_bad_fraction`.

        One rank of many reads few images, of which a single bad one would be a large share.
        """
        if self._is_too_many(bad, images):
            raise DataError(
                f"{self._manifest.url}: {bad} of {images} samples that all workers read cannot be "
                f"used (of this one: {dict(self.bad)}), more than data.max_bad_fraction "
                f"{self._data.max_bad_fraction} allows. The ledger's bad_sample events name them, "
                f"with url and byte range. {mending(self._data)}"
            )

    def _is_too_many(self, bad: int, images: int) -> bool:
        # An epoch's worth counts from the start, so that a few early ones may pass.
        return bad > self._data.max_bad_fraction * max(images, self._manifest.samples)

    def _add(self, part: Assembled) -> None:
        self.images += len(part.keys)
        self.counted.update(part.counted)
        self._digests.update(dict(part.digests))
        for entry in part.bad:
            self.bad[entry.reason] += 1
            self._on_bad_sample(entry)
            if self._is_too_many(self.bad.total(), self.images):
                raise too_many_bad(entry, self.bad.total(), self.images, self._data)


def _log_bad_sample(entry: BadEntry) -> None:
    _log.warning("bad sample %s at position %d: %s", entry.key, entry.position, entry.reason)
