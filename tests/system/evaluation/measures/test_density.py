import math
from dataclasses import replace

import pytest
import torch

from system.evaluation.measures.density import density
from system.evaluation.measures.latents import latent_noise
from system.flow.flow import to_tokens


def values(bench) -> dict[str, float]:
    return {one.name.removeprefix("evaluation/"): one.value for one in density(bench)}


def test_numbers_are_those_of_the_slow_way(bench):
    """One image, one class, one draw at a time."""
    model, recipe = bench.subject.model, bench.subject.recipe
    draws, dims = bench.settings.density_samples, recipe.tokens * recipe.token_width
    bits, hits = 0.0, 0
    count = len(bench.held_out.label)
    for i in range(count):
        image = bench.held_out.image[i : i + 1].float() / 127.5 - 1
        logits = torch.zeros(10)
        for draw in range(draws):
            latent = model.autoencoder.encode(image).sample(
                latent_noise(bench, range(i, i + 1), draw)
            )
            tokens = to_tokens(latent, recipe.flow.patch).expand(10, -1, -1)
            logits += model.flow.log_prob(tokens, model.flow.condition(torch.arange(10))) / draws
        label = bench.held_out.label[i]
        bits -= logits[label].item() / dims / math.log(2) / count
        hits += int(logits.argmax() == label)
    found = values(bench)
    assert found["bits_per_dim"] == pytest.approx(bits, rel=1e-5)  # float32 likelihoods
    assert found["bayes_accuracy"] == pytest.approx(hits / count)
    noise = math.log2(recipe.autoencoder.posterior.std * math.sqrt(2 * math.pi * math.e))
    assert found["rate_bits_per_dim"] == pytest.approx(bits - noise, rel=1e-4)
    assert 0 <= found["gradient_accuracy"] <= 1


def test_the_batch_changes_rounding_alone(bench):
    other = replace(bench, settings=bench.settings.model_copy(update={"batch": 7}))
    assert values(other)["bits_per_dim"] == pytest.approx(values(bench)["bits_per_dim"], rel=1e-6)


def test_densities_have_an_error_bar_and_no_detector(bench):
    measured = {one.name: one for one in density(bench)}
    bits = measured["evaluation/bits_per_dim"]
    assert bits.standard_error > 0
    assert bits.protocol.detector is None
    assert bits.protocol.latents.draws == bench.settings.density_samples
    gradient = measured["evaluation/gradient_accuracy"].protocol.latents
    assert gradient.draws == bench.settings.gradient_samples
    assert measured["evaluation/bayes_accuracy"].standard_error is None
