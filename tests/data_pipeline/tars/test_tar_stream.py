import itertools
import threading

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.tars.tar_stream import TarStream
from data_pipeline.tars.tar_stream import read_all
from system.foundation import storage
from system.foundation.errors import DataError


def cut(data, places):
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds)]


@given(
    data=st.binary(max_size=200),
    places=st.lists(st.integers(0, 200), max_size=8),
    starts=st.lists(st.integers(0, 200), max_size=10),
    draws=st.data(),
)
def test_any_forward_reads_of_any_parts(data, places, starts, draws):
    stream = TarStream("there", len(data), cut(data, places))
    for start in sorted(start % (len(data) + 1) for start in starts):
        length = draws.draw(st.integers(0, len(data) - start))
        assert stream.read(start, length) == data[start : start + length]
    assert stream.finish() == xxhash.xxh3_128_hexdigest(data)


def test_little_is_held():
    part = bytes(1000)
    stream = TarStream("there", 10**6, (part for _ in range(1000)))
    for start in range(0, 10**6, 500):
        stream.read(start, 500)
        assert len(stream._held) <= 2 * len(part)


def test_an_early_end_is_told():
    stream = TarStream("memory://x.tar", 100, [b"x" * 40])
    with pytest.raises(
        DataError, match=r"memory://x\.tar: ends at byte 40, expected 20 bytes from"
    ):
        stream.read(30, 20)


@pytest.mark.parametrize("root", ["path", "memory"])
def test_every_shard_in_order_several_at_one_time(root, tmp_path, capsys):
    url = str(tmp_path) if root == "path" else f"memory://{tmp_path.name}"
    sizes = {f"{number}.tar": 100 * number for number in range(6)}
    for name, size in sizes.items():
        storage.write_bytes(storage.join(url, name), name[:1].encode() * size)
    both = threading.Barrier(2)  # met by two threads only if two shards are read at one time

    def read(opened):
        if opened.name in ("0.tar", "1.tar"):
            both.wait(60)
        twice = [opened.stream().finish() for _ in range(2)]
        assert twice[0] == twice[1]
        return opened.name, opened.stream().read(0, opened.size)

    found = list(read_all(url, sizes, read, threads=2, title="reading"))
    assert found == [(name, name[:1].encode() * size) for name, size in sizes.items()]
    assert "reading" in capsys.readouterr().err


def test_a_log_gets_a_line_now_and_then(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("data_pipeline.tars.tar_stream.LINE_EVERY_S", 0.0)
    (tmp_path / "0.tar").write_bytes(bytes(5000))
    sizes = {"0.tar": 5000}
    list(read_all(str(tmp_path), sizes, lambda o: o.stream().finish(), threads=1, title="testing"))
    assert "testing: 0.0 of 0.0 GB" in capsys.readouterr().err


def test_a_problem_ends_it(tmp_path):
    sizes = {f"{number:03d}.tar": 1 for number in range(200)}
    for name in sizes:
        (tmp_path / name).write_bytes(b"x")
    begun = []

    def read(opened):
        begun.append(opened.name)
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        list(read_all(str(tmp_path), sizes, read, threads=1, title="reading"))
    assert len(begun) < len(sizes)


def test_a_shard_that_has_gone_is_told(tmp_path):
    with pytest.raises(DataError, match=r"0\.tar"):
        list(
            read_all(
                str(tmp_path), {"0.tar": 5}, lambda o: o.stream().finish(), threads=1, title="t"
            )
        )
