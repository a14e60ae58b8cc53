import fsspec
import pytest
from pydantic import ValidationError

from data_pipeline.sources.ilsvrc2012 import Ilsvrc2012
from data_pipeline.sources.ilsvrc2012 import open_ilsvrc2012
from data_pipeline.sources.image_folder import ImageFolder
from data_pipeline.sources.image_folder import open_image_folder
from system.foundation import storage
from system.foundation.errors import DataError
from tests.data_pipeline.archives import WNIDS
from tests.data_pipeline.archives import tar_of
from tests.data_pipeline.archives import write_devkit
from tests.data_pipeline.archives import write_train
from tests.data_pipeline.archives import write_tree
from tests.data_pipeline.archives import write_validation

IMAGES = [f"image {index}".encode() * index for index in range(8)]


def rows(source):
    return {
        entry.key: (entry.label, entry.extension, entry.length, source.read(entry))
        for entry in source.entries
    }


def test_the_archive_gives_what_unpacking_it_would(tmp_path):
    packed = open_ilsvrc2012(Ilsvrc2012(train=str(write_train(tmp_path, IMAGES))))
    unpacked = open_image_folder(ImageFolder(url=str(write_tree(tmp_path, IMAGES))))
    assert packed.class_names == unpacked.class_names == WNIDS
    assert rows(packed) == rows(unpacked)
    assert {entry.split for entry in packed.entries} == {"train"}


def test_validation_images_are_held_out_and_have_their_labels(tmp_path):
    recipe = Ilsvrc2012(
        train=str(write_train(tmp_path, IMAGES)),
        validation=str(write_validation(tmp_path, IMAGES[1:5])),
        devkit=str(write_devkit(tmp_path)),
    )
    source = open_ilsvrc2012(recipe)
    held_out = {e.key: (e.label, source.read(e)) for e in source.entries if e.split == "held_out"}
    assert held_out == {
        "n01440764/ILSVRC2012_val_00000001": (0, IMAGES[1]),
        "n01514668/ILSVRC2012_val_00000002": (2, IMAGES[2]),
        "n01514668/ILSVRC2012_val_00000003": (2, IMAGES[3]),
        "n01443537/ILSVRC2012_val_00000004": (1, IMAGES[4]),
    }
    places = {entry.key: source.reader.where(entry) for entry in source.entries}
    assert places["n01514668/ILSVRC2012_val_00000002"] == (
        "ILSVRC2012_img_val.tar: ILSVRC2012_val_00000002.JPEG"
    )
    assert len(set(places.values())) == len(places)
    path = next(key for key in places if "val" not in key)
    inner, name = path.split("/")
    assert places[path] == f"ILSVRC2012_img_train.tar: {inner}.tar/{name}.JPEG"
    alone = open_ilsvrc2012(recipe.model_copy(update={"train": None}))
    assert alone.class_names == WNIDS
    assert {e.key: (e.label, alone.read(e)) for e in alone.entries} == held_out


def test_validation_with_a_file_of_labels_alone(tmp_path):
    (tmp_path / "truth.txt").write_text(
        "".join(f"ILSVRC2012_val_{n:08d}.JPEG {n % 2}\n" for n in range(1, 5))
    )
    recipe = Ilsvrc2012(
        validation=str(write_validation(tmp_path, IMAGES[:4])),
        ground_truth=str(tmp_path / "truth.txt"),
    )
    source = open_ilsvrc2012(recipe)
    assert source.class_names == ("0", "1")
    assert {entry.key.rpartition("/")[2][-1]: entry.label for entry in source.entries} == {
        "1": 1, "2": 0, "3": 1, "4": 0,
    }  # fmt: skip


def test_a_class_map_gives_names_and_other_labels(tmp_path):
    (tmp_path / "map.txt").write_text("n01514668 cock\nn01440764 tench\nn01443537 goldfish\n")
    recipe = Ilsvrc2012(
        train=str(write_train(tmp_path, IMAGES)), class_map=str(tmp_path / "map.txt")
    )
    source = open_ilsvrc2012(recipe)
    assert source.class_names == ("cock", "tench", "goldfish")
    for entry in source.entries:
        wnid = entry.key.partition("/")[0]
        assert entry.label == ("n01514668", "n01440764", "n01443537").index(wnid)
    (tmp_path / "map.txt").write_text("n01514668 cock\n")
    with pytest.raises(DataError, match=r"no class 'n014.*' among its 1"):
        open_ilsvrc2012(recipe)


