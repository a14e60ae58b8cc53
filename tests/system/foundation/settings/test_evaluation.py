import pytest
from pydantic import ValidationError

from system.foundation.keys import key
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.evaluation import SamplerChanges


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
        {"decoding": "speculative"},
        {"jacobi_chunk": 0},
        {"jacobi_tolerance": -1e-3},
        {"attention_temperature": 0.5},  # guidance_against is null_class
    ],
)
def test_what_cannot_be_drawn_is_refused(refused: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sampler.model_validate(refused)


def test_keys_that_change_nothing_are_left_out() -> None:
    settings = DigitsEvaluation(
        every_images=1,
        guidance=2.0,
        guidance_against="temperature",
        attention_temperature=0.5,
        temperature=0.9,
    )
    effective = settings.effective()
    assert type(effective) is Sampler
    assert (effective.guidance, effective.attention_temperature) == (2.0, 0.5)
    unguided = settings.model_copy(update={"guidance": 0.0}).effective()
    assert unguided == Sampler(guidance=0.0, temperature=0.9)
    iterated = {"decoding": "jacobi", "jacobi_chunk": 8, "jacobi_tolerance": 0.1}
    settings = Sampler(guidance=0.0, guidance_rule="linear", **iterated)
    assert settings.effective() == Sampler(guidance=0.0, **iterated)
    assert settings.model_copy(update={"decoding": "tokens"}).effective() == Sampler(guidance=0.0)


def test_every_key_of_a_sampler_may_be_changed_and_none_has_to_be() -> None:
    assert set(SamplerChanges.model_fields) == set(Sampler.model_fields)
    assert SamplerChanges().changes() == {}
    assert SamplerChanges(guidance=0.0, denoise=1.0).changes() == {"guidance": 0.0, "denoise": 1.0}
    for name, field in Sampler.model_fields.items():
        changed = key(SamplerChanges.model_fields[name], name)
        assert changed.expects == f"{key(field, name).expects} | null"
