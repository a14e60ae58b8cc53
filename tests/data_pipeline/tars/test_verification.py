import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import open_local
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import write_manifest
from data_pipeline.shards.shard import make_shard
from data_pipeline.tars.foreign import Indexing
from data_pipeline.tars.foreign import index_shards
from data_pipeline.tars.verification import Verification
from data_pipeline.tars.verification import verify
from system.foundation import storage
from system.foundation.errors import DataError
from tests.data_pipeline.manifests import rewrite

FIRST = "train-000000.tar"


def found(url, **options):
    return verify(Verification(url=str(url), **options)).findings


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def place_of(folder, key_row):
    shard = next(each for each in parse_manifest(str(folder)).shards if each.name == FIRST)
    index = shard.index
    return index.keys[key_row], int(index.offsets[key_row]), int(index.lengths[key_row])


def change_rows(folder, change):
    """Write the manifest again with other rows of its first training shard."""
    manifest = parse_manifest(str(folder))
    shards = list(manifest.shards)
    at = next(i for i, shard in enumerate(shards) if shard.name == FIRST)
    old = shards[at]
    index = old.index
    rows = {
        "keys": list(index.keys),
        **{
            name: getattr(index, name).copy()
            for name in ("labels", "offsets", "lengths", "digests")
        },
    }
    change(rows)
    shards[at] = make_shard(FIRST, old.split, old.bytes, old.digest, replace(index, **rows))
    write_manifest(replace(manifest, shards=tuple(shards)))


def test_all_is_well(digits_url, foreign_url, tmp_path):
    verified = verify(Verification(url=digits_url, report=str(tmp_path / "report.json")))
    assert verified.findings == ()
    assert "all is as the manifest says: 19 shards, 1797 samples" in verified.summary()
    assert json.loads((tmp_path / "report.json").read_text())["findings"] == []
    index_shards(Indexing(url=foreign_url, classes=3))
    assert found(foreign_url) == ()


def test_labels_of_a_field_are_read_again_as_they_were_indexed(foreign_url, tmp_path):
    (tmp_path / "names.txt").write_text("c\nb\na\n")
    names = str(tmp_path / "names.txt")
    index_shards(Indexing(url=foreign_url, class_names=names, label_field="class", image="jpg"))
    assert found(foreign_url) == ()


