import pytest
from pydantic import ValidationError

from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import Sampler


def test_an_evaluation_draws_as_a_sampler_does() -> None:
    settings = DigitsEvaluation(every_images=1, guidance=2.0, guidance_rule="linear")
    shared = {name: getattr(settings, name) for name in Sampler.model_fields}
    assert Sampler(**shared).guidance_rule == "linear"


@pytest.mark.parametrize(
    "refused",
    [
        {"guidance": -1.0},
        {"guidance_rule": "simflow"},
        {"temperature": 0.0},
        {"attention_temperature": 0.0},
        {"denoise": -0.5},
    ],
)
def test_what_cannot_be_drawn_is_refused(refused: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sampler.model_validate(refused)
