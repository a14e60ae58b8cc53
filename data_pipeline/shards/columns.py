"""The columns of a manifest: one row per sample in a Parquet file, one row group per shard.

Opening reads the footer alone; the rows of a shard are read when they are asked for, checked
against the digest that the footer's head gives for them, and a few shards' rows are kept.
"""

import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from functools import lru_cache
from pathlib import Path
from typing import Any
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from jaxtyping import Int32
from jaxtyping import Int64
from jaxtyping import UInt64

from system.foundation.errors import DataError

_HEAD = b"manifest"
_KEPT_ROWS = 2**17  # of the shards read last, as many as have these; but at least _KEPT_SHARDS
_KEPT_SHARDS = 16
_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("digest", pa.uint64(), nullable=False),
    ]
)
_KINDS = tuple(np.dtype(kind) for kind in ("<i4", "<i8", "<i8", "<u8"))  # all but the keys
_COPY_AGAIN = "Copy it again from where it was packed, or index or pack again into another folder."


class Keys(Sequence[str]):
    """Keys as one stretch of UTF-8: a key becomes an object only when it is asked for."""

    def __init__(self, text: bytes, bounds: Int32[np.ndarray, "bounds"]) -> None:
        self.text = text
        self.bounds = bounds

    @classmethod
    def of(cls, keys: Sequence[str]) -> "Keys":
        """The same keys, packed. Raises UnicodeEncodeError for what is no UTF-8."""
        if isinstance(keys, Keys):
            return keys
        encoded = [key.encode() for key in keys]
        bounds = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
        return cls(b"".join(encoded), bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        if isinstance(row, slice):
            return tuple(self[each] for each in range(len(self))[row])
        row = range(len(self))[row]  # so that -1 is the last, and what is outside an IndexError
        return self.text[self.bounds[row] : self.bounds[row + 1]].decode()


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The rows of one shard: what its samples are called, what they show, where their bytes lie."""

    keys: Sequence[str]
    labels: Int32[np.ndarray, "samples"]
    offsets: Int64[np.ndarray, "samples"]
    lengths: Int64[np.ndarray, "samples"]
    digests: UInt64[np.ndarray, "samples"]  # xxh3-64 of each image's bytes

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def digest(self) -> str:
        """xxh3-128 of all columns, hexadecimal."""
        keys = Keys.of(self.keys)
        state = xxhash.xxh3_128(keys.text)
        for column in (keys.bounds, self.labels, self.offsets, self.lengths, self.digests):
            state.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()


def digest_of(keys: Iterable[str]) -> int:
    """The sum of the keys' xxh3-64 modulo 2^64: the same for any order and any cut of a set."""
    return sum(xxhash.xxh3_64_intdigest(key.encode()) for key in keys) % 2**64


def encode(head: bytes, indices: Iterable[ShardIndex]) -> bytes:
    """A Parquet file of these rows with `head` in its footer; the same bytes for the same rows."""
    target = pa.BufferOutputStream()
    with pq.ParquetWriter(
        target,
        _SCHEMA,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"offset": "DELTA_BINARY_PACKED", "length": "DELTA_BINARY_PACKED"},
        write_statistics=False,
        store_schema=False,
        write_page_checksum=True,
    ) as writer:
        for index in indices:
            assert len(index), "a shard without samples has no place in a manifest"
            writer.write_table(_to_table(index), row_group_size=len(index))
        writer.add_key_value_metadata({_HEAD: head})
    return bytes(target.getvalue())


