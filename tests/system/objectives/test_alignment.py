from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from system.alignment.strategies import places_of
from system.flow.flow import to_tokens
from system.foundation.recipe import Recipe
from system.foundation.settings.flow import Flow
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Objective
from system.foundation.settings.objective import Teacher
from system.objectives.alignment import alignment_loss
from system.objectives.joint import JointModel


def test_it_is_minus_the_cosine_of_the_angle() -> None:
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    aligned, opposite = 3 * tokens, -tokens
    across = torch.tensor([[[0.0, 1.0], [5.0, 0.0]]])
    between = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
    for projected, expected in ((aligned, -1), (opposite, 1), (across, 0), (between, -(0.5**0.5))):
        assert alignment_loss((projected,), tokens).item() == pytest.approx(expected, abs=1e-6)


def test_places_samples_and_tokens_count_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other, tokens = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64)
    total = 0.0
    for projected in (one, other):
        for sample in range(2):
            for place in range(4):
                left, right = projected[sample, place], tokens[sample, place]
                total += (left @ right / left.norm() / right.norm()).item()
    assert alignment_loss((one, other), tokens).item() == pytest.approx(-total / 16, abs=1e-12)


def test_bf16_features_are_compared_in_float32() -> None:
    tokens = torch.ones(1, 2, 3)
    loss = alignment_loss((tokens.bfloat16().requires_grad_(),), tokens)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(-1, abs=1e-6)


def test_a_token_of_zeros_has_no_direction_and_no_infinite_gradient() -> None:
    projected = torch.zeros(1, 1, 3, requires_grad=True)
    loss = alignment_loss((projected,), torch.ones(1, 1, 3))
    loss.backward()
    assert loss.item() == 0
    assert projected.grad is not None
    assert projected.grad.isfinite().all()


def aligned_model(make_recipe: Callable[..., Recipe], stir: Any, **keys: Any) -> JointModel:
    """A tiny joint model in float64 on a route, aligned in three blocks."""
    alignment = FeatureAlignment(
        teacher=Teacher(width=5),
        head_width=8,
        **({"places": ((0, 1), (-2, 1), (-1, 2)), "strategy": "forward"} | keys["alignment"]),
    )
    torch.manual_seed(0)
    recipe = make_recipe(
        flow=Flow(width=16, depths=(1, 1, 2), head_width=8),
        objective=Objective(route=keys["route"], alignment=alignment),
    )
    return stir(JointModel(recipe).double())


def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(4, 1, 8, 8, generator=generator, dtype=torch.float64),
        torch.arange(4),
        torch.randn(4, 3, 4, 4, generator=generator, dtype=torch.float64),
        torch.tensor([False, True, False, False]),
    )


def teachers_tokens() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(4, 16, 5, generator=generator, dtype=torch.float64)


def own_update(model: JointModel) -> dict[str, torch.Tensor]:
    """The gradients of the objective, in one pass."""
    output = model(*inputs())
    terms = replace(output.terms, alignment=alignment_loss(output.projected, teachers_tokens()))
    terms.total(model.objective).backward()
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in model.named_parameters()
    }


def repa_e_update(model: JointModel) -> dict[str, torch.Tensor]:
    """The same in two steps, as REPA-E's code does: the flow stands still in the encoder's step,
    and sees a latent without history in its own."""
    image, label, noise, drop = inputs()
    alignment = model.objective.alignment
    parts = {
        "autoencoder.": alignment.encoder_weight,
        "flow.": alignment.weight,
        "heads.": alignment.weight,
    }
    plain = model(*inputs()).terms  # everything else
    found: dict[str, torch.Tensor] = {}
    for part, weight in parts.items():
        latent = model.autoencoder.encode(image).sample(noise)
        tokens = to_tokens(latent if part == "autoencoder." else latent.detach(), model.patch)
        places = places_of(alignment, 3)
        trace = model.flow.trace(tokens, model.flow.condition(label, drop), set(places))
        projected = model.heads(tuple(trace.features[place] for place in places))
        loss = weight * alignment_loss(projected, teachers_tokens()) + plain.total(model.objective)
        named = [(n, w) for n, w in model.named_parameters() if n.startswith(part)]
        gradients = torch.autograd.grad(
            loss, [w for _, w in named], allow_unused=True, retain_graph=True
        )
        for (name, given), gradient in zip(named, gradients, strict=True):
            found[name] = torch.zeros_like(given) if gradient is None else gradient
    return found


