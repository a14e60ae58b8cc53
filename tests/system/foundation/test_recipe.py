from typing import Any

import pytest
from pydantic import ValidationError

from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.objective import NoAdversarial


def mapping(**changes: Any) -> dict[str, Any]:
    """The smallest recipe, with whole sections changed."""
    settings: dict[str, Any] = {
        "run": {
            "name": "a",
            "total_images": 64,
            "global_batch": 16,
            "report_every_images": 16,
            "checkpoint_every_images": 32,
        },
        "data": {"shards": "shards", "image_size": 16, "classes": 10},
        "autoencoder": {"multipliers": [1, 2, 2], "latent_channels": 4},
        "flow": {"width": 32, "depths": [1, 2], "head_width": 16},
    }
    for section, keys in changes.items():
        settings[section] = {**settings.get(section, {}), **keys}
    return settings


def test_sizes_follow_from_the_recipe() -> None:
    recipe = Recipe.model_validate(mapping(flow={"patch": 2}))
    assert recipe.autoencoder.downsampling == 4
    assert recipe.latent_size == 4
    assert recipe.tokens == 4
    assert recipe.token_width == 16


def test_defaults_are_records_of_a_kind() -> None:
    recipe = Recipe.model_validate(mapping())
    assert recipe.autoencoder.posterior == FixedPosterior(std=0.5)
    assert recipe.objective.adversarial == NoAdversarial()
    assert recipe.engine.optimiser.kind == "adamw"


def test_recipes_do_not_change() -> None:
    recipe = Recipe.model_validate(mapping())
    with pytest.raises(ValidationError, match="frozen"):
        recipe.run.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"image_size": 18}}, "data.image_size 18 is not a multiple of 4"),
        ({"flow": {"patch": 3}}, "flow.patch 3 does not divide the latent side 4"),
        ({"flow": {"width": 40}}, "width 40 must be a multiple of head_width 16"),
        ({"flow": {"width": 36, "head_width": 6}}, "head_width a multiple of 4"),
        ({"cluster": {"workers": 3}}, "run.global_batch 16 not divisible by cluster.workers 3"),
        (
            {"cluster": {"workers": 2, "micro_batch": 3}},
            "cluster.micro_batch 3 does not divide a worker's share 8",
        ),
        ({"objective": {"route": "frozen"}}, "objective.route 'frozen' freezes weights"),
        ({"run": {"name": "no spaces"}}, "run.name"),
        ({"run": {"sead": 3}}, "run.sead"),
        ({"engine": {"gradient_clip": float("nan")}}, "engine.gradient_clip"),
        ({"data": {"image_channels": 2}}, "data.image_channels"),
        ({"run": {"name": "a" * 101}}, "at most 100 characters"),
        ({"autoencoder": {"multipliers": []}}, "autoencoder.multipliers"),
        ({"flow": {"depths": []}}, "flow.depths"),
        (
            {"autoencoder": {"posterior": {"kind": "learned", "min_log_std": 2.0}}},
            "min_log_std 2 must be below max_log_std 2",
        ),
        (
            {"objective": {"adversarial": {"kind": "patchgan"}}},
            "objective.adversarial.layers 3 needs images of at least 24 pixels; "
            "data.image_size is 16",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(mapping(**changes))
    assert message in str(caught.value)


def test_a_frozen_part_may_come_from_a_checkpoint() -> None:
    changes = {"objective": {"route": "frozen"}, "autoencoder": {"weights": "runs/a/checkpoints/x"}}
    assert Recipe.model_validate(mapping(**changes)).autoencoder.weights == "runs/a/checkpoints/x"
