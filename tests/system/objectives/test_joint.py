import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from system.flow.flow import to_tokens
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Likelihood
from system.foundation.settings.objective import Lpips
from system.foundation.settings.objective import Objective
from system.foundation.settings.objective import PatchGan
from system.foundation.settings.objective import Reconstruction
from system.objectives.joint import JointModel
from system.objectives.joint import LossTerms

PUBLISHED = Path(__file__).parents[3] / "configs" / "simflow_256.yaml"


def test_the_total_is_the_weighted_sum_of_the_terms_in_use() -> None:
    terms = LossTerms(*(torch.tensor(value) for value in (1.0, 2.0, 0.5, 7.0, 11.0, 13.0, -0.5)))
    objective = Objective(
        reconstruction=Reconstruction(weight=3.0),
        likelihood=Likelihood(weight=2.0, latent_penalty=0.25),
    )
    assert terms.total(objective).item() == 3 * 1 + 2 * (2 - 0.5) + 0.25 * 13
    everything = objective.model_copy(
        update={
            "perceptual": Lpips(weight=0.5, trunk="-"),
            "adversarial": PatchGan(weight=0.1),
            "alignment": FeatureAlignment(weight=0.2),
        }
    )
    assert terms.total(everything).item() == pytest.approx(9.25 + 0.5 * 7 + 0.1 * 11 - 0.2 * 0.5)


def inputs(given: Recipe, batch: int = 4) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    side, latent = given.data.image_size, given.latent_size
    channels = given.latent_channels
    return (
        torch.randn(batch, given.data.image_channels, side, side, generator=generator),
        torch.arange(batch) % given.data.classes,
        torch.randn(batch, channels, latent, latent, generator=generator),
        torch.zeros(batch, dtype=torch.bool),
    )


def test_the_decoder_and_the_flow_read_the_same_noisy_latent(
    make_recipe: Callable[..., Recipe],
) -> None:
    given = make_recipe()
    torch.manual_seed(0)
    model = JointModel(given)
    image, label, noise, drop = inputs(given)
    output = model(image, label, noise, drop)
    posterior = model.autoencoder.encode(image)
    latent = posterior.mean + 0.5 * noise
    torch.testing.assert_close(output.reconstruction, model.autoencoder.decode(latent))
    log_prob = model.flow.log_prob(to_tokens(latent, 1), model.flow.condition(label))
    torch.testing.assert_close(output.terms.nll, -(log_prob / latent[0].numel()).mean())
    torch.testing.assert_close(output.statistics["latent/mean_std"], posterior.mean.std())


def test_the_penalty_is_the_mean_square_of_what_the_blocks_are_given(
    make_recipe: Callable[..., Recipe],
) -> None:
    given = make_recipe()
    model = JointModel(given)
    image, label, noise, drop = inputs(given)
    latent = to_tokens(model.autoencoder.encode(image).mean + 0.5 * noise, 1)
    trace = model.flow.trace(latent, model.flow.condition(label))
    expected = sum(one.square().mean() for one in trace.inputs)
    torch.testing.assert_close(model(image, label, noise, drop).terms.penalty, expected)


def test_only_a_model_in_training_tracks_its_prior(make_recipe: Callable[..., Recipe]) -> None:
    given = make_recipe()
    given = given.model_copy(update={"flow": given.flow.model_copy(update={"affine": "shift"})})
    model = JointModel(given)
    model.eval()(*inputs(given))
    assert (model.flow.prior_variance == 1).all()
    image, label, noise, drop = inputs(given)
    model.train()(image, label, noise, drop)
    # As much of the code's tenth as these are of an update's images.
    rate = 1 - 0.9 ** (len(image) / given.run.global_batch)
    latent = to_tokens(model.autoencoder.encode(image).mean + 0.5 * noise, 1)
    mapped, _ = model.flow(latent, model.flow.condition(label))
    expected = 1 - rate + rate * mapped.square().mean(dim=0)
    torch.testing.assert_close(model.flow.prior_variance, expected)
    assert len(image) < given.run.global_batch


def test_dropped_labels_meet_the_null_class(make_recipe: Callable[..., Recipe]) -> None:
    given = make_recipe()
    torch.manual_seed(0)
    model = JointModel(given).double()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    image, label, noise, _ = inputs(given)
    everyone = torch.ones(4, dtype=torch.bool)
    one = model(image.double(), label, noise.double(), everyone).terms.nll
    other = model(image.double(), (label + 1) % 4, noise.double(), everyone).terms.nll
    assert torch.equal(one, other)
    assert not torch.equal(one, model(image.double(), label, noise.double(), ~everyone).terms.nll)


def test_without_a_flow_the_rate_is_the_divergence_from_a_standard_normal(
    make_recipe: Callable[..., Recipe],
) -> None:
    given = make_recipe(objective=Objective(route="autoencoder_only"))
    torch.manual_seed(0)
    model = JointModel(given)
    image, label, _, drop = inputs(given)
    posterior = model.autoencoder.encode(image)
    draws = [model(image, label, torch.randn(4, 3, 4, 4), drop).terms for _ in range(100)]
    rate = torch.stack([terms.nll - terms.entropy for terms in draws]).mean().item()
    exact = (0.5 * (posterior.mean.square().mean() + 0.25 - 1 - math.log(0.25))).item()
    # 100 draws of 192 dimensions: three standard errors are below 0.02.
    assert rate == pytest.approx(exact, abs=0.02)


def test_terms_are_float32_under_bf16_weights(make_recipe: Callable[..., Recipe]) -> None:
    given = make_recipe()
    model = JointModel(given).bfloat16()
    terms = model(*inputs(given)).terms
    assert {value.dtype for value in (terms.reconstruction, terms.nll, terms.entropy)} == {
        torch.float32
    }


def test_the_published_model_has_the_published_number_of_parameters() -> None:
    """1.4 billion in SimFlow's table 1 (flow and autoencoder), two digits.

    Flow: 56 layers of (12 + 6) width^2 (attention, perceptron, adaptive norms) and a small rest;
    six-fold adaptive norms are the only form that reaches the published figure.
    """
    given = resolve(PUBLISHED, []).recipe
    with torch.device("meta"):
        model = JointModel(given)
    flow = sum(parameter.numel() for parameter in model.flow.parameters())
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert flow == pytest.approx(56 * 18 * 1152**2, rel=0.003)
    assert round(whole / 1e9, 1) == 1.4
    assert whole == 1_405_910_979


@pytest.mark.slow
def test_the_published_width_runs_forward_and_backward_with_a_shallow_deep_block() -> None:
    given = resolve(PUBLISHED, ["flow.depths=[2,2,2,2,2,2]"]).recipe
    torch.manual_seed(0)
    model = JointModel(given).bfloat16()
    terms = model(*inputs(given, batch=1)).terms
    total = terms.reconstruction + terms.nll
    total.backward()
    assert total.isfinite()
    # A fresh flow is the identity: its nll is that of N(0, I), near 0.5 ln(2 pi) + 0.5 * E[x^2].
    assert 0.9 < terms.nll.item() < 3
    untouched = [name for name, p in model.named_parameters() if p.grad is None]
    assert untouched == []
    assert all(p.grad.isfinite().all() for p in model.parameters())
