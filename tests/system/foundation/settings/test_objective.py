import pytest
from pydantic import ValidationError

from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import PatchGan


def test_the_smallest_image_a_discriminator_can_judge() -> None:
    assert [PatchGan(layers=layers).smallest_image for layers in (1, 2, 3)] == [6, 12, 24]


def test_alignment_has_places_and_each_has_a_layer() -> None:
    assert FeatureAlignment(places=((0, 2), (-1, 1))).places == ((0, 2), (-1, 1))
    for refused in ((), ((0, 0),), ((0,),)):
        with pytest.raises(ValidationError, match="places"):
            FeatureAlignment.model_validate({"places": refused})


def test_strategies_are_known_by_name() -> None:
    with pytest.raises(ValidationError, match="strategy"):
        FeatureAlignment.model_validate({"strategy": "sideways"})
