"""What a scan of an archive found, kept so that a resumed pack need not scan again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.sources.archive import Member
from system.foundation import storage


@dataclass(frozen=True, slots=True)
class Found:
    """A member, and the archive inside the archive that it is in (empty: in none)."""

    inner: str
    member: Member


def fingerprint(url: str) -> str:
    """What changes when the file at `url` does: its size, and its store's mark of its version."""
    filesystem, path = storage.open_filesystem(url)
    return f"{url} {filesystem.info(path)['size']} {filesystem.ukey(path)}"


def save(place: str, mark: str, found: Sequence[Found]) -> None:
    """Write what was found in the archive of this fingerprint."""
    columns = {
        "inner": pa.array([each.inner for each in found], pa.string()).dictionary_encode(),
        # Names that are no UTF-8 hold surrogates, which only JSON's escapes can carry.
        "name": pa.array([json.dumps(each.member.name) for each in found], pa.string()),
        "start": pa.array([each.member.start for each in found], pa.int64()),
        "length": pa.array([each.member.length for each in found], pa.int64()),
        "is_file": pa.array([each.member.is_file for each in found], pa.bool_()),
    }
    table = pa.table(columns).replace_schema_metadata({"fingerprint": mark})
    target = pa.BufferOutputStream()
    pq.write_table(table, target)
    storage.write_bytes(place, target.getvalue().to_pybytes())


def load(place: str, mark: str) -> list[Found] | None:
    """What was kept at `place`; None where nothing was, or for another archive."""
    if not storage.exists(place):
        return None
    try:
        table = pq.read_table(pa.BufferReader(storage.read_bytes(place)))
        if (table.schema.metadata or {}).get(b"fingerprint") != mark.encode():
            return None
        columns = [table[name].to_pylist() for name in ("inner", "name", "start", "length")]
        kinds = table["is_file"].to_pylist()
    except (pa.ArrowException, KeyError):
        return None  # damaged: the scan makes it anew
    return [
        Found(inner, Member(json.loads(name), start, length, is_file))
        for inner, name, start, length, is_file in zip(*columns, kinds, strict=True)
    ]
