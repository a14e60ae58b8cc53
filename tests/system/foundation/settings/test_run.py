import pytest
from pydantic import ValidationError

from system.foundation.settings.data import Data
from system.foundation.settings.run import Cluster
from system.foundation.settings.run import Run

GIVEN = {
    "total_images": 1,
    "global_batch": 1,
    "report_every_images": 1,
    "checkpoint_every_images": 1,
}


@pytest.mark.parametrize("name", ["no spaces", "-a", "", "a/b", "a" * 101])
def test_names_that_make_no_file_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        Run(name=name, **GIVEN)


def test_names_that_make_a_file_are_taken() -> None:
    for name in ("a", "simflow_256", "0.5-x", "a" * 100):
        assert Run(name=name, **GIVEN).name == name


def test_images_are_grey_or_in_colour() -> None:
    with pytest.raises(ValidationError, match="image_channels"):
        Data(shards="s", image_size=8, classes=2, image_channels=2)


def test_restarts_may_be_without_limit_but_not_fewer() -> None:
    assert Cluster(max_failures=-1).max_failures == -1
    with pytest.raises(ValidationError, match="max_failures"):
        Cluster(max_failures=-2)


@pytest.mark.parametrize(
    "labels", [{"a b": "c"}, {"": "c"}, {"a": ""}, {"a": "!c"}, {"a": "in(b)"}]
)
def test_workers_want_labels_by_their_exact_value(labels: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="training_labels"):
        Cluster(training_labels=labels)
    assert Cluster(training_labels={"ray.io/market-type": "on-demand"}).training_labels
