"""The gradient-route table, measured: which loss reaches which weights, for every route."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.objective import Likelihood
from system.foundation.settings.objective import Objective
from system.foundation.settings.objective import Reconstruction
from system.objectives import routes
from system.objectives.joint import JointModel
from system.objectives.joint import LossTerms
from system.objectives.routes import ROUTES

Make = Callable[..., Any]

LOSSES = ("reconstruction", "nll", "entropy")
PARTS = ("encoder", "decoder", "flow")

# loss -> the parts it must reach; all others must receive nothing at all. The entropy of a learned
# posterior belongs to the evidence bound, so it goes where the likelihood goes in the encoder.
EXPECTED = {
    "joint": {
        "reconstruction": {"encoder", "decoder"},
        "nll": {"encoder", "flow"},
        "entropy": {"encoder"},
    },
    "detached": {"reconstruction": {"encoder", "decoder"}, "nll": {"flow"}, "entropy": set()},
    "frozen_encoder": {"reconstruction": {"decoder"}, "nll": {"flow"}, "entropy": set()},
    "frozen": {"reconstruction": set(), "nll": {"flow"}, "entropy": set()},
    "autoencoder_only": {
        "reconstruction": {"encoder", "decoder"},
        "nll": {"encoder"},
        "entropy": {"encoder"},
    },
    "decoder_only": {"reconstruction": {"decoder"}, "nll": set(), "entropy": set()},
}


def reached(model: JointModel, terms: LossTerms, loss: str) -> set[str]:
    """The parts with a gradient that is not zero."""
    value = getattr(terms, loss)
    model.zero_grad(set_to_none=True)
    if value.requires_grad:
        value.backward(retain_graph=True)
    parts = {
        "encoder": model.autoencoder.encoder,
        "decoder": model.autoencoder.decoder,
        "flow": model.flow,
    }
    return {
        name
        for name, part in parts.items()
        if any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    }


@pytest.fixture
def model_on(make_recipe: Make, stir: Make) -> Callable[[str], JointModel]:
    """A model with a learned posterior on a route, the same weights on each."""

    def make(route: str) -> JointModel:
        torch.manual_seed(0)
        shape = make_recipe().autoencoder.model_copy(
            update={"posterior": LearnedPosterior(), "weights": "somewhere"}
        )
        objective = Objective(route=route)
        return stir(JointModel(make_recipe(autoencoder=shape, objective=objective)))

    return make


def run(model: JointModel) -> LossTerms:
    generator = torch.Generator().manual_seed(0)
    return model(
        torch.randn(4, 1, 8, 8, generator=generator),
        torch.arange(4),
        torch.randn(4, 3, 4, 4, generator=generator),
        torch.tensor([False, True, False, False]),
    ).terms


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_reaches_just_the_parts_of_its_route(
    route: str, loss: str, model_on: Make
) -> None:
    model = model_on(route)
    assert reached(model, run(model), loss) == EXPECTED[route][loss]


@pytest.mark.parametrize("route", ROUTES)
def test_parts_that_no_loss_reaches_are_frozen_and_the_others_are_not(
    route: str, model_on: Make
) -> None:
    model = model_on(route)
    trained = set().union(*EXPECTED[route].values())
    assert set(ROUTES[route].trained) == trained
    for name in ("encoder", "decoder"):
        part = getattr(model.autoencoder, name)
        assert all(p.requires_grad == (name in trained) for p in part.parameters())
    assert all(p.requires_grad == ("flow" in trained) for p in model.flow.parameters())


def test_the_printed_table_says_the_same() -> None:
    printed = {}
    for line in (routes.__doc__ or "").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in ROUTES:
            printed[cells[0]] = [set(cell.split(", ")) - {"none"} for cell in cells[1:3]]
    assert printed == {
        route: [rows["reconstruction"], rows["nll"]] for route, rows in EXPECTED.items()
    }


def test_one_optimiser_step_moves_encoder_decoder_and_flow_by_their_own_routes(
    make_recipe: Make, stir: Make
) -> None:
    """Joint training is real: with either loss alone, only the parts it reaches move."""
    for weights, moving in (
        ((1.0, 1.0), {"encoder", "decoder", "flow"}),
        ((1.0, 0.0), {"encoder", "decoder"}),
        ((0.0, 1.0), {"encoder", "flow"}),
    ):
        objective = Objective(
            reconstruction=Reconstruction(weight=weights[0]),
            likelihood=Likelihood(weight=weights[1]),
        )
        torch.manual_seed(0)
        model = stir(JointModel(make_recipe(objective=objective)))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        # No momentum and no decay: a weight moves if and only if its gradient is not zero.
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
        run(model).total(objective).backward()
        optimiser.step()
        moved = {
            name.removeprefix("autoencoder.").split(".")[0]
            for name, value in model.state_dict().items()
            if not torch.equal(value, before[name])
        }
        assert moved == moving


def test_a_stop_gradient_changes_no_value(model_on: Make) -> None:
    values = {}
    for route in ("joint", "detached", "frozen_encoder", "frozen"):
        terms = run(model_on(route))
        values[route] = replace(terms, nll=terms.nll.detach())
    for loss in LOSSES:
        seen = {getattr(terms, loss).item() for terms in values.values()}
        assert len(seen) == 1, (loss, seen)
