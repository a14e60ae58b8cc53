import io
import zipfile

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from system.evaluation.sample_files import write_adm_npz
from system.evaluation.sample_files import write_pngs
from system.evaluation.sources.archive import archive_images
from system.evaluation.sources.archive import open_archive

IMAGE = torch.arange(5 * 2 * 3).to(torch.uint8).reshape(5, 1, 2, 3)
LABEL = torch.tensor([3, 9, 0, 0, 1])


@pytest.mark.parametrize("channels", [1, 3])
def test_npz_has_the_adm_layout(tmp_path, channels):
    image = torch.cat([IMAGE + i for i in range(channels)], dim=1)
    url = write_adm_npz(str(tmp_path / "samples.npz"), image.split(2), LABEL)
    arrays = np.load(url)
    assert arrays["arr_0"].shape == (5, 2, 3, 3)
    assert arrays["arr_0"].dtype == np.uint8
    assert (arrays["arr_0"] == image.permute(0, 2, 3, 1).numpy()).all()
    assert arrays["arr_1"].tolist() == LABEL.tolist()
    assert arrays["arr_1"].dtype == np.int64


def test_equal_images_are_equal_bytes_however_they_come(tmp_path, monkeypatch):
    write_adm_npz(str(tmp_path / "a"), IMAGE.split(1), LABEL)
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_adm_npz("memory://b", IMAGE.split(3), LABEL)
    with fsspec.open("memory://b", "rb") as file:
        content = file.read()
    assert content == (tmp_path / "a").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_our_own_reader_reads_it(tmp_path):
    url = write_adm_npz(str(tmp_path / "samples.npz"), IMAGE.split(2), LABEL)
    source = open_archive(archive_images(url))
    assert torch.equal(source.images(range(1, 4)), IMAGE[1:4])  # grey, as it was


def test_too_few_images_leave_no_file(tmp_path):
    with pytest.raises(AssertionError, match="4 images, 5 labels"):
        write_adm_npz(str(tmp_path / "samples.npz"), IMAGE[:4].split(2), LABEL)
    assert list(tmp_path.iterdir()) == []


def test_pngs_are_named_by_number_and_class(tmp_path):
    label = torch.tensor([3, -1, 0, 12, 1])
    assert write_pngs(str(tmp_path / "images"), IMAGE.split(2), label) == f"{tmp_path}/images"
    paths = sorted((tmp_path / "images").iterdir())
    assert [path.name for path in paths] == [
        "000000-class-3.png", "000001.png", "000002-class-0.png", "000003-class-12.png",
        "000004-class-1.png",
    ]  # fmt: skip
    for path, image in zip(paths, IMAGE, strict=True):
        assert (np.asarray(Image.open(path)) == image[0].numpy()).all()
