import pytest

from data_pipeline.features.record import options_of
from data_pipeline.features.record import record_of
from system.foundation.errors import DataError
from tests.data_pipeline.features.sets import FEATURES
from tests.data_pipeline.features.sets import record

OTHER_WEIGHTS = {"moments": FEATURES["moments"].model_copy(update={"weights": "three"})}
OTHER_SHAPE = {"moments": FEATURES["moments"].model_copy(update={"shape": (4, 3, 3)})}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size": 16}, "image_size: 8 there, 16 wanted"),
        ({"image_channels": 3}, "image_channels: 1 there, 3 wanted"),
        ({"crop": "adm"}, "crop: none there, adm wanted"),
        ({"images": {"held_out": "0"}}, "images of split held_out: none there, 0 wanted"),
        ({"features": OTHER_WEIGHTS}, "moments: of weights with digest one there, three wanted"),
        ({"features": OTHER_SHAPE}, "moments: shape (2, 3, 3) there, (4, 3, 3) wanted"),
        ({"features": {"depth": FEATURES["moments"]}}, "depth: not among its features"),
    ],
)
def test_whatever_differs_is_said_and_in_the_digest(digits, changes, said):
    wanted = record(digits, **changes)
    assert record(digits).lacks(wanted) == [said]
    assert record(digits).digest != wanted.digest


def test_all_differences_are_said_at_once(digits):
    wanted = record(digits, crop="adm", image_size=16, features=OTHER_WEIGHTS)
    assert len(record(digits).lacks(wanted)) == 3


def test_a_set_may_hold_more_than_is_wanted(digits):
    assert record(digits).lacks(record(digits)) == []
    less = record(digits, mirrored=False, features={"teacher": FEATURES["teacher"]})
    assert record(digits).lacks(less) == []
    [missing] = less.lacks(record(digits, features={"teacher": FEATURES["teacher"]}))
    assert missing.startswith("mirrored images: not looked at")
    stored = {"moments": FEATURES["moments"].model_copy(update={"dtype": "float16"})}
    assert record(digits, features=stored).lacks(record(digits, features=stored)) == []


def test_mirrored_arrays_are_beside_the_others(digits):
    assert list(record(digits).arrays) == [
        "moments", "moments.mirrored", "teacher", "teacher.mirrored",
    ]  # fmt: skip
    assert list(record(digits, mirrored=False).arrays) == ["moments", "teacher"]


def test_a_manifest_of_images_has_no_record(digits):
    with pytest.raises(DataError, match=r"not one of features.*precompute_features\.py"):
        record_of(digits)
    assert options_of(record(digits))["features_digest"] == record(digits).digest
