"""What a checkpoint's own recipe says, and where its record goes."""

import pytest

from system.evaluation.requests import asked_of
from system.evaluation.requests import run_folder_of
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import NoEvaluation


def test_a_checkpoint_that_was_moved_needs_a_place_for_its_record():
    assert run_folder_of("runs/a/checkpoints/000000002560-1/") == "runs/a"
    with pytest.raises(BadInput, match="out=FOLDER"):
        run_folder_of("elsewhere/000000002560-1")


def test_a_run_without_evaluations_is_looked_at_by_the_digits_protocol(commit, recipe):
    url = commit(recipe.model_copy(update={"evaluation": NoEvaluation()}))
    asked = asked_of(url, "elsewhere")
    assert asked.evaluation.kind == "digits"
    assert asked.data.shards == "elsewhere"
