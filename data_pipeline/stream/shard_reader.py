"""From samples' numbers to their encoded bytes, each verified by the digest taken when packed.

Small shards are kept whole in memory; of large ones only the bytes of the samples are asked for,
all shards of a call at once. A sample whose bytes are not those that were packed is a bad sample,
never silently other pixels.
"""

import logging
from collections import Counter
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from jaxtyping import Int

from data_pipeline.images.decode import BadSample
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import Shard
from data_pipeline.stream.fetch import Fetcher
from system.foundation import storage
from system.foundation.settings.data import Data

SHARD_CACHE_BYTES = 64 * 2**20  # of whole shards, per process

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Piece:
    """What is wanted of one shard: rows of the answer, and the bytes and digest of each."""

    number: int
    shard: Shard
    url: str
    rows: list[int]
    spans: list[tuple[int, int]]  # first byte, number of bytes
    digests: list[int]


class ShardReader:
    """The encoded images of any samples of a manifest. Each process makes its own."""

    def __init__(
        self, manifest: Manifest, data: Data, on_stage: Callable[[str], None] = lambda _: None
    ) -> None:
        self._manifest = manifest
        self._fetcher = Fetcher(data.fetching, on_stage)
        self._whole_bytes = SHARD_CACHE_BYTES // data.window_shards  # so that a window fits
        self._kept: OrderedDict[int, tuple[bytes, bool]] = OrderedDict()  # and whether it is whole

    @property
    def counters(self) -> Counter[str]:
        """What reading took so far: requests, retries, hedges, hedges_won, timeouts, bytes."""
        return self._fetcher.counters

    def close(self) -> None:
        """Forget the connections, and what is kept in memory."""
        self._fetcher.close()
        self._kept.clear()

    def read(self, sample: int) -> bytes:
        """The bytes of a sample's image. Raises BadSample where they are not those packed."""
        [data] = self.read_many(np.array([sample]))
        if isinstance(data, BadSample):
            raise data
        return data

    def read_many(self, samples: Int[np.ndarray, "B"]) -> list[bytes | BadSample]:
        """The bytes of each sample's image; the BadSample where they are not those packed.

        Raises DataError where a shard is missing or may not be read, StorageError where it cannot
        be read now or ends too early.
        """
        found: list[bytes | BadSample] = [b""] * len(samples)
        small: list[_Piece] = []
        large: list[_Piece] = []
        for piece in self._pieces(samples):
            (small if piece.shard.bytes <= self._whole_bytes else large).append(piece)
        for group in _groups(small):
            self._keep(group)
            for piece in group:
                content, is_whole = self._kept[piece.number]
                contents = [content[start : start + length] for start, length in piece.spans]
                if is_whole:
                    for row, data in zip(piece.rows, contents, strict=True):
                        found[row] = data
                else:
                    _judge(piece, contents, found)
        for piece, contents in zip(large, self._fetch(large), strict=True):
            _judge(piece, contents, found)
        return found

    def _pieces(self, samples: Int[np.ndarray, "B"]) -> Iterator[_Piece]:
        first = self._manifest.first
        numbers = np.searchsorted(first, samples, side="right") - 1
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            within = samples[rows] - int(first[number])
            shard = self._manifest.shards[number]
            offsets, lengths = shard.offsets[within].tolist(), shard.lengths[within].tolist()
            yield _Piece(
                number=number,
                shard=shard,
                url=storage.join(self._manifest.url, shard.name),
                rows=rows.tolist(),
                spans=list(zip(offsets, lengths, strict=True)),
                digests=shard.digests[within].tolist(),
            )

    def _keep(self, pieces: Sequence[_Piece]) -> None:
        """Have the whole shards of all pieces in memory."""
        missing = []
        for piece in pieces:
            if piece.number in self._kept:
                self._kept.move_to_end(piece.number)
            else:
                missing.append(piece)
        wanted = [(piece.url, 0, piece.shard.bytes) for piece in missing]
        for piece, content in zip(missing, self._fetcher.ranges(wanted), strict=True):
            is_whole = xxhash.xxh3_128_hexdigest(content) == piece.shard.digest
            if not is_whole:
                _log.warning("%s differs from its manifest", piece.url)
            self._kept[piece.number] = (content, is_whole)
        held = sum(len(content) for content, _ in self._kept.values())
        while held > SHARD_CACHE_BYTES:
            held -= len(self._kept.popitem(last=False)[1][0])

    def _fetch(self, pieces: Sequence[_Piece]) -> Iterator[list[bytes]]:
        wanted = [(piece.url, *span) for piece in pieces for span in piece.spans]
        contents = iter(self._fetcher.ranges(wanted))
        for piece in pieces:
            yield [next(contents) for _ in piece.spans]


def _groups(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces whose shards fit in memory together."""
    group: list[_Piece] = []
    held = 0
    for piece in pieces:
        if group and held + piece.shard.bytes > SHARD_CACHE_BYTES:
            yield group
            group, held = [], 0
        group.append(piece)
        held += piece.shard.bytes
    if group:
        yield group


def _judge(piece: _Piece, contents: Sequence[bytes], found: list[bytes | BadSample]) -> None:
    """Put each sample's bytes in its row, or the reason why they cannot be used."""
    for row, data, digest in zip(piece.rows, contents, piece.digests, strict=True):
        is_as_packed = xxhash.xxh3_64_intdigest(data) == digest
        found[row] = data if is_as_packed else BadSample("bytes differ from those packed")
