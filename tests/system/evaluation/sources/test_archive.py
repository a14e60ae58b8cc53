import io

import numpy as np
import pytest
import torch

from system.evaluation.sources.archive import archive_images
from system.evaluation.sources.archive import open_archive
from system.evaluation.sources.archive import reference_images
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (21, 5, 4, 3), np.uint8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("asked", [range(21), range(1), range(7, 16), range(20, 21)])
def test_images_are_those_that_were_saved(tmp_path, save, asked):
    save(tmp_path / "samples.npz", arr_1=np.arange(21), arr_0=PIXELS)
    record = archive_images(str(tmp_path / "samples.npz"))
    assert (record.count, record.height, record.width, record.channels) == (21, 5, 4, 3)
    image = open_archive(record).images(asked)
    expected = torch.from_numpy(PIXELS[asked.start : asked.stop]).permute(0, 3, 1, 2)
    assert torch.equal(image, expected)


def test_a_compressed_file_may_be_read_in_any_order(tmp_path):
    np.savez_compressed(tmp_path / "samples.npz", PIXELS)
    source = open_archive(archive_images(str(tmp_path / "samples.npz")))
    for asked in (range(3, 5), range(5, 9), range(12, 21), range(2), range(4, 6)):
        expected = torch.from_numpy(PIXELS[asked.start : asked.stop]).permute(0, 3, 1, 2)
        assert torch.equal(source.images(asked), expected)


def test_three_equal_channels_are_grey(tmp_path):
    grey = PIXELS[..., :1]
    np.savez(tmp_path / "samples.npz", grey.repeat(3, axis=3))
    record = archive_images(str(tmp_path / "samples.npz"))
    assert record.channels == 1
    image = open_archive(record).images(range(3, 6))
    assert torch.equal(image, torch.from_numpy(grey[3:6]).permute(0, 3, 1, 2))
    almost = grey.repeat(3, axis=3)
    almost[20, 4, 3, 2] ^= 1
    np.savez(tmp_path / "almost.npz", almost)
    assert archive_images(str(tmp_path / "almost.npz")).channels == 3


def test_grey_images_and_other_stores():
    grey, content = PIXELS[..., :1], io.BytesIO()
    np.savez(content, grey)
    storage.write_bytes("memory://archive/samples.npz", content.getvalue())
    record = archive_images("memory://archive/samples.npz")
    image = open_archive(record).images(range(3, 6))
    assert torch.equal(image, torch.from_numpy(grey[3:6]).permute(0, 3, 1, 2))


def test_the_digest_is_of_the_images_and_of_nothing_else(tmp_path):
    np.savez(tmp_path / "a.npz", PIXELS)
    np.savez_compressed(tmp_path / "b.npz", arr_0=PIXELS, arr_1=np.arange(21))
    other = PIXELS.copy()
    other[20, 4, 3, 2] ^= 1
    np.savez(tmp_path / "c.npz", other)
    np.savez(tmp_path / "d.npz", PIXELS.reshape(21, 4, 5, 3))
    digests = [archive_images(str(tmp_path / f"{name}.npz")).digest for name in "abcd"]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("moment", ["mu", "sigma", "mu_s", "sigma_s"])
def test_samples_that_carry_moments_are_refused(tmp_path, moment):
    np.savez(tmp_path / "reference.npz", arr_0=PIXELS, **{moment: np.zeros(3)})
    with pytest.raises(BadInput, match=f"holds the moments {moment}: it is a reference"):
        archive_images(str(tmp_path / "reference.npz"))
    assert reference_images(str(tmp_path / "reference.npz")).count == 21


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (PIXELS.astype(np.float32) / 255, r"float32 of shape \[21, 5, 4, 3\].*Bring pixels to"),
        (PIXELS.astype(np.int64), "int64"),
        (PIXELS.transpose(0, 3, 1, 2).copy(), r"shape \[21, 3, 5, 4\].*Put the channels last"),
        (PIXELS[0], r"shape \[5, 4, 3\]"),
        (PIXELS[:0], r"shape \[0, 5, 4, 3\].*N at least 1"),
        (np.concatenate([PIXELS, PIXELS[..., :1]], axis=3), r"shape \[21, 5, 4, 4\]"),
        (np.asfortranarray(PIXELS), "column by column"),
        (PIXELS // 255, "no pixel is above 1; expected levels from 0 to 255"),
        (np.array([{}], object), "object"),
    ],
)
def test_other_arrays_are_refused(tmp_path, pixels, problem):
    np.savez(tmp_path / "samples.npz", arr_0=pixels)
    with pytest.raises(DataError, match=problem):
        archive_images(str(tmp_path / "samples.npz"))


def test_files_that_are_absent_of_another_kind_or_damaged_are_refused(tmp_path):
    with pytest.raises(DataError, match="found no file"):
        archive_images(str(tmp_path / "samples.npz"))
    np.savez(tmp_path / "named.npz", images=PIXELS)
    with pytest.raises(DataError, match="holds images; expected the array arr_0"):
        archive_images(str(tmp_path / "named.npz"))
    np.save(tmp_path / "single.npy", PIXELS)
    with pytest.raises(DataError, match="no sound npz"):
        archive_images(str(tmp_path / "single.npy"))
    np.savez(tmp_path / "samples.npz", PIXELS)
    content = bytearray((tmp_path / "samples.npz").read_bytes())
    content[600] ^= 1
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"no sound npz.*CRC"):
        archive_images(str(tmp_path / "damaged.npz"))
    (tmp_path / "cut.npz").write_bytes(content[:900])
    with pytest.raises(DataError, match="no sound npz"):
        archive_images(str(tmp_path / "cut.npz"))


def test_a_file_that_was_written_over_is_refused(tmp_path):
    np.savez(tmp_path / "samples.npz", PIXELS)
    record = archive_images(str(tmp_path / "samples.npz"))
    np.savez(tmp_path / "samples.npz", PIXELS[:20])
    with pytest.raises(DataError, match="written over"):
        open_archive(record)
