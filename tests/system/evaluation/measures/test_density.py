import math
from dataclasses import replace

import pytest
import torch

from system.evaluation.measures.density import _accuracies
from system.evaluation.measures.density import _lengths
from system.evaluation.measures.density import _over_held_out
from system.evaluation.measures.density import density
from system.evaluation.measures.latents import latent_noise
from system.evaluation.subject import assemble_subject
from system.flow.flow import to_tokens
from system.foundation.errors import NumericsError
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.autoencoder import UniformPosterior
from system.foundation.settings.flow import Unconditional
from system.objectives.joint import JointModel
from tests.system.evaluation.conftest import random_weights


def values(bench) -> dict[str, float]:
    return {one.name.removeprefix("evaluation/"): one.value for one in density(bench)}


def test_numbers_are_those_of_the_slow_way(bench):
    """One image, one class, one draw at a time."""
    model, recipe = bench.subject.model, bench.subject.recipe
    draws, dims = bench.settings.density_samples, recipe.tokens * recipe.token_width
    bits, hits, near = 0.0, 0, 0
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
        near += int(label in logits.topk(5).indices)
    found = values(bench)
    assert found["bits_per_dim"] == pytest.approx(bits, rel=1e-5)  # float32 likelihoods
    assert found["bayes_accuracy"] == pytest.approx(hits / count)
    noise = math.log2(recipe.autoencoder.posterior.std * math.sqrt(2 * math.pi * math.e))
    assert found["rate_bits_per_dim"] == pytest.approx(bits - noise, rel=1e-4)
    assert found["bayes_top5_accuracy"] == pytest.approx(near / count)
    assert 0 <= found["gradient_accuracy"] <= found["gradient_top5_accuracy"] <= 1


def without_classes(bench):
    """The same weights, without those that steer by class."""
    recipe = bench.subject.recipe
    flow = recipe.flow.model_copy(update={"condition": Unconditional()})
    recipe = recipe.model_copy(update={"flow": flow})
    names = JointModel(recipe).state_dict()
    weights = bench.subject.model.state_dict()
    kept = {
        name: weights.get(name, torch.full(shaped.shape, 0.1)) for name, shaped in names.items()
    }
    return replace(bench, subject=assemble_subject(recipe, kept, 0))


def test_a_flow_without_classes_has_bits_and_nothing_to_say_of_classes(bench):
    bare = without_classes(bench)
    found = values(bare)
    assert set(found) == {"bits_per_dim", "rate_bits_per_dim"}
    model, recipe = bare.subject.model, bare.subject.recipe
    image, draws = bare.held_out.image.float() / 127.5 - 1, bare.settings.density_samples
    bits = 0.0
    for draw in range(draws):
        latent = model.autoencoder.encode(image).sample(latent_noise(bare, range(len(image)), draw))
        tokens = to_tokens(latent, recipe.flow.patch)
        log_prob = model.flow.log_prob(tokens, model.flow.null_condition(len(tokens)))
        bits -= log_prob.mean().item() / tokens[0].numel() / math.log(2) / draws
    assert found["bits_per_dim"] == pytest.approx(bits, rel=1e-5)


def test_a_density_that_is_not_finite_is_no_number(bench):
    """The largest of what is no number is a class all the same: nothing may be said of it."""
    weights = bench.subject.model.state_dict()
    name = "flow.blocks.0.affine_out.bias"
    broken = {**weights, name: torch.full_like(weights[name], torch.nan)}
    diverged = replace(bench, subject=assemble_subject(bench.subject.recipe, broken, 0))
    with pytest.raises(NumericsError, match=r"found (\d+) of \1 held-out images"):
        density(diverged)


def test_top5_needs_more_than_five_classes(bench):
    def few(flow, tokens, label):
        return torch.zeros(len(label), 5)

    logits, _ = _over_held_out(bench, few, 1)
    assert [one.name for one in _accuracies(bench, "bayes", logits, 1)] == [
        "evaluation/bayes_accuracy"
    ]


def test_the_batch_changes_nothing(bench):
    other = replace(bench, settings=bench.settings.model_copy(update={"batch": 7}))
    assert values(other) == values(bench)


def test_of_many_classes_only_the_true_one_is_asked_for(bench, monkeypatch):
    monkeypatch.setattr("system.evaluation.measures.density.MOST_CLASSES", 9)
    few, all_classes = values(bench), None
    monkeypatch.undo()
    all_classes = values(bench)
    assert {name for name in all_classes if name not in few} == {
        "bayes_accuracy",
        "bayes_top5_accuracy",
    }
    assert few["bits_per_dim"] == pytest.approx(all_classes["bits_per_dim"], rel=1e-6)


def test_densities_have_an_error_bar_and_no_detector(bench):
    measured = {one.name: one for one in density(bench)}
    bits = measured["evaluation/bits_per_dim"]
    assert bits.standard_error > 0
    assert bits.protocol.detector is None
    assert bits.protocol.latents.draws == bench.settings.density_samples
    gradient = measured["evaluation/gradient_accuracy"].protocol.latents
    assert gradient.draws == bench.settings.gradient_samples
    assert measured["evaluation/bayes_accuracy"].standard_error is None


def test_pixels_have_bits_where_uniform_noise_fills_their_bins(bench):
    """TARFlow's number: nats of the flow over log 2, and log2(128)."""
    pixels = Pixels(posterior=UniformPosterior())
    recipe = bench.subject.recipe.model_copy(update={"autoencoder": pixels})
    subject = assemble_subject(recipe, random_weights(recipe), 0)
    found = values(replace(bench, subject=subject))
    assert found["pixel_bits_per_dim"] == found["rate_bits_per_dim"]
    assert found["pixel_bits_per_dim"] == pytest.approx(found["bits_per_dim"] + 7, abs=1e-5)
    assert "pixel_bits_per_dim" not in values(bench)


def test_the_rates_error_is_that_of_the_images_rates(bench):
    log_prob = torch.tensor([-10.0, -20.0, -60.0])
    recipe = bench.subject.recipe
    dims = recipe.tokens * recipe.token_width
    bits = -log_prob.double() / dims / math.log(2)
    level = bits - 0.25  # entropies that follow the bits: every image has the same rate
    length, rate = _lengths(bench, log_prob, level)
    assert length.standard_error == pytest.approx(bits.std().item() / math.sqrt(3))
    assert rate.value == pytest.approx(0.25)
    assert rate.standard_error == pytest.approx(0, abs=1e-9)
