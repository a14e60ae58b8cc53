"""What a request says of an evaluation, laid over what the run's recipe says."""

import pytest

from system.evaluation.judged import Judged
from system.evaluation.judged import settings_of
from system.foundation.errors import RecipeError
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import NoEvaluation
from system.foundation.settings.evaluation import ReferenceEvaluation

FILES = {"reference": "r.npz", "detector": "d.pth"}


def test_only_what_is_said_and_what_an_evaluation_knows_is_told():
    assert Judged().said() == {}
    cut = {"batch": 32, "batches_in_flight": 2}
    asked = Judged(seed=0, reference="r.npz", workers=2, out="o", shards="s", **cut)
    assert asked.said() == {"seed": 0, "reference": "r.npz", **cut}


def test_the_runs_own_evaluation_stays_where_nothing_is_said(recipe):
    assert settings_of(recipe, None, {}) == recipe.evaluation
    changed = settings_of(recipe, None, {"guidance": 3.0, "seed": 4})
    assert (changed.guidance, changed.seed) == (3.0, 4)
    assert changed.gradient_samples == recipe.evaluation.gradient_samples


def test_of_another_kind_the_sampler_alone_stays(recipe):
    own = recipe.evaluation.model_copy(update={"guidance": 2.5, "seed": 9})
    found = settings_of(recipe.model_copy(update={"evaluation": own}), "adm_50k", FILES)
    assert isinstance(found, ReferenceEvaluation)
    assert (found.kind, found.guidance, found.seed) == ("adm_50k", 2.5, 0)
    without = recipe.model_copy(update={"evaluation": NoEvaluation()})
    assert isinstance(settings_of(without, None, {}), DigitsEvaluation)
    with pytest.raises(RecipeError, match="reference: missing"):
        settings_of(recipe, "dinov2", {"detector": "d.pth"})
    with pytest.raises(RecipeError, match="reference"):
        settings_of(recipe, None, {"reference": "r.npz"})
