"""A trial's name and command line are functions of its overrides alone."""

import pytest

from system.campaign.trial import as_overrides
from system.campaign.trial import run_arguments
from system.campaign.trial import run_name
from system.campaign.trial import shared_arguments
from system.campaign.trial import trial_digest
from system.campaign.trial import trial_recipe
from system.foundation.errors import RecipeError
from tests.system.campaign.campaigns import RATE
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import campaign

MADE = campaign(
    settings=["run.global_batch=4"],
    confirm={"top": 1, "seeds": [7], "protocol": ["evaluation.density_samples=9"]},
)
OVERRIDES = {SPREAD: 0.3, RATE: 1e-3}


def test_equal_overrides_have_equal_names():
    digest = trial_digest(OVERRIDES)
    assert trial_digest(dict(reversed(OVERRIDES.items()))) == digest
    assert trial_digest({**OVERRIDES, SPREAD: 0.5}) != digest
    assert run_name(MADE, digest) == f"sweep-{digest}"
    assert run_name(MADE, digest, 7) == f"sweep-{digest}-seed7"


def test_between_rungs_nothing_changes_but_the_length():
    made = [
        trial_recipe(MADE, run_arguments(MADE, OVERRIDES, "r", images=images, seed=None))
        for images in MADE.rungs
    ]
    assert [recipe.run.total_images for recipe in made] == [100, 200, 400]
    same = [recipe.model_dump(exclude={"run": {"total_images"}}) for recipe in made]
    assert same[0] == same[1] == same[2]
    assert made[0].engine.schedule.horizon_images == 400  # the cosine of the whole trial
    assert made[0].autoencoder.posterior.std == 0.3
    assert made[0].engine.optimiser.learning_rate == 1e-3
    assert (made[0].run.global_batch, made[0].run.name, made[0].run.root) == (4, "r", "runs")


def test_a_horizon_that_is_said_stays_and_a_constant_rate_has_none():
    said = campaign(settings=["engine.schedule.horizon_images=1000"])
    recipe = trial_recipe(said, run_arguments(said, OVERRIDES, "r", images=100, seed=None))
    assert recipe.engine.schedule.horizon_images == 1000
    constant = campaign(settings=["engine.schedule.kind=constant"])
    given = run_arguments(constant, OVERRIDES, "r", images=100, seed=None)
    assert not [each for each in given if "horizon" in each]


def test_a_confirmation_has_another_seed_and_a_larger_protocol():
    recipe = trial_recipe(MADE, run_arguments(MADE, OVERRIDES, "r", images=400, seed=7))
    assert (recipe.run.seed, recipe.evaluation.density_samples) == (7, 9)


def test_arms_are_overlays_and_settings_and_lists_cross_the_command_line():
    arms = {"deep": ["flow.depths=[1, 3]", "flow.width=48"], "smoke": ["configs/smoke.yaml"]}
    made = campaign(
        space={"shape": {"arms": arms}, "flow.depths": {"choices": [[1, 3], [2, 2]]}},
        overlays=["configs/smoke.yaml"],
    )
    overrides = as_overrides({"shape": "deep", "flow.depths": [2, 2]})
    assert overrides == {"shape": "deep", "flow.depths": "[2, 2]"}
    given = run_arguments(made, overrides, "r", images=8, seed=None)
    recipe = trial_recipe(made, given)
    assert (recipe.flow.depths, recipe.flow.width) == ((2, 2), 48)
    assert given[0] == "configs/smoke.yaml"  # by its path in the tree: jobs run in a copy of it


def test_overlays_of_the_tree_are_named_as_there_and_others_by_their_whole_path(tmp_path):
    other = tmp_path / "mine.yaml"
    other.write_text("run: {seed: 5}\n")
    made = campaign(overlays=["./configs/../configs/smoke.yaml", str(other)])
    assert shared_arguments(made) == ["configs/smoke.yaml", str(other)]


def test_a_trial_that_cannot_be_is_told_of():
    with pytest.raises(RecipeError, match="posterior"):
        trial_recipe(
            MADE, run_arguments(MADE, {SPREAD: -1.0, RATE: 1e-3}, "r", images=8, seed=None)
        )
