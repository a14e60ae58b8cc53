import pytest
import torch

from system.evaluation.rounding import to_uint8
from system.foundation import streams
from system.foundation.errors import NumericsError

LEVELS = torch.arange(256).to(torch.uint8).reshape(1, 1, 16, 16)


@pytest.mark.parametrize("rule", ["half_to_even", "half_up"])
def test_all_256_levels_survive_the_round_trip(rule):
    assert torch.equal(to_uint8(2 * (LEVELS / 255) - 1, rule), LEVELS)
    assert to_uint8(torch.tensor([[[[-3.0, 3.0]]]]), rule).flatten().tolist() == [0, 255]


def test_truncation_lowers_63_levels_of_images_that_were_8_bits_before():
    """The reference path of TARFlow's release: ToTensor, Normalize(.5, .5), 0.5 (x + 1), * 255."""
    found = to_uint8((LEVELS / 255 - 0.5) / 0.5, "truncate")
    lowered = LEVELS.int() - found.int()
    assert set(lowered.flatten().tolist()) == {0, 1}
    assert int(lowered.sum()) == 63
    assert to_uint8(torch.tensor([[[[-3.0, 3.0]]]]), "truncate").flatten().tolist() == [0, 255]


def test_truncation_darkens_by_half_a_level():
    image = 2 * streams.uniform(0, "test", range(40_000)).float().reshape(1, 1, 200, 200) - 1
    exact = ((image + 1) * 127.5).mean().item()
    for rule, shift in (("half_to_even", 0.0), ("half_up", 0.0), ("truncate", -0.5)):
        found = to_uint8(image, rule).float().mean().item() - exact
        assert found == pytest.approx(shift, abs=0.006)  # 4 x 0.29 / sqrt(40,000)


def test_images_that_are_not_finite_are_counted_and_named():
    image = torch.zeros(12, 1, 2, 2)
    image[1, 0, 0, 0] = torch.nan
    with pytest.raises(NumericsError, match=r"1 of 12 images .*\(numbers 65\)"):
        to_uint8(image, numbers=range(64, 76))
    image[2:, 0, 0, 0] = torch.inf
    with pytest.raises(NumericsError, match=r"11 of 12 .*numbers 1, 2, 3, 4, 5, 6, 7, 8, \.\.\."):
        to_uint8(image)