def test_from_an_object_store(tmp_path):
    files = fsspec.filesystem("memory")
    files.pipe_file("/in/train.tar", write_train(tmp_path, IMAGES).read_bytes())
    there = open_ilsvrc2012(Ilsvrc2012(train="memory://in/train.tar"), keep="memory://kept")
    here = open_ilsvrc2012(Ilsvrc2012(train=str(tmp_path / "ILSVRC2012_img_train.tar")))
    assert there.entries == here.entries
    assert rows(there) == rows(here)
    assert there.reader.concurrency > 1
    for folder in ("/in", "/kept"):
        files.rm(folder, recursive=True)


def test_a_second_scan_is_spared_until_the_archive_changes(tmp_path):
    recipe = Ilsvrc2012(train=str(write_train(tmp_path, IMAGES)))
    keep = str(tmp_path / "kept")
    first = open_ilsvrc2012(recipe, keep)
    place = storage.join(keep, "train.parquet")
    written = (tmp_path / "kept" / "train.parquet").stat().st_mtime_ns
    assert storage.exists(place)
    assert open_ilsvrc2012(recipe, keep).entries == first.entries
    assert (tmp_path / "kept" / "train.parquet").stat().st_mtime_ns == written
    write_train(tmp_path, IMAGES[:5])
    assert len(open_ilsvrc2012(recipe, keep).entries) == 5


def test_strange_members_are_ignored_and_listed(tmp_path):
    inner = {
        "./n1_0.JPEG": b"1",
        "notes.txt": b"2",
        "../../evil.JPEG": b"3",
        "/absolute.JPEG": b"4",
    }
    outer = {"./n1.tar": tar_of(inner), "readme.txt": b"hello"}
    (tmp_path / "train.tar").write_bytes(tar_of(outer))
    source = open_ilsvrc2012(Ilsvrc2012(train=str(tmp_path / "train.tar")))
    assert [entry.key for entry in source.entries] == ["n1/n1_0"]
    assert source.class_names == ("n1",)
    assert set(source.ignored) == {
        "'readme.txt' (not in the tar of a class)",
        "'n1/notes.txt' (no JPEG by its name)",
        "'n1/../../evil.JPEG' (a path that leaves its folder)",
        "'n1//absolute.JPEG' (a path that leaves its folder)",
    }


def test_a_damaged_inner_archive_is_named_with_its_place(tmp_path):
    path = write_train(tmp_path, IMAGES)
    data = bytearray(path.read_bytes())
    second = data.index(b"n01514668_5.JPEG")
    data[second] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(
        DataError, match=rf"n01514668\.tar in .*img_train\.tar: damaged tar at byte {second} of"
    ):
        open_ilsvrc2012(Ilsvrc2012(train=str(path)))


def test_one_archive_in_place_of_the_other(tmp_path):
    train, validation = write_train(tmp_path, IMAGES), write_validation(tmp_path, IMAGES)
    kit = str(write_devkit(tmp_path))
    with pytest.raises(DataError, match="Is it that of the validation images"):
        open_ilsvrc2012(Ilsvrc2012(train=str(validation)))
    with pytest.raises(DataError, match="Is it that of the training images"):
        open_ilsvrc2012(Ilsvrc2012(validation=str(train), devkit=kit))
    (tmp_path / "empty.tar").write_bytes(tar_of({"n1.tar": tar_of({"a.txt": b""})}))
    with pytest.raises(DataError, match="no JPEG among its 1 members"):
        open_ilsvrc2012(Ilsvrc2012(train=str(tmp_path / "empty.tar")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs `train` or `validation`"),
        ({"validation": "v.tar"}, "goes with one of `devkit` and `ground_truth`"),
        ({"train": "t.tar", "devkit": "d"}, "goes with one of"),
        ({"validation": "v.tar", "devkit": "d", "ground_truth": "g"}, "not both"),
    ],
)
def test_recipes_that_lack_a_half(settings, message):
    with pytest.raises(ValidationError, match=message):
        Ilsvrc2012(**settings)
