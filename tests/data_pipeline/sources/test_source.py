import io

import fsspec
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from data_pipeline.sources.source import Digits
from data_pipeline.sources.source import ImageFolder
from data_pipeline.sources.source import Photographs
from data_pipeline.sources.source import open_source
from system.foundation.errors import DataError


def test_digits_are_the_bundled_scans():
    source = open_source(Digits())
    scans = load_digits()
    assert source.class_names == tuple("0123456789")
    assert [entry.key for entry in source.entries[:2]] == ["digits-0000", "digits-0001"]
    assert [entry.label for entry in source.entries] == scans.target.tolist()
    for index in (0, 800, 1796):
        pixels = np.asarray(Image.open(io.BytesIO(source.read(index))))
        expected = [[round(value * 255 / 16) for value in row] for row in scans.images[index]]
        assert pixels.tolist() == expected
        assert source.entries[index].length == len(source.read(index))


def test_photographs_are_lossless_patches_with_splits_of_their_own(photographs):
    source = open_source(Photographs())
    assert len(source.class_names) == 8
    entry = source.entries[-1]
    assert entry.key == "flower-408-624"
    assert {entry.split for entry in source.entries} == {"train", "held_out"}
    pixels = np.asarray(Image.open(io.BytesIO(source.read(len(source.entries) - 1))))
    assert (pixels == photographs[1][408:424, 624:640]).all()
    assert len(open_source(Photographs(stride=16)).entries) < len(source.entries) / 2


def test_image_folder(photo_folder):
    source = open_source(ImageFolder(url=str(photo_folder)))
    assert source.class_names == ("bridge", "flower", "water")
    assert len(source.entries) == 24
    entry = source.entries[8]
    assert (entry.key, entry.label, entry.extension) == ("flower/flower_0", 1, "jpeg")
    assert source.read(8) == (photo_folder / "flower" / "flower_0.JPEG").read_bytes()


def test_other_files_are_ignored_by_name_and_listed(tmp_path):
    for name in ("cat/a.b.png", "cat/notes.txt", "dog/deep/c.jpg", "stray.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    source = open_source(ImageFolder(url=str(tmp_path)))
    assert [entry.key for entry in source.entries] == ["cat/a_b", "dog/deep/c"]
    assert sorted(source.ignored) == ["cat/notes.txt", "stray.png"]


def test_any_url(photo_folder):
    files = fsspec.filesystem("memory")
    for path in photo_folder.rglob("*.JPEG"):
        files.pipe_file(f"/source/{path.relative_to(photo_folder)}", path.read_bytes())
    there = open_source(ImageFolder(url="memory://source"))
    here = open_source(ImageFolder(url=str(photo_folder)))
    assert there.entries == here.entries
    assert there.read(3) == here.read(3)


def test_a_key_names_one_sample(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in ("a.png", "a.jpg"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"two images have the key 'cat/a'.*'jpg' and 'png'"):
        open_source(ImageFolder(url=str(tmp_path)))


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_source(ImageFolder(url=str(tmp_path / "absent")))
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(DataError, match="no images in class folders among 1 files"):
        open_source(ImageFolder(url=str(tmp_path)))