class ColumnFile:
    """A local Parquet file of columns, open: its head at once, its rows when asked for.

    `place` is what messages call it. Raises DataError where it is no such file, or damaged. The
    file stays open, so it may be removed; threads and forked processes may share it.
    """

    def __init__(self, path: Path, place: str) -> None:
        self.path = path
        self._place = place
        with self._whole("damaged manifest"):
            self._file = pa.OSFile(str(path))
            self._metadata = pq.read_metadata(self._file)
            present = self._metadata.schema.to_arrow_schema()
            fits = all(_holds(present, field) for field in _SCHEMA)
            head = (self._metadata.metadata or {}).get(_HEAD)
        if head is None or not fits:
            raise DataError(
                f"{place}: a Parquet file, but no manifest of shards (columns {present.names}). "
                "Give the folder of the shards."
            )
        self.head: bytes = head
        self.rows = [
            self._metadata.row_group(number).num_rows
            for number in range(self._metadata.num_row_groups)
        ]
        kept = max(_KEPT_SHARDS, _KEPT_ROWS // max(self.rows, default=1))
        self._read_kept = lru_cache(maxsize=kept)(self._read)

    def __reduce__(self) -> tuple[Any, ...]:
        return ColumnFile, (self.path, self._place)

    def is_in_place(self) -> bool:
        """Whether the file at its path is still the one that is open."""
        try:
            with pa.OSFile(str(self.path)) as there:
                return bool(pq.read_metadata(there).equals(self._metadata))
        except (pa.ArrowException, OSError):
            return False

    def index(self, number: int, digest: str) -> ShardIndex:
        """The rows of one shard. Raises DataError where they have not the digest expected."""
        return self._read_kept(number, digest)

    def labels(self, numbers: Sequence[int]) -> Int32[np.ndarray, "samples"]:
        """The labels of these shards, from their column alone: page checksums guard it."""
        found = np.empty(sum(self.rows[number] for number in numbers), np.int32)
        start = 0
        for number in numbers:
            column = self._table(number, ["label"]).column(0)
            stop = start + len(column)
            found[start:stop] = _to_numpy(column, _KINDS[0])
            start = stop
        return found

    def _read(self, number: int, digest: str) -> ShardIndex:
        table = self._table(number, _SCHEMA.names)
        with self._whole(f"damaged rows of shard {number}"):
            index = _from_table(table)
        if index.digest != digest:
            raise DataError(
                f"{self._place}: the rows of shard {number} have digest {index.digest}, but the "
                f"manifest's head says {digest}: it was changed or damaged. {_COPY_AGAIN}"
            )
        return index

    def _table(self, number: int, columns: list[str]) -> pa.Table:
        with self._whole(f"damaged rows of shard {number}"):
            # A reader of its own for each call: cheap with the footer at hand, and safe in threads.
            reader = pq.ParquetFile(
                self._file,
                metadata=self._metadata,
                pre_buffer=False,
                page_checksum_verification=True,
            )
            table = reader.read_row_group(number, columns=columns, use_threads=False)
        if table.num_rows != self.rows[number]:
            raise DataError(
                f"{self._place}: shard {number} has {table.num_rows} rows, expected "
                f"{self.rows[number]}. {_COPY_AGAIN}"
            )
        return table

    @contextmanager
    def _whole(self, what: str) -> Iterator[None]:
        """Name the file in whatever pyarrow makes of its damage."""
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as problem:
            size = os.stat(self.path).st_size if self.path.exists() else 0
            raise DataError(
                f"{self._place}: {what}, in a file of {size} bytes ({type(problem).__name__}: "
                f"{problem}). {_COPY_AGAIN}"
            ) from problem


@dataclass(frozen=True, slots=True)
class RowGroup:
    """One shard's rows, still in their file."""

    file: ColumnFile
    number: int


def _holds(present: pa.Schema, field: pa.Field) -> bool:
    number = present.get_field_index(field.name)  # -1 where there is none, or more than one
    if number < 0:
        return False
    found = present.field(number)
    return bool(found.type == field.type and found.nullable == field.nullable)


# Arrow's own conversions import pandas, 35 MB in every process: its buffers are taken as they are.


def _to_table(index: ShardIndex) -> pa.Table:
    keys, count = Keys.of(index.keys), len(index)
    buffers = [None, pa.py_buffer(keys.bounds), pa.py_buffer(keys.text)]
    columns = [pa.Array.from_buffers(pa.string(), count, buffers)]
    numbers = (index.labels, index.offsets, index.lengths, index.digests)
    for field, kind, column in zip(list(_SCHEMA)[1:], _KINDS, numbers, strict=True):
        assert len(column) == count, "columns of one shard have one length"
        buffers = [None, pa.py_buffer(np.ascontiguousarray(column, kind))]
        columns.append(pa.Array.from_buffers(field.type, count, buffers))
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _from_table(table: pa.Table) -> ShardIndex:
    key, *numbers = (table.column(name) for name in _SCHEMA.names)
    columns = (_to_numpy(each, kind) for each, kind in zip(numbers, _KINDS, strict=True))
    return ShardIndex(_to_keys(key), *columns)


def _to_keys(column: pa.ChunkedArray) -> Keys:
    (chunk,) = column.chunks
    _, bounds, text = chunk.buffers()
    stored = np.frombuffer(bounds, "<i4")[chunk.offset : chunk.offset + len(chunk) + 1]
    held = b"" if text is None else memoryview(text)[stored[0] : stored[-1]].tobytes()
    return Keys(held, (stored - stored[0]).astype(np.int32))


def _to_numpy(column: pa.ChunkedArray, kind: np.dtype) -> np.ndarray:
    (chunk,) = column.chunks
    stored = np.frombuffer(chunk.buffers()[1], kind)[chunk.offset : chunk.offset + len(chunk)]
    return stored.astype(kind.newbyteorder("="))  # a copy, so that Arrow's page can go