@pytest.mark.parametrize("threads", [1, 4])
def test_damaged_samples_are_named(digits_copy, threads):
    places = [place_of(digits_copy, row) for row in (3, 77)]
    for _, start, length in places:
        overwrite(digits_copy / FIRST, start + length // 2, b"\0\0\0\0")
    findings = found(digits_copy, threads=threads)
    assert [(each.shard, each.key, each.start, each.stop) for each in findings] == [
        (FIRST, key, start, start + length) for key, start, length in places
    ]
    key, start, length = places[0]
    assert findings[0].line("s3://b") == (
        f"s3://b/{FIRST} bytes {start}-{start + length}: {key!r} has other bytes than were packed"
    )


def test_a_damaged_header_and_what_lies_between(digits_copy):
    _, start, _ = place_of(digits_copy, 5)
    overwrite(digits_copy / FIRST, start - 512, b"?")
    (header, rest) = found(digits_copy)
    assert f"damaged tar at byte {start - 512}" in header.reason
    assert header.reason.endswith("Copy or write this shard again.")
    assert "has other bytes between its images, headers or labels" in rest.reason


def test_a_changed_label_in_a_tar(digits_copy):
    key, _, _ = place_of(digits_copy, 5)
    whole = (digits_copy / FIRST).read_bytes()
    at = whole.index(f"{key}.cls".encode()) + 512
    overwrite(digits_copy / FIRST, at, b"9" if whole[at : at + 1] != b"9" else b"8")
    reasons = [each.reason for each in found(digits_copy)]
    assert any("in the tar" in reason and "expected" in reason for reason in reasons)
    assert any("between its images" in reason for reason in reasons)
    assert len(reasons) == 2


def test_a_cut_shard_names_all_that_is_gone(digits_copy):
    key, start, _ = place_of(digits_copy, 90)
    path = digits_copy / FIRST
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(start + 1)
    findings = found(digits_copy)
    assert "more than there are" in findings[0].reason
    assert findings[1].reason == f"has {start + 1} bytes, expected {whole}"
    gone = findings[2:]
    assert gone[0].key == key
    assert gone[0].reason == f"should lie there, in a file of {start + 1} bytes"
    assert len(gone) == 10


def test_bytes_after_the_end_are_told(digits_copy):
    with (digits_copy / FIRST).open("ab") as file:
        file.write(b"\0" * 512)
    reasons = [each.reason for each in found(digits_copy)]
    assert len(reasons) == 2
    assert "bytes, expected" in reasons[0]
    assert "between its images" in reasons[1]


def test_missing_and_unknown_shards(digits_copy):
    (digits_copy / FIRST).rename(digits_copy / "renamed.tar")
    assert [(each.shard, each.reason) for each in found(digits_copy)] == [
        (FIRST, "is missing"),
        ("renamed.tar", "is not in the manifest"),
    ]


def test_tars_that_were_not_meant_are_no_finding(foreign_url):
    index_shards(Indexing(url=f"{foreign_url}/train-*.tar", classes=3))
    assert found(foreign_url) == ()
    storage.write_bytes(f"{foreign_url}/train-9.tar", b"")
    assert [each.shard for each in found(foreign_url)] == ["train-9.tar"]


def _swap(name):
    def change(rows):
        rows[name][[0, 1]] = rows[name][[1, 0]]

    return change


def _label(rows):
    rows["labels"][4] = (rows["labels"][4] + 1) % 10


def _key(rows):
    rows["keys"][4] = "another"


def _order(rows):
    for name, column in rows.items():
        rows[name] = column[::-1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_label, ["has label"]),
        (_key, ["is not in the tar", "is not in the manifest"]),
        (_swap("digests"), ["has other bytes than were packed"] * 2),
        (_swap("offsets"), ["has other bytes than were packed"] * 2 + ["lies at bytes"] * 2),
        (_order, ["holds its samples in another order"]),
    ],
)
def test_a_manifest_that_disagrees_with_its_shards(digits_copy, change, said):
    change_rows(digits_copy, change)
    findings = found(digits_copy)
    assert [each.shard for each in findings] == [FIRST] * len(said)
    for each, expected in zip(findings, said, strict=True):
        assert expected in each.reason


def test_places_that_cannot_be(digits_copy):
    def change(rows):
        rows["offsets"][0] = -5
        rows["lengths"][1] = -1
        rows["offsets"][2] = 2**62
        rows["lengths"][3] = 2**62

    change_rows(digits_copy, change)
    reasons = [each.reason for each in found(digits_copy)]
    assert sum("should lie there" in reason for reason in reasons) == 4
    assert sum("lies at bytes" in reason for reason in reasons) == 4


def test_a_key_of_two_shards(digits_copy):
    other = parse_manifest(str(digits_copy)).split("train").shards[1].keys[0]

    def change(rows):
        rows["keys"][0] = other

    change_rows(digits_copy, change)
    last = found(digits_copy)[-1]
    assert last.shard == MANIFEST_NAME
    assert f"key {other!r} is in" in last.reason


def test_damaged_rows_of_the_manifest_are_a_finding(digits_copy):
    path = digits_copy / MANIFEST_NAME
    content = bytearray(path.read_bytes())
    content[300:310] = bytes(10)
    path.write_bytes(content)
    findings = found(digits_copy)
    assert {each.shard for each in findings} == {MANIFEST_NAME}


@pytest.mark.parametrize("damage", ["absent", "head"])
def test_no_manifest_to_compare_with(digits_copy, damage):
    if damage == "absent":
        (digits_copy / MANIFEST_NAME).unlink()
    else:
        rewrite(digits_copy, lambda head: head.update(channels=3))
    with pytest.raises(DataError):
        verify(Verification(url=str(digits_copy)))


