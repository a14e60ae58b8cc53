import pytest
import torch

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.detectors.digits import GRID
from system.evaluation.detectors.digits import SPATIAL_CHANNELS
from system.evaluation.detectors.digits import Training
from system.evaluation.detectors.digits import digits_detector
from system.evaluation.labelled import Labelled
from system.evaluation.passes import PASS
from system.evaluation.scores.accuracy import accuracy
from system.foundation.errors import DataError

QUICK = Training(epochs=1)


def obtain(train, folder, *, training=QUICK, digest="data"):
    return digits_detector(
        train, classes=10, data_digest=digest, folder=str(folder), training=training
    )


def test_reads_held_out_digits(detector, held_out):
    assert accuracy(detector.look(held_out.image).logits, held_out.label) >= 0.98


def test_the_same_data_give_the_same_weights(train, tmp_path):
    torch.manual_seed(1)
    first = obtain(train, tmp_path / "a")
    torch.manual_seed(2)  # no global generator takes part
    with exact_arithmetic(threads=2):  # nor does the number of threads
        second = obtain(train, tmp_path / "b")
    assert first.digest == second.digest


def test_it_is_trained_once_and_read_back(train, tmp_path):
    first = obtain(train, tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = obtain(train, tmp_path)
    assert file.stat().st_mtime_ns == written
    assert again.digest == first.digest
    assert torch.equal(again.look(train.image[:9]).logits, first.look(train.image[:9]).logits)


def test_other_data_or_settings_are_another_detector(train, tmp_path):
    obtain(train, tmp_path)
    obtain(train, tmp_path, digest="other")
    obtain(train, tmp_path, training=Training(epochs=1, seed=1))
    assert len(list(tmp_path.iterdir())) == 3


def test_features_do_not_depend_on_what_else_is_looked_at(detector, train):
    whole = detector.look(train.image[: 2 * PASS + 5])
    assert whole.features.shape == (2 * PASS + 5, 64)
    assert torch.equal(detector.look(train.image[:3]).features, whole.features[:3])
    last = detector.look(train.image[2 * PASS : 2 * PASS + 5])
    assert torch.equal(last.logits, whole.logits[2 * PASS :])


def test_images_of_other_channels_are_refused(detector, train):
    with pytest.raises(DataError, match="3 channels"):
        detector.look(train.image[:2].expand(-1, 3, -1, -1))


def test_spatial_features_know_where_things_are(detector, train):
    spatial = detector.look(train.image[:9]).spatial
    assert spatial.shape == (9, 4 * 4 * SPATIAL_CHANNELS)
    grid = detector.network.body[:GRID](train.image[:PASS].float() / 127.5 - 1)[:9]
    assert torch.equal(spatial[:, :SPATIAL_CHANNELS], grid[:, :SPATIAL_CHANNELS, 0, 0])


def test_a_damaged_file_is_named(train, tmp_path):
    obtain(train, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"damaged detector.*Delete it"):
        obtain(train, tmp_path)


def test_images_too_small_are_refused(train, tmp_path):
    small = Labelled(train.image[:, :, :4, :4], train.label)
    with pytest.raises(DataError, match="at least 8"):
        obtain(small, tmp_path)
    assert not list(tmp_path.iterdir())
