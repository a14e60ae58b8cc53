import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.reading.fetch import MERGED_BYTES
from data_pipeline.reading.fetch import Fetcher
from data_pipeline.reading.fetch import merge
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.errors import StorageError
from system.foundation.settings.data import Fetching

CONTENT = random.Random(0).randbytes(3 * 2**20)


@pytest.fixture(params=["path", "file", "memory"])
def folder(request, tmp_path):
    """A folder's url in several kinds of storage, with a file `a` and a shorter one `b`."""
    urls = {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": "memory://fetch"}
    url = urls[request.param]
    storage.write_bytes(f"{url}/a", CONTENT)
    storage.write_bytes(f"{url}/b", CONTENT[:1000])
    yield url
    storage.remove(url)


def fetcher(said=None, **changes):
    on_stage = (lambda _: None) if said is None else said.append
    return Fetcher(Fetching(**({"attempts": 2, "backoff_s": 0.01} | changes)), on_stage)


def test_ranges_come_in_the_order_asked(folder):
    wanted = [
        (f"{folder}/a", 500_000, 10),
        (f"{folder}/b", 990, 10),
        (f"{folder}/a", 0, 100),
        (f"{folder}/a", 50, 100),
        (f"{folder}/a", 500_000, 10),
        (f"{folder}/b", 0, 0),
    ]
    reader = fetcher()
    expected = [CONTENT[start : start + length] for _, start, length in wanted]
    assert reader.ranges(wanted) == expected
    assert reader.ranges([]) == []
    reader.close()
    assert reader.ranges(wanted[:1]) == expected[:1]


def test_storage_is_not_asked_for_nothing():
    # S3 answers an empty range with the whole file: a shard's zero-byte image would stop a run.
    reader = fetcher()
    assert reader.ranges([("memory://fetch/not-even-there", 5, 0)]) == [b""]
    assert reader.counters["requests"] == 0


def test_a_whole_file(folder, monkeypatch):
    monkeypatch.setattr("data_pipeline.reading.fetch.MERGED_BYTES", 100_000)
    reader = fetcher(concurrency=3)
    assert reader.whole(f"{folder}/a", len(CONTENT)) == CONTENT
    assert [len(part) for part in reader.parts(f"{folder}/a", 250_000)] == [100_000] * 2 + [50_000]
    assert reader.whole(f"{folder}/b", 1000) == CONTENT[:1000]
    assert reader.whole(f"{folder}/b", 0) == b""


def test_a_missing_file_is_named(folder):
    with pytest.raises(DataError) as caught:
        fetcher().ranges([(f"{folder}/a", 0, 10), (f"{folder}/absent", 5, 10)])
    for part in (f"{folder}/absent: this shard is gone", "bytes 5-15", "pack again"):
        assert part in str(caught.value)


def test_a_file_that_ends_early_is_named(folder):
    with pytest.raises(StorageError, match=r"/b bytes 900-1100.*100") as caught:
        fetcher().ranges([(f"{folder}/b", 900, 200)])
    assert folder in str(caught.value)


def test_a_local_file_that_is_none(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .* bytes 0-10: Is a directory"):
        fetcher().ranges([(str(tmp_path), 0, 10)])


@pytest.fixture
def locked(tmp_path):
    """A file that nobody but root may read."""
    (tmp_path / "a").touch(mode=0)
    return tmp_path


@pytest.mark.usefixtures("locked", "as_nobody")
def test_a_local_file_that_may_not_be_read(tmp_path):
    with pytest.raises(DataError, match="bytes 0-10 may not be read"):
        fetcher().ranges([(f"{tmp_path}/a", 0, 10)])


def test_what_is_waited_for_is_said(folder):
    said = []
    fetcher(said).ranges([(f"{folder}/a", 7, 3), (f"{folder}/a", 2_000_000, 3)])
    [text] = said
    assert text.startswith(f"reading {folder}/a bytes 7-10 and 1 more ranges")


def test_close_ranges_share_a_request():
    reader = fetcher(gap_bytes=100)
    storage.write_bytes("memory://close/a", CONTENT)
    wanted = [("memory://close/a", start, 50) for start in (0, 150, 301, 310)]
    assert reader.ranges(wanted) == [CONTENT[start : start + 50] for _, start, _ in wanted]
    assert reader.counters["requests"] == 2  # 0-200 and 301-360
    assert reader.counters["bytes"] == 200 + 59
    storage.remove("memory://close")


ranges = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 3 * MERGED_BYTES),
    st.one_of(st.integers(0, 1000), st.integers(0, 2 * MERGED_BYTES)),
)


@given(wanted=st.lists(ranges, max_size=20), gap=st.sampled_from([0, 100, 10**9]))
def test_merged_spans_hold_what_is_wanted_and_little_else(wanted, gap):
    merged = merge(wanted, gap)
    assert sorted(index for _, members in merged for index in members) == list(range(len(wanted)))
    for span, members in merged:
        pieces = sorted((wanted[index][1], sum(wanted[index][1:])) for index in members)
        assert {wanted[index][0] for index in members} == {span.url}
        assert span.start == pieces[0][0]
        assert span.stop == max(stop for _, stop in pieces)
        longest = max(stop - start for start, stop in pieces)
        assert span.stop - span.start <= max(MERGED_BYTES, longest)
        reached = span.start
        for start, stop in pieces:
            assert start - reached <= gap
            reached = max(reached, stop)