@pytest.mark.parametrize(
    ("route", "weight", "encoder_weight"),
    [
        ("detached", 0.5, 1.5),  # REPA-E's own
        ("joint", 0.5, 1.5),
        ("joint", 0.5, 0.5),  # the normal pass leads to the encoder as it is
        ("joint", 0.5, 0.0),
        ("detached", 0.5, 0.0),
    ],
)
@pytest.mark.parametrize("places", [((0, 1),), ((1, 1),), ((0, 1), (-2, 1), (-1, 2))])
def test_one_pass_has_the_gradients_of_repa_es_two_steps(
    make_recipe: Any, stir: Any, route: str, weight: float, encoder_weight: float, places: Any
) -> None:
    keys = {"weight": weight, "encoder_weight": encoder_weight, "places": places}
    one, other = (aligned_model(make_recipe, stir, route=route, alignment=keys) for _ in range(2))
    found, expected = own_update(one), repa_e_update(other)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        # Rounding of float64 in sums of some thousand terms.
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-13, msg=name)


def test_the_encoder_gets_its_own_weight_and_the_flow_the_other(
    make_recipe: Any, stir: Any
) -> None:
    """Twice the encoder's weight: twice the alignment's gradient there, and the same elsewhere."""

    def of_alignment(weight: float, encoder_weight: float) -> dict[str, torch.Tensor]:
        keys = {"weight": weight, "encoder_weight": encoder_weight}
        model = aligned_model(make_recipe, stir, route="detached", alignment=keys)
        (weight * alignment_loss(model(*inputs()).projected, teachers_tokens())).backward()
        return {n: w.grad for n, w in model.named_parameters() if w.grad is not None}

    once, twice = of_alignment(0.5, 1.5), of_alignment(0.5, 3.0)
    assert once.keys() == twice.keys()
    assert not any(name.startswith("autoencoder.decoder") for name in once)
    for name, gradient in once.items():
        factor = 2 if name.startswith("autoencoder.encoder") else 1
        torch.testing.assert_close(twice[name], factor * gradient, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("reverse", ["paper", "straight_through"])
@pytest.mark.parametrize("route", ["joint", "detached"])
def test_shared_passes_have_the_gradients_of_separate_ones(
    make_recipe: Any, stir: Any, route: str, reverse: str
) -> None:
    found = []
    for passes in ("separate", "shared"):
        keys = {"strategy": "reverse", "reverse": reverse, "passes": passes}
        model = aligned_model(make_recipe, stir, route=route, alignment=keys)
        found.append(own_update(model))
    for name, gradient in found[0].items():
        # Rounding of float64 in sums of some thousand terms.
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-9, atol=1e-12, msg=name)


def test_batch_normalised_latents_move_their_memory_once_a_pass(
    make_recipe: Any, stir: Any
) -> None:
    """REPA-E: a second pass of the flow must not be a second look at the batch."""
    memories = []
    for weights in ((0.5, 1.5), (0.5, 0.5)):
        keys = {"weight": weights[0], "encoder_weight": weights[1]}
        shape = make_recipe().autoencoder.model_copy(update={"normalise": "batch"})
        model = aligned_model(
            lambda shape=shape, **sections: make_recipe(autoencoder=shape, **sections),
            stir,
            route="joint",
            alignment=keys,
        )
        model(*inputs())
        memories.append({n: b.clone() for n, b in model.named_buffers() if "running" in n})
    assert memories[0]
    assert all(torch.equal(memories[0][name], memories[1][name]) for name in memories[0])
