import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.images.decode import BadSample
from data_pipeline.sources.parquet import Parquet
from data_pipeline.sources.parquet import open_parquet
from system.foundation.errors import DataError
from tests.data_pipeline.tables import NAMES
from tests.data_pipeline.tables import write_table

IMAGES = [f"image {index}".encode() for index in range(10)]


def test_a_table_as_hugging_face_writes_it(tmp_path):
    write_table(tmp_path / "train-0.parquet", IMAGES)
    write_table(tmp_path / "train-1.parquet", IMAGES[:3])
    (tmp_path / "readme.md").write_text("ignored")
    source = open_parquet(Parquet(url=str(tmp_path)))
    assert source.class_names == NAMES
    assert len(source.entries) == 13
    assert [source.read(entry) for entry in source.entries] == IMAGES + IMAGES[:3]
    first = source.entries[0]
    assert (first.key, first.label, first.extension) == ("train-0_0", 0, "jpeg")
    # Three row groups and one: what is read in one piece stays together.
    assert len({entry.block for entry in source.entries}) == 4
    assert all(entry.length > 0 for entry in source.entries)
    last = [source.reader.where(source.entries[index]) for index in (9, 10)]
    assert last == ["train-0.parquet row 9", "train-1.parquet row 0"]


def test_one_file_at_any_url(tmp_path):
    path = write_table(tmp_path / "table.parquet", IMAGES)
    fsspec.filesystem("memory").pipe_file("/table.parquet", path.read_bytes())
    there = open_parquet(Parquet(url="memory://table.parquet"))
    here = open_parquet(Parquet(url=str(path)))
    assert there.entries == here.entries
    assert there.read(there.entries[7]) == IMAGES[7]
    assert there.reader.where(there.entries[7]) == "table.parquet row 7"
    fsspec.filesystem("memory").rm("/table.parquet")


def test_plain_bytes_and_other_names_of_columns(tmp_path):
    table = pa.table({"jpg": IMAGES, "cls": [4] * 10, "id": [f"a.b/{i}.x" for i in range(10)]})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=3)
    recipe = Parquet(url=str(tmp_path), image="jpg", label="cls", key="id")
    source = open_parquet(recipe)
    assert source.class_names == ("0", "1", "2", "3", "4")
    assert source.entries[1].key == "a.b/1_x"
    assert source.entries[1].extension == ""
    assert source.read(source.entries[8]) == IMAGES[8]
    rows = open_parquet(recipe.model_copy(update={"key": None}))
    assert [entry.key for entry in rows.entries[:2]] == ["table-00000000", "table-00000001"]


def test_paths_that_name_several_images_are_no_keys(tmp_path):
    write_table(tmp_path / "table.parquet", IMAGES[:2], paths=["same.png", "same.png"])
    source = open_parquet(Parquet(url=str(tmp_path)))
    assert [entry.key for entry in source.entries] == ["table-00000000", "table-00000001"]


def test_paths_that_lead_elsewhere_are_no_keys(tmp_path):
    write_table(tmp_path / "table.parquet", IMAGES[:2], paths=["../a.png", "b.png"])
    source = open_parquet(Parquet(url=str(tmp_path)))
    assert [entry.key for entry in source.entries] == ["table-00000000", "table-00000001"]


def test_splits_by_names_of_files(tmp_path):
    write_table(tmp_path / "train-0.parquet", IMAGES)
    write_table(tmp_path / "validation-0.parquet", IMAGES[:3])
    write_table(tmp_path / "test-0.parquet", IMAGES[:1], labels=[-1])
    recipe = Parquet(
        url=str(tmp_path), files="train-*.parquet", held_out_files="validation-*.parquet"
    )
    splits = [entry.split for entry in open_parquet(recipe).entries]
    assert splits == ["train"] * 10 + ["held_out"] * 3
    with pytest.raises(DataError, match=r"test-0\.parquet row 0: label -1, expected 0 to 2"):
        open_parquet(recipe.model_copy(update={"files": "*.parquet"}))


