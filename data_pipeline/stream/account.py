"""What a rank met in its stream: counts, bad samples with their reasons, and the bound on them."""

import logging
from collections import Counter
from collections.abc import Callable

from data_pipeline.shards.manifest import Manifest
from data_pipeline.stream.assembly import Assembled
from data_pipeline.stream.host_batches import HostBatch
from data_pipeline.stream.reader import too_many_bad
from system.foundation.settings.data import Data
from system.foundation.world import World

_log = logging.getLogger(__name__)

OnBadSample = Callable[[str, str, int], None]  # its key, why, and the position it was to stand at


class Account:
    """Counts what a rank met; speaks up for each bad sample, and stops past the bound."""

    def __init__(
        self, manifest: Manifest, data: Data, world: World, on_bad_sample: OnBadSample | None
    ) -> None:
        self.images = 0
        self.bad: Counter[str] = Counter()  # by reason
        self.counted: Counter[str] = Counter()  # decoder's refusals, retries, restarts, by name
        self.keys_digest = 0  # of all keys delivered, as `assembly.digest_of`
        self._share = manifest.samples / world.size  # of an epoch, so that few early ones may pass
        self._data = data
        self._on_bad_sample = on_bad_sample or _log_bad_sample

    def add(self, batch: HostBatch) -> None:
        """Take a delivered batch into account. Raises DataError past `data.max_bad_fraction`."""
        self.counted.update({f"process {cause}": n for cause, n in batch.restarts.items()})
        for part in batch.parts:
            self._add(part)

    def _add(self, part: Assembled) -> None:
        self.images += len(part.keys)
        self.keys_digest = (self.keys_digest + part.keys_digest) % 2**64
        self.counted.update(part.counted)
        for entry in part.bad:
            self.bad[entry.reason] += 1
            self._on_bad_sample(entry.key, entry.reason, entry.position)
            if self.bad.total() > self._data.max_bad_fraction * max(self.images, self._share):
                raise too_many_bad(entry, self.bad.total(), self.images, self._data)


def _log_bad_sample(key: str, reason: str, position: int) -> None:
    _log.warning("bad sample %s at position %d: %s", key, position, reason)
