import json
import subprocess
import sys

import numpy as np
import pytest

from data_pipeline.decoding.assembly import Assembler
from data_pipeline.decoding.host_batches import open_batches
from data_pipeline.features.feature_set import FeatureReader
from data_pipeline.features.feature_set import decode
from data_pipeline.features.feature_set import encode
from data_pipeline.features.feature_set import open_address
from data_pipeline.features.feature_set import open_features
from data_pipeline.images.crop import mirrored
from data_pipeline.images.decode import BadSample
from tests.data_pipeline.features.sets import FEATURES
from tests.data_pipeline.features.sets import arrays
from tests.data_pipeline.features.sets import write_set

EMPTY = 210


@pytest.fixture(scope="module")
def features(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "set"
    return open_features(write_set(digits, folder, empty=EMPTY), "train")


def test_members_are_the_same_bytes_in_any_order_of_their_arrays():
    made = arrays(7)
    assert encode(made) == encode(dict(reversed(made.items())))
    found = decode(encode(made), FEATURES)
    assert all(np.array_equal(found[name], array) for name, array in made.items())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "could not be used when features were computed"),
        (encode(arrays(7))[:-1], "features cannot be read"),
        (b"\x80\x04K\x01.", "features cannot be read"),  # a pickle, which nobody opens
        (encode({"teacher": arrays(7)["teacher"]}), "without moments of shape"),
        (encode(arrays(7) | {"teacher": np.zeros(5)}), "without teacher of shape"),
    ],
)
def test_members_of_no_use(data, said):
    with pytest.raises(BadSample, match=said):
        decode(data, FEATURES)


def test_rows_are_those_of_the_samples_mirrored_where_asked(features, digits_data):
    samples = np.array([1100, 3, EMPTY, 3, 500])
    turned = np.array([False, False, False, True, True])
    rows = features.empty(5)
    bad = FeatureReader(features, digits_data()).fill(samples, rows, turned)
    assert list(bad) == [2]
    assert rows["moments"][:, 0, 0, 0].tolist() == [1100, 3, 0, -3, -500]
    assert rows["teacher"][:, 0].tolist() == [1100, 3, 0, -3, -500]
    assert (rows["moments"].dtype, rows["teacher"].dtype) == (np.float32, np.float16)


def test_another_process_opens_them_without_torch(features):
    address = json.dumps(features.address())
    program = (
        "import json, sys\n"
        "from data_pipeline.features.feature_set import open_address\n"
        f"features = open_address(*json.loads({address!r}))\n"
        "assert not {'torch', 'webdataset', 'ray'} & sys.modules.keys(), 'too much'\n"
        "print(features.manifest.samples, *features.names)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == [str(features.manifest.samples), *FEATURES], done.stderr
    only = open_address(*features.address()[:3], ["teacher"])
    assert list(only.features) == ["teacher"]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_bring_the_features_of_their_rows(digits, digits_data, features, workers):
    data = digits_data(flip=True, workers=workers, max_bad_fraction=0.1)
    rows, starts = 40, [0, 40, 1410]
    order = Assembler(digits, data, 5).order
    batches = open_batches(digits, data, seed=5, starts=iter(starts), rows=rows, features=features)
    for start in starts:
        batch = next(batches)
        samples = order.samples(start, start + rows)
        turned = mirrored(5, range(start, start + rows))
        good = samples != EMPTY
        for name, at in (("moments", (0, 0, 0)), ("teacher", (0,))):
            numbers = np.array([array[at] for array in batch.features[name]])
            assert np.array_equal(numbers[good], np.where(turned, -samples, samples)[good])
    batches.close()


def test_a_sample_without_features_is_bad_and_replaced(digits, digits_data, features):
    assembler = Assembler(digits, digits_data(), 5, features=features)
    order = assembler.order.samples(0, digits.samples)
    [position] = np.flatnonzero(order == EMPTY).tolist()
    rows, pixels = features.empty(3), np.zeros((3, 8, 8, 1), np.uint8)
    labels = np.zeros(3, np.int64)
    told = assembler.fill(position - 1, pixels, labels, features=rows)
    [entry] = told.bad
    assert (entry.key, entry.position) == (digits.key(EMPTY), position)
    assert entry.reason.startswith("of its features")
    assert entry.place == features.manifest.place(EMPTY)
    following = int(assembler.order.samples(position + 1, position + 2)[0])
    assert entry.replaced_by == digits.key(following)
    assert rows["moments"][1:, 0, 0, 0].tolist() == [following, following]
    assert np.array_equal(pixels[1], pixels[2])