def test_files_of_several_splits_are_not_trained_on_unasked(tmp_path):
    write_table(tmp_path / "train-0.parquet", IMAGES)
    write_table(tmp_path / "train-1.parquet", IMAGES)
    write_table(tmp_path / "extra.parquet", IMAGES)
    assert len(open_parquet(Parquet(url=str(tmp_path))).entries) == 30
    write_table(tmp_path / "validation-0.parquet", IMAGES[:3])
    with pytest.raises(DataError) as caught:
        open_parquet(Parquet(url=str(tmp_path)))
    for part in (
        "(train-0.parquet, validation-0.parquet)",
        "'source.files=train*.parquet' 'source.held_out_files=val*.parquet'",
    ):
        assert part in str(caught.value)
    assert len(open_parquet(Parquet(url=str(tmp_path), files="train-*")).entries) == 20
    write_table(tmp_path / "test-0.parquet", IMAGES[:3])
    (tmp_path / "validation-0.parquet").unlink()
    with pytest.raises(DataError, match=r"test-0\.parquet, train-0.*source\.held_out_files=test"):
        open_parquet(Parquet(url=str(tmp_path)))


def test_labels_that_are_names(tmp_path):
    labels = ["b", "a"] * 5
    path = write_table(tmp_path / "table.parquet", IMAGES, labels=labels, named=False)
    source = open_parquet(Parquet(url=str(path)))
    assert source.class_names == ("a", "b")
    assert [entry.label for entry in source.entries[:2]] == [1, 0]
    (tmp_path / "map.txt").write_text("b Bee\na Ant\n")
    source = open_parquet(Parquet(url=str(path), class_map=str(tmp_path / "map.txt")))
    assert source.class_names == ("Bee", "Ant")
    assert [entry.label for entry in source.entries[:2]] == [0, 1]


@pytest.mark.parametrize("label", [3, None])
def test_a_label_outside_the_classes(tmp_path, label):
    write_table(tmp_path / "table.parquet", IMAGES[:2], labels=[0, label])
    with pytest.raises(DataError, match=f"row 1: label {label}, expected 0 to 2"):
        open_parquet(Parquet(url=str(tmp_path)))


def test_a_row_without_bytes_is_one_bad_sample(tmp_path):
    write_table(tmp_path / "table.parquet", [b"a", None])
    source = open_parquet(Parquet(url=str(tmp_path)))
    with pytest.raises(BadSample, match="no bytes"):
        source.read(source.entries[1])


def test_what_is_no_such_table(tmp_path):
    with pytest.raises(DataError, match=r"no file named \*\.parquet among 0 files"):
        open_parquet(Parquet(url=str(tmp_path)))
    path = write_table(tmp_path / "table.parquet", IMAGES)
    for column in ("image", "label", "key"):
        with pytest.raises(DataError, match="no column 'other' among image, label"):
            open_parquet(Parquet(url=str(path), **{column: "other"}))
    with pytest.raises(DataError, match="column 'label' is int64, expected bytes"):
        open_parquet(Parquet(url=str(path), image="label"))
    keys = pa.table({"image": [b"a"], "label": [0], "k": ["../a"]})
    pq.write_table(keys, tmp_path / "keys.parquet")
    with pytest.raises(DataError, match=r"key '\.\./a' is a path that leaves its folder"):
        open_parquet(Parquet(url=str(tmp_path / "keys.parquet"), key="k"))
    write_table(tmp_path / "empty.parquet", [], labels=pa.array([], pa.int64()))
    with pytest.raises(DataError, match="no rows in 1 files"):
        open_parquet(Parquet(url=str(tmp_path / "empty.parquet")))


def test_damaged_files(tmp_path):
    path = write_table(tmp_path / "table.parquet", [b"image" * 100] * 10)
    source = open_parquet(Parquet(url=str(path)))
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        open_parquet(Parquet(url=str(path)))
    path.write_bytes(data[:4] + bytes(len(data) // 2) + data[4 + len(data) // 2 :])
    with pytest.raises(DataError, match="Copy this file again"):
        source.read(source.entries[0])
