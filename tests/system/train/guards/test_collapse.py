"""A model whose parts die: found in its reports, and told with causes and cures."""

import pytest
import torch

from system.foundation.errors import NumericsError
from system.foundation.world import World
from system.train.guards.collapse import Collapse
from system.train.guards.collapse import lifeless
from tests.system.train.trials import run_loop

ALIVE = {
    "latent/batch_std": 0.4,
    "latent/posterior_std": 0.5,
    "train/gradient_norm": 1.0,
}
POSTERIOR = "the posterior has collapsed"


@pytest.mark.parametrize(
    ("sections", "values", "found"),
    [
        ({}, {}, []),
        ({}, {"latent/batch_std": 0.011}, []),
        ({}, {"latent/batch_std": 0.009}, [POSTERIOR]),
        ({}, {"latent/batch_std": 0.0}, [POSTERIOR]),
        ({}, {"latent/batch_std": 0.0, "latent/posterior_std": 0.0}, []),  # no noise to drown in
        ({"guards": {"collapse": {"signal_to_noise": 0.0}}}, {"latent/batch_std": 0.0}, []),
        ({"objective": {"route": "detached"}}, {"latent/batch_std": 0.0}, [POSTERIOR]),
        ({}, {"train/gradient_norm": 0.0}, ["no gradient reaches any weight"]),
        ({}, {"train/encoder_gradient": 0.0}, ["no gradient reaches the encoder"]),
        ({}, {"train/flow_gradient": 0.0}, ["no gradient reaches the flow"]),
        (
            {"objective": {"route": "autoencoder_only"}},
            {"train/flow_gradient": 0.0},
            [],
        ),
    ],
)
def test_what_a_report_finds_dead(recipe, sections, values, found) -> None:
    assert list(lifeless(recipe(**sections), ALIVE | values)) == found


def test_a_report_without_the_numbers_finds_nothing(recipe) -> None:
    assert lifeless(recipe(), {}) == {}


def test_it_takes_so_many_reports_in_a_row_after_the_warm_up(recipe) -> None:
    made = recipe(
        guards={"collapse": {"reports": 3}},
        engine={"schedule": {"kind": "constant", "warmup_images": 16}},
    )
    collapse, dead = Collapse(made), ALIVE | {"latent/batch_std": 0.0}
    for images in (8, 16, 24, 32):
        collapse.check(images, dead)
    collapse.check(40, ALIVE)
    for images in (48, 56):
        collapse.check(images, dead)
    with pytest.raises(NumericsError, match=r"collapsed in 3 reports in a row, up to 64 images"):
        collapse.check(64, dead)
    never = Collapse(recipe(guards={"collapse": {"reports": 0}}))
    for images in range(8, 800, 8):
        never.check(images, dead)


def test_a_run_whose_posterior_collapses_stops_and_says_how_to_go_on(recipe) -> None:
    made = recipe(guards={"collapse": {"reports": 2}})

    def collapsing(state) -> None:
        encoder = state.engine.module.autoencoder.encoder
        encoder.register_forward_hook(lambda module, given, out: torch.zeros_like(out) * out)

    with pytest.raises(NumericsError, match="posterior has collapsed in 2 reports") as error:
        run_loop(World(), made, prepare=collapsing)
    assert "objective.reconstruction.weight" in str(error.value)