def test_shards_elsewhere(digits_url, tmp_path):
    url = f"memory://{tmp_path.name}"
    for name in storage.list_names(digits_url):
        storage.write_bytes(f"{url}/{name}", storage.read_bytes(f"{digits_url}/{name}"))
    assert found(url) == ()
    storage.write_bytes(f"{url}/{FIRST}", storage.read_bytes(f"{url}/{FIRST}")[:5000])
    assert len(found(url)) > 50


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 2**30), change=st.integers(1, 255))
def test_any_changed_byte_is_found(changing, place, change):
    folder, whole = changing
    place %= len(whole)
    overwrite(folder / FIRST, place, bytes([whole[place] ^ change]))
    findings = found(folder)
    overwrite(folder / FIRST, place, whole[place : place + 1])
    assert {each.shard for each in findings} == {FIRST}
    index = parse_manifest(str(folder)).shards[0].index
    inside = [
        key
        for key, start, length in zip(index.keys, index.offsets, index.lengths, strict=True)
        if start <= place < start + length
    ]
    damaged = [each.key for each in findings if "has other bytes than were" in each.reason]
    assert damaged == inside


@pytest.fixture(scope="module")
def changing(tmp_path_factory, tar_of):
    """A folder with one shard that a test changes and mends, and the shard's bytes."""
    folder = tmp_path_factory.mktemp("changing")
    members = [
        member
        for row in range(5)
        for member in ((f"{row}.png", bytes([row]) * (100 * row)), (f"{row}.cls", b"%d" % row))
    ]
    (folder / FIRST).write_bytes(tar_of(*members))
    index_shards(Indexing(url=str(folder), classes=10))
    return folder, (folder / FIRST).read_bytes()


@pytest.mark.slow
def test_shards_in_a_bucket_in_bad_weather(bucket, storm, foreign_url, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in storage.list_names(foreign_url):
        storage.write_bytes(f"{bucket}/foreign/{name}", storage.read_bytes(f"{foreign_url}/{name}"))
    storm.weather = dict.fromkeys(("error", "throttle", "reset", "half", "short"), 0.03)
    storm.next = ["error", None, "half", None, "reset"]
    url = f"{bucket}/foreign"
    index_shards(Indexing(url=url, classes=3))
    assert found(url) == ()
    manifest = parse_manifest(url)
    assert manifest.digest == index_shards(Indexing(url=foreign_url, classes=3)).manifest.digest
    assert open_local(manifest.local_file(), url).digest == manifest.digest
    shard = manifest.shards[0]
    content = bytearray(storage.read_bytes(f"{foreign_url}/{shard.name}"))
    content[int(shard.offsets[1]) + 10] ^= 1
    storm.weather = {}
    storage.write_bytes(f"{url}/{shard.name}", bytes(content))
    storm.weather, storm.next = {"error": 0.1, "half": 0.1}, ["error", None, "half"]
    assert [each.key for each in found(url)] == [shard.keys[1]]
    assert storm.faults.total() >= 5


def test_each_kind_of_finding_has_its_own_advice(digits_copy):
    unknown = digits_copy / "other.tar"
    unknown.write_bytes((digits_copy / FIRST).read_bytes())
    said = verify(Verification(url=str(digits_copy))).summary()
    assert "1 finding in 1 shard, 0 samples named" in said
    assert "Remove the tars that are not in the manifest, or index again" in said
    assert "pack again" not in said
    (digits_copy / FIRST).unlink()
    both = verify(Verification(url=str(digits_copy))).summary()
    assert "Copy the damaged shards again" in both
    assert "Remove the tars" in both
    unknown.unlink()
    assert "Remove the tars" not in verify(Verification(url=str(digits_copy))).summary()


def test_many_findings_are_shown_in_short(digits_copy):
    (digits_copy / FIRST).write_bytes(b"\0" * (digits_copy / FIRST).stat().st_size)
    verified = verify(Verification(url=str(digits_copy)))
    lines = verified.summary().splitlines()
    assert len(lines) == 22
    assert lines[-2] == f"  ... and {len(verified.findings) - 20} more; report=FILE writes them all"
    assert f"{len(verified.findings)} findings in 1 shard, 100 samples named" in lines[-1]


@pytest.mark.parametrize(("damage", "code"), [("none", 0), ("shard", 1), ("manifest", 4)])
def test_the_job_leaves_with_what_it_found(digits_copy, tmp_path, damage, code):
    if damage == "shard":
        (digits_copy / FIRST).unlink()
    if damage == "manifest":
        (digits_copy / MANIFEST_NAME).unlink()
    report = tmp_path / "report.json"
    command = [sys.executable, "jobs/verify_shards.py", str(digits_copy), f"report={report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if damage == "shard":
        assert f"{FIRST}: is missing" in done.stdout
        assert json.loads(report.read_text())["findings"][0]["reason"] == "is missing"
