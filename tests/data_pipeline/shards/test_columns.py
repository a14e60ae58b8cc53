import itertools
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_pipeline.shards.columns import ColumnFile
from data_pipeline.shards.columns import Keys
from data_pipeline.shards.columns import ShardIndex
from data_pipeline.shards.columns import digest_of
from data_pipeline.shards.columns import encode
from system.foundation.errors import DataError
from tests.data_pipeline.manifests import make_index

COLUMNS = ("labels", "offsets", "lengths", "digests")


def index_of(rows):
    columns = list(zip(*rows, strict=True))
    kinds = (np.int32, np.int64, np.int64, np.uint64)
    numbers = (np.array(each, kind) for each, kind in zip(columns[1:], kinds, strict=True))
    return ShardIndex(columns[0], *numbers)


def rows_of(index):
    return list(zip(index.keys, *(getattr(index, name).tolist() for name in COLUMNS), strict=True))


def ints(bits, *, signed=True):
    half = 2 ** (bits - 1)
    return st.integers(-half, half - 1) if signed else st.integers(0, 2**bits - 1)


ROWS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        ints(32),
        ints(64),
        ints(64),
        ints(64, signed=False),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small file of three shards, and the digests of their rows."""
    indices = [make_index(first, 4 + first) for first in range(3)]
    path = tmp_path_factory.mktemp("columns") / "x.parquet"
    path.write_bytes(encode(b"the head", indices))
    return path, [index.digest for index in indices]


@settings(max_examples=60, deadline=None)
@given(shards=st.lists(ROWS, max_size=4), head=st.binary(max_size=30))
def test_what_is_written_is_read(tmp_path_factory, shards, head):
    indices = [index_of(rows) for rows in shards]
    content = encode(head, indices)
    assert encode(head, indices) == content
    path = tmp_path_factory.getbasetemp() / "written.parquet"
    path.write_bytes(content)
    file = ColumnFile(path, "there")
    assert file.head == head
    assert file.rows == [len(rows) for rows in shards]
    read = [file.index(number, index.digest) for number, index in enumerate(indices)]
    assert [rows_of(each) for each in read] == shards
    assert [each.digest for each in read] == [each.digest for each in indices]
    labels = file.labels(range(len(shards)))
    assert labels.tolist() == [row[1] for rows in shards for row in rows]
    assert encode(head, read) == content


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, other=ROWS)
def test_the_digest_tells_rows_apart(rows, other):
    assert (index_of(rows).digest == index_of(other).digest) == (rows == other)


@given(rows=ROWS, data=st.data())
def test_every_field_of_every_row_counts(rows, data):
    row, field = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 4))
    changed = [list(each) for each in rows]
    value = changed[row][field]
    changed[row][field] = f"{value}x" if field == 0 else int(value) ^ 1
    assert index_of(changed).digest != index_of(rows).digest


def test_keys_that_run_together_are_told_apart():
    index = index_of([("ab", 0, 0, 0, 0), ("c", 0, 0, 0, 0)])
    assert replace(index, keys=("a", "bc")).digest != index.digest


def test_keys_are_a_sequence_of_text():
    keys = Keys.of(("a", "ß", "", "d/e"))
    assert (len(keys), keys[1], keys[-1], keys[1:3]) == (4, "ß", "d/e", ("ß", ""))
    assert list(keys) == ["a", "ß", "", "d/e"]
    assert "ß" in keys
    assert keys.index("d/e") == 3
    with pytest.raises(IndexError):
        keys[4]
    with pytest.raises(UnicodeEncodeError):
        Keys.of(["\udcff"])


def test_a_cut_file_is_told_at_every_cut(written, tmp_path):
    whole = written[0].read_bytes()
    for kept in range(len(whole)):
        path = tmp_path / "cut"
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=rf"shown: damaged manifest, in a file of {kept} bytes"):
            ColumnFile(path, "shown")


def test_a_changed_byte_is_told_or_changes_nothing(written, tmp_path):
    path, digests = written
    whole, first = path.read_bytes(), ColumnFile(path, "shown")
    expected = [rows_of(first.index(number, digest)) for number, digest in enumerate(digests)]
    messages = []
    for place in range(0, len(whole), 3):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            file = ColumnFile(damaged, "shown")
            rows = [rows_of(file.index(n, digest)) for n, digest in enumerate(digests)]
            assert rows == expected
        except DataError as problem:
            messages.append(str(problem))
    assert len(messages) > len(whole) / 6
    assert all("shown: " in message for message in messages)


def test_labels_that_were_damaged_are_told(tmp_path):
    index = make_index(0, 400)
    content = bytearray(encode(b"h", [index]))
    path = tmp_path / "x"
    path.write_bytes(content)
    chunk = pq.read_metadata(path).row_group(0).column(1)
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged rows of shard 0"):
        ColumnFile(path, "shown").labels([0])


def test_rows_with_other_digests_than_expected(written):
    path, digests = written
    file = ColumnFile(path, "shown")
    with pytest.raises(DataError, match="changed or damaged"):
        file.index(0, digests[1])
    assert len(file.index(0, digests[0])) == 4


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"image": [b"x"], "label": [1]}),
        pa.table({"key": ["a"], "label": [1], "offset": [1], "length": [1], "digest": [1]}),
    ],
)
def test_a_parquet_file_of_something_else(tmp_path, table):
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no manifest of shards"):
        ColumnFile(tmp_path / "x.parquet", "shown")


def test_columns_that_are_added_later_are_passed_over(written, tmp_path):
    table = pq.read_table(written[0])
    schema = table.schema.append(pa.field("width", pa.int32()))
    wider = pa.Table.from_arrays(
        [*table.columns, pa.array([7] * len(table), pa.int32())], schema=schema
    )
    path = tmp_path / "wider"
    with pq.ParquetWriter(path, schema) as writer:
        writer.write_table(wider, row_group_size=4)
        writer.add_key_value_metadata({"manifest": "h"})
    assert rows_of(ColumnFile(path, "p").index(0, written[1][0])) == rows_of(make_index(0, 4))


def test_threads_and_forked_processes_share_an_open_file(written):
    path, digests = written
    file = ColumnFile(path, "shown")
    expected = rows_of(make_index(2, 6))

    def read(_):
        return rows_of(file._read(2, digests[2])) == expected

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(200)))
    child = os.fork()
    if child == 0:
        os._exit(0 if all(map(read, range(50))) else 1)
    assert all(map(read, range(50)))
    assert os.waitpid(child, 0)[1] == 0
    assert rows_of(pickle.loads(pickle.dumps(file)).index(2, digests[2])) == expected


def test_an_open_file_may_be_removed_or_replaced(written, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(written[0].read_bytes())
    file = ColumnFile(path, "shown")
    assert file.is_in_place()
    other = tmp_path / "y"
    other.write_bytes(encode(b"another head", [make_index(first, 4 + first) for first in range(3)]))
    other.replace(path)
    assert not file.is_in_place()
    path.unlink()
    assert not file.is_in_place()
    assert len(file.index(1, written[1][1])) == 5


def test_the_rows_of_few_shards_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipeline.shards.columns._KEPT_ROWS", 20)
    monkeypatch.setattr("data_pipeline.shards.columns._KEPT_SHARDS", 3)
    indices = [make_index(number, 5) for number in range(9)]
    path = tmp_path / "x"
    path.write_bytes(encode(b"h", indices))
    file = ColumnFile(path, "shown")
    read = [file.index(number, each.digest) for number, each in enumerate(indices)]
    assert [
        file.index(number, indices[number].digest) is read[number] for number in (8, 7, 6, 5, 4)
    ] == [True] * 4 + [False]


def test_reading_imports_neither_pandas_nor_torch(written):
    program = (
        "import sys; from pathlib import Path; import data_pipeline.shards.manifest;"
        "from data_pipeline.shards.columns import ColumnFile;"
        f"f = ColumnFile(Path({str(written[0])!r}), 'x');"
        f"f.index(0, {written[1][0]!r}); f.labels([0, 1, 2]);"
        "print(sorted({'pandas', 'torch', 'ray', 'webdataset'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_digest_is_of_the_set_and_adds_up():
    keys = ["a", "b", "c", "b"]
    assert len({digest_of(order) for order in itertools.permutations(keys)}) == 1
    assert digest_of(keys) == (digest_of(keys[:1]) + digest_of(keys[1:])) % 2**64
    assert digest_of(keys) != digest_of(["a", "b", "c"])
    assert digest_of([]) == 0
