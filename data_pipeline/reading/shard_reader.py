"""From samples' numbers to their encoded bytes, each verified by the digest taken when packed.

Small shards are kept whole in memory; of large ones only the bytes of the samples are asked for,
all shards of a call at once; where there is a disk cache, both come through it. A sample whose
bytes are not those that were packed is a bad sample, never silently other pixels.
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
from data_pipeline.reading.disk_cache import ShardCache
from data_pipeline.reading.disk_cache import StoredShard
from data_pipeline.reading.fetch import Fetcher
from data_pipeline.shards.manifest import Manifest
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.data import Data
from system.foundation.settings.data import DiskCache

SHARD_CACHE_BYTES = 64 * 2**20  # of whole shards, per process

_log = logging.getLogger(__name__)


_Judged = tuple[bytes, bool]  # and whether they are those that were packed


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is wanted of one shard: rows of the answer, and the bytes and digest of each."""

    number: int
    shard: StoredShard
    rows: list[int]
    spans: list[tuple[int, int]]  # first byte, number of bytes
    digests: Sequence[int | str]  # of samples, or of a whole shard


class ShardReader:
    """The encoded images of any samples of a manifest. Each process makes its own."""

    def __init__(
        self, manifest: Manifest, data: Data, on_stage: Callable[[str], None] = lambda _: None
    ) -> None:
        self._manifest = manifest
        self._fetcher = Fetcher(data.fetching, on_stage)
        self._whole_bytes = SHARD_CACHE_BYTES // data.window_shards  # so that a window fits
        self._kept: OrderedDict[int, _Judged] = OrderedDict()
        self._cache: ShardCache | None = None
        if data.cache.folder is not None:
            check_cache(manifest, data.cache)
            self._cache = ShardCache(data.cache, self._fetcher)

    @property
    def counters(self) -> Counter[str]:
        """What reading took so far: requests, retries, hedges, bytes … of fetcher and cache."""
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
            (small if piece.shard.size <= self._whole_bytes else large).append(piece)
        for group in _groups(small):
            self._keep(group)
            for piece in group:
                _put(piece, _cut(piece, *self._kept[piece.number]), found)
        for piece, judged in zip(large, self._read(large), strict=True):
            _put(piece, judged, found)
        return found

    def _pieces(self, samples: Int[np.ndarray, "B"]) -> Iterator[_Piece]:
        first = self._manifest.first
        numbers = np.searchsorted(first, samples, side="right") - 1
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            within = samples[rows] - int(first[number])
            shard = self._manifest.shards[number]
            index = shard.index
            spans = zip(index.offsets[within].tolist(), index.lengths[within].tolist(), strict=True)
            url = storage.join(self._manifest.url, shard.name)
            yield _Piece(
                number=number,
                shard=StoredShard(url, shard.bytes, shard.digest),
                rows=rows.tolist(),
                spans=list(spans),
                digests=index.digests[within].tolist(),
            )

    def _keep(self, pieces: Sequence[_Piece]) -> None:
        """Have the whole shards of all pieces in memory."""
        missing = []
        for piece in pieces:
            if piece.number in self._kept:
                self._kept.move_to_end(piece.number)
            else:
                whole = [(0, piece.shard.size)]
                missing.append(_Piece(piece.number, piece.shard, [0], whole, [piece.shard.digest]))
        for piece, [(content, is_whole)] in zip(missing, self._read(missing), strict=True):
            if not is_whole:
                _log.warning("%s differs from its manifest", piece.shard.url)
            self._kept[piece.number] = (content, is_whole)
        held = sum(len(content) for content, _ in self._kept.values())
        while held > SHARD_CACHE_BYTES:
            held -= len(self._kept.popitem(last=False)[1][0])

    def _read(self, pieces: Sequence[_Piece]) -> list[list[_Judged]]:
        """What is wanted of each piece: from the disk cache, and the rest in one round."""
        cached = [self._read_cached(piece) for piece in pieces]
        missing = [piece for piece, found in zip(pieces, cached, strict=True) if found is None]
        wanted = [(piece.shard.url, *span) for piece in missing for span in piece.spans]
        contents = iter(self._fetcher.ranges(wanted))
        return [
            _judge(piece, [next(contents) for _ in piece.spans]) if found is None else found
            for piece, found in zip(pieces, cached, strict=True)
        ]

    def _read_cached(self, piece: _Piece) -> list[_Judged] | None:
        """From the disk cache. What is wrong there is read from storage, and judged again."""
        contents = None if self._cache is None else self._cache.read(piece.shard, piece.spans)
        if self._cache is None or contents is None:
            return None
        judged = _judge(piece, contents)
        wrong = [index for index, (_, is_right) in enumerate(judged) if not is_right]
        if not wrong:
            return judged
        again = self._fetcher.ranges([(piece.shard.url, *piece.spans[index]) for index in wrong])
        for index, data in zip(wrong, again, strict=True):
            contents[index] = data
        judged = _judge(piece, contents)
        if any(judged[index][1] for index in wrong):
            self._cache.discard(piece.shard)  # otherwise it is the shard that is wrong
        return judged


def check_cache(manifest: Manifest, cache: DiskCache) -> None:
    """Raise DataError where a disk cache has no room for the largest shard."""
    largest = max(manifest.shards, key=lambda shard: shard.bytes)
    if largest.bytes > cache.max_bytes:
        raise DataError(
            f"data.cache.max_bytes {cache.max_bytes} is less than the {largest.bytes} bytes of "
            f"{storage.join(manifest.url, largest.name)}. Allow room for a window of shards "
            "(data.window_shards) at least, or set data.cache.folder to null."
        )


def _groups(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces whose shards fit in memory together."""
    group: list[_Piece] = []
    held = 0
    for piece in pieces:
        if group and held + piece.shard.size > SHARD_CACHE_BYTES:
            yield group
            group, held = [], 0
        group.append(piece)
        held += piece.shard.size
    if group:
        yield group


def _cut(piece: _Piece, content: bytes, is_whole: bool) -> list[_Judged]:
    """The samples of a piece out of the whole shard."""
    contents = [content[start : start + length] for start, length in piece.spans]
    return [(data, True) for data in contents] if is_whole else _judge(piece, contents)


def _judge(piece: _Piece, contents: Sequence[bytes]) -> list[_Judged]:
    return [
        (data, _digest(data, expected) == expected)
        for data, expected in zip(contents, piece.digests, strict=True)
    ]


def _digest(data: bytes, expected: int | str) -> int | str:
    """The digest of a sample, or of a whole shard where that is expected."""
    if isinstance(expected, str):
        return xxhash.xxh3_128_hexdigest(data)
    return xxhash.xxh3_64_intdigest(data)


def _put(piece: _Piece, judged: Sequence[_Judged], found: list[bytes | BadSample]) -> None:
    """Each sample's bytes in its row, or the reason why they cannot be used."""
    for row, (data, is_right) in zip(piece.rows, judged, strict=True):
        found[row] = data if is_right else BadSample("bytes differ from those packed")
