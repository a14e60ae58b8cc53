import pytest
import torch

from system.evaluation.labels import check_labels
from system.evaluation.labels import labels_of
from system.foundation.errors import BadInput


def test_balanced_labels_are_every_class_in_turn():
    assert labels_of("balanced", 5, 0, [7, 7, 7]).tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("mode", ["random", "balanced", "train_frequency"])
def test_a_label_is_a_function_of_seed_and_number(mode):
    few, many = labels_of(mode, 10, 3, [1, 2, 3]), labels_of(mode, 200, 3, [1, 2, 3])
    assert torch.equal(few, many[:10])
    assert few.dtype == torch.int64
    if mode != "balanced":
        assert not torch.equal(labels_of(mode, 200, 4, [1, 2, 3]), many)


@pytest.mark.parametrize(
    ("mode", "expected"), [("random", [1 / 3, 1 / 3, 1 / 3]), ("train_frequency", [0.3, 0.0, 0.7])]
)
def test_classes_are_as_frequent_as_asked_for(mode, expected):
    label = labels_of(mode, 4000, 0, [300, 0, 700])
    found = torch.bincount(label, minlength=3) / 4000
    assert found.tolist() == pytest.approx(expected, abs=0.03)  # 4 standard errors
    if mode == "train_frequency":
        assert found[1] == 0


def test_no_frequency_at_all_is_refused():
    with pytest.raises(BadInput, match="no image of any class"):
        labels_of("train_frequency", 3, 0, [0, 0])


def test_labels_beyond_the_models_range_are_refused():
    check_labels(torch.tensor([0, 9]), 10)
    for wrong in (10, -1):
        with pytest.raises(BadInput, match=rf"found labels {wrong}, .* from 0 to 9"):
            check_labels(torch.tensor([0, wrong]), 10)
