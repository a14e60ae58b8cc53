"""Every campaign that ships fits its recipe, in each of its trials, and says what it is for."""

from pathlib import Path

import pytest

from system.campaign.forecast import trials_ahead
from system.campaign.settings import Campaign
from system.campaign.tick import shared_recipe
from system.campaign.trial import run_arguments
from system.campaign.trial import trial_recipe
from system.foundation.config import resolve
from system.telemetry.metrics import unregistered
from tests.recipes import CONFIGS
from tests.recipes import ROOT

CAMPAIGNS = sorted((CONFIGS / "campaigns").glob("*.yaml"))


def stem(path: Path) -> str:
    return path.stem


def read(path: Path) -> Campaign:
    return resolve(path, [], Campaign).recipe


@pytest.mark.parametrize("path", CAMPAIGNS, ids=stem)
def test_a_campaign_says_what_it_is_and_how_to_begin(path: Path) -> None:
    header = path.read_text("utf-8").split("\n\n")[0]
    assert header.startswith("# Campaign: ")
    assert f"# Use: python jobs/run_campaign.py plan configs/campaigns/{path.name}" in header
    made = read(path)
    assert made.name == path.stem
    assert (ROOT / "jobs" / f"{Path(made.recipe).stem}.py").exists()
    assert not unregistered([made.objective.metric])


@pytest.mark.parametrize("path", CAMPAIGNS, ids=stem)
def test_every_trial_of_a_campaign_is_a_recipe_and_all_differ(path: Path) -> None:
    made = read(path)
    whole = shared_recipe(made)
    assert whole.evaluation.kind != "none"  # the objective is measured
    recipes = []
    for overrides in trials_ahead(made):
        given = run_arguments(made, overrides, "trial", images=made.rungs[0], seed=None)
        recipes.append(trial_recipe(made, given))
    assert len({recipe.model_dump_json() for recipe in recipes}) == len(recipes)
    for seed in made.confirm.seeds:
        given = run_arguments(made, overrides, "again", images=made.rungs[-1], seed=seed)
        assert trial_recipe(made, given).run.seed == seed != whole.run.seed
