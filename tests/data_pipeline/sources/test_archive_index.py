from data_pipeline.sources.archive import Member
from data_pipeline.sources.archive_index import Found
from data_pipeline.sources.archive_index import fingerprint
from data_pipeline.sources.archive_index import load
from data_pipeline.sources.archive_index import save

FOUND = [
    Found("n01440764", Member("n01440764_1.JPEG", 1024, 100, True)),
    Found("", Member(b"\xff.txt".decode("utf-8", "surrogateescape"), 2**40, 0, False)),
]


def test_what_was_found_is_found_again(tmp_path):
    place = str(tmp_path / "train.parquet")
    assert load(place, "mark") is None
    save(place, "mark", FOUND)
    assert load(place, "mark") == FOUND
    save(place, "mark", [])
    assert load(place, "mark") == []


def test_but_not_for_another_archive_nor_from_a_damaged_file(tmp_path):
    place = tmp_path / "train.parquet"
    save(str(place), "mark", FOUND)
    assert load(str(place), "other") is None
    place.write_bytes(place.read_bytes()[:-20])
    assert load(str(place), "mark") is None


def test_an_archive_that_changed_has_another_fingerprint(tmp_path):
    path = tmp_path / "some.tar"
    path.write_bytes(b"one")
    first = fingerprint(str(path))
    assert fingerprint(str(path)) == first
    path.write_bytes(b"four")
    assert fingerprint(str(path)) != first
