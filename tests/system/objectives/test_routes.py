"""The gradient-route table, measured: which loss reaches which weights, for every route."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from system.alignment import strategies
from system.foundation.settings.objective import Likelihood
from system.foundation.settings.objective import Objective
from system.foundation.settings.objective import Reconstruction
from system.objectives import routes
from system.objectives.joint import JointModel
from system.objectives.routes import ROUTES
from tests.reference.gradient_routes import PAGE
from tests.reference.gradient_routes import STRATEGIES
from tests.reference.gradient_routes import against_any_tokens
from tests.reference.gradient_routes import align
from tests.reference.gradient_routes import aligned_by
from tests.reference.gradient_routes import is_reached
from tests.reference.gradient_routes import joint_model
from tests.reference.gradient_routes import page
from tests.reference.gradient_routes import reached
from tests.reference.gradient_routes import run
from tests.reference.gradient_routes import tiny_flow

Make = Callable[..., Any]

LOSSES = ("reconstruction", "nll", "entropy", "penalty")

# loss -> the parts it must reach; all others must receive nothing at all. The entropy of a learned
# posterior belongs to the evidence bound, so it goes where the likelihood goes in the encoder.
EXPECTED = {
    "joint": {
        "reconstruction": {"encoder", "decoder"},
        "nll": {"encoder", "flow"},
        "entropy": {"encoder"},
        "penalty": {"encoder", "flow"},
    },
    "detached": {
        "reconstruction": {"encoder", "decoder"},
        "nll": {"flow"},
        "entropy": set(),
        "penalty": {"flow"},
    },
    "frozen_encoder": {
        "reconstruction": {"decoder"},
        "nll": {"flow"},
        "entropy": set(),
        "penalty": {"flow"},
    },
    "frozen": {"reconstruction": set(), "nll": {"flow"}, "entropy": set(), "penalty": {"flow"}},
    "autoencoder_only": {
        "reconstruction": {"encoder", "decoder"},
        "nll": {"encoder"},
        "entropy": {"encoder"},
        "penalty": set(),
    },
    "decoder_only": {
        "reconstruction": {"decoder"},
        "nll": set(),
        "entropy": set(),
        "penalty": set(),
    },
}


# The forward strategy reaches the encoder where it is asked to; a place in block 1 of three.
TRAINING_FLOWS = [route for route in ROUTES if "flow" in ROUTES[route].trained]
BLOCKS = {
    "forward": {0, 1},
    "detach": {1},
    "reverse, paper": {1},
    "reverse, straight_through": {1, 2},
    "reverse, exact": {1, 2},
}


@pytest.fixture
def model_on() -> Callable[..., JointModel]:
    """A model with a learned posterior on a route, the same weights on each."""
    return joint_model


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_reaches_just_the_parts_of_its_route(
    route: str, loss: str, model_on: Make
) -> None:
    model = model_on(route)
    assert reached(model, getattr(run(model).terms, loss)) == EXPECTED[route][loss]


@pytest.mark.parametrize("route", TRAINING_FLOWS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_alignment_reaches_its_heads_and_the_blocks_of_its_strategy_on_every_route(
    route: str, strategy: str, model_on: Make
) -> None:
    model = model_on(route, aligned_by(strategy))
    assert reached(model, against_any_tokens(run(model))) == {"flow", "heads"}
    blocks = {index for index, block in enumerate(model.flow.blocks) if is_reached(block)}
    assert blocks == BLOCKS[strategy]


@pytest.mark.parametrize("route", ["joint", "detached"])
@pytest.mark.parametrize("encoder_weight", [0.5, 1.5])
def test_alignment_reaches_the_encoder_where_it_is_asked_to_and_never_the_decoder(
    route: str, encoder_weight: float, model_on: Make
) -> None:
    model = model_on(route, aligned_by("forward", encoder_weight))
    assert reached(model, against_any_tokens(run(model))) == {"encoder", "flow", "heads"}


@pytest.mark.parametrize("route", TRAINING_FLOWS)
def test_alignment_changes_no_other_route(route: str, model_on: Make) -> None:
    weights = 1.5 if "encoder" in ROUTES[route].trained else 0.0
    model = model_on(route, aligned_by("forward", weights))
    terms = run(model).terms
    for loss in LOSSES:
        assert reached(model, getattr(terms, loss)) == EXPECTED[route][loss]


def test_the_committed_page_is_what_is_measured() -> None:
    assert PAGE.read_text("utf-8") == page(), (
        "docs/results/gradient_routes.md differs from what the gradients say; if that is meant, "
        "write it anew: python -m tests.reference.gradient_routes"
    )


def test_the_printed_table_of_strategies_says_the_same() -> None:
    """The table in the docstring of `strategies`: data side, the block itself, noise side."""
    printed = {}
    for line in (strategies.__doc__ or "").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].replace("`", "")
        if name in STRATEGIES:
            printed[name] = cells[1:]
    assert printed.keys() == STRATEGIES.keys()
    for strategy, (data_side, block, noise_side, encoder) in printed.items():
        flow = tiny_flow("simflow", 0.1)
        align(flow, ((1, 1),), strategy)
        whole, some = is_reached(flow.blocks[1].affine_out), is_reached(flow.blocks[1])
        assert (data_side == "all") == is_reached(flow.blocks[0])
        assert (block == "all") == whole
        assert (block == "up to layer") == (some and not whole)
        assert (noise_side == "all") == is_reached(flow.blocks[2])
        assert (encoder == "encoder_weight") == (strategy == "forward")


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
        model = stir(JointModel(make_recipe(objective=objective)).double())
        before = {name: value.clone() for name, value in model.state_dict().items()}
        # No momentum and no decay: a weight moves if and only if its gradient is not zero.
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
        terms = run(model).terms
        terms.total(objective).backward()
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
        terms = run(model_on(route)).terms
        values[route] = replace(terms, nll=terms.nll.detach())
    for loss in LOSSES:
        seen = {getattr(terms, loss).item() for terms in values.values()}
        assert len(seen) == 1, (loss, seen)
