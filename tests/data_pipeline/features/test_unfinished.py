import json
import uuid
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.features.feature_set import FeatureReader
from data_pipeline.features.feature_set import open_features
from data_pipeline.features.unfinished import FOLDER
from data_pipeline.features.unfinished import STATEMENT_NAME
from data_pipeline.features.unfinished import Unfinished
from data_pipeline.shards.manifest import read_manifest
from system.foundation import storage
from system.foundation.errors import DataError
from tests.data_pipeline.features.sets import members
from tests.data_pipeline.features.sets import record
from tests.data_pipeline.features.sets import write_set


def begun(images, folder: Path, *shards: int) -> Unfinished:
    unfinished = Unfinished(str(folder), images, record(images))
    unfinished.start()
    for number in shards:
        unfinished.keep(images.shards[number], members(images, number))
    return unfinished


def test_a_set_has_the_names_keys_and_labels_of_the_images(digits, tmp_path):
    found = read_manifest(write_set(digits, tmp_path / "set")).split("train")
    assert [each.name for each in found.shards] == [each.name for each in digits.shards]
    assert [each.keys for each in found.shards] == [each.keys for each in digits.shards]
    assert found.labels.tolist() == digits.labels.tolist()
    assert not (tmp_path / "set" / FOLDER).exists()


def test_a_set_in_a_store_of_objects_has_the_same_bytes(digits, tmp_path):
    url = write_set(digits, "memory://feature-sets/digits")
    there = Path(write_set(digits, tmp_path / "set"))
    names = sorted(path.name for path in there.iterdir())
    try:
        assert storage.list_names(url) == names
        for name in names:
            assert storage.read_bytes(f"{url}/{name}") == (there / name).read_bytes()
        assert read_manifest(url).digest == read_manifest(str(there)).digest
    finally:
        storage.remove(url)


@pytest.mark.slow
def test_a_set_is_written_to_a_bucket_and_read_in_bad_weather(digits, digits_data, bucket, storm):
    storm.weather, storm.next = {"error": 0.05, "reset": 0.05}, ["error"]
    url = write_set(digits, f"{bucket}/{uuid.uuid4().hex}")
    storm.weather, storm.next = {"error": 0.05, "half": 0.05}, ["half"]
    features = open_features(url, "train")
    samples = np.arange(0, digits.samples, 7)
    rows = features.empty(len(samples))
    reader = FeatureReader(features, digits_data(fetching={"backoff_s": 0.01}))
    assert reader.fill(samples, rows, np.zeros(len(samples), bool)) == {}
    assert rows["moments"][:, 0, 0, 0].tolist() == samples.tolist()
    assert {"error", "half"} <= storm.faults.keys()


def test_what_others_did_is_done_and_joined_by_the_last(digits, tmp_path):
    count = len(digits.shards)
    one, other = begun(digits, tmp_path / "set", 0, 1), begun(digits, tmp_path / "set")
    assert other.done().keys() == {each.name for each in digits.shards[:2]}
    assert one.finish() == count - 2
    for number in range(2, count):
        other.keep(digits.shards[number], members(digits, number))
    assert other.finish() == 0
    assert one.finish() == 0, "another had joined them"
    written = (tmp_path / "set" / "manifest.parquet").read_bytes()
    again = Path(write_set(digits, tmp_path / "again"))
    assert written == (again / "manifest.parquet").read_bytes()


def test_notes_of_no_use_are_no_shards(digits, tmp_path):
    unfinished = begun(digits, tmp_path / "set", 0, 1, 2)
    first, second, third = (each.name for each in digits.shards[:3])
    (tmp_path / "set" / FOLDER / first / "manifest.parquet").write_bytes(b"half")
    with (tmp_path / "set" / second).open("ab") as shard:
        shard.write(b"more")
    assert unfinished.done().keys() == {third}
    other = Unfinished(str(tmp_path / "set"), digits, record(digits, crop="adm"))
    assert other.done() == {}


def test_another_set_or_other_files_are_left_alone(digits, tmp_path):
    begun(digits, tmp_path / "set", 0)
    with pytest.raises(DataError, match="already holds other features: crop: none there, adm now"):
        Unfinished(str(tmp_path / "set"), digits, record(digits, crop="adm")).start()
    with pytest.raises(DataError, match=rf"no {STATEMENT_NAME}.*Nothing was changed"):
        Unfinished(digits.url, digits, record(digits)).start()
    statement = tmp_path / "set" / STATEMENT_NAME
    statement.write_text(json.dumps({"crop": "none"}))
    with pytest.raises(DataError, match=r"features\.json: damaged"):
        begun(digits, tmp_path / "set")
