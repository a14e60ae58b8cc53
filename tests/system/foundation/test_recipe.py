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
        "autoencoder": {"kind": "convolutional", "multipliers": [1, 2, 2], "latent_channels": 4},
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


def aligned(**keys: Any) -> dict[str, Any]:
    return {"objective": {"alignment": {"kind": "features", **keys}}}


def on_route(route: str, changes: dict[str, Any]) -> dict[str, Any]:
    objective = changes["objective"] | {"route": route}
    return changes | {"objective": objective, "autoencoder": {"weights": "runs/first"}}


def drawn(condition: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {
        "autoencoder": {"posterior": {"kind": "learned"}},
        "flow": {"condition": condition},
        "evaluation": {"kind": "digits", "every_images": 32, **keys},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"image_size": 18}}, "data.image_size 18 is not a multiple of 4"),
        ({"flow": {"patch": 3}}, "flow.patch 3 does not divide the latent side 4"),
        ({"cluster": {"workers": 3}}, "run.global_batch 16 not divisible by cluster.workers 3"),
        (
            {"cluster": {"workers": 2, "micro_batch": 3}},
            "cluster.micro_batch 3 does not divide a worker's share 8",
        ),
        (
            {"cluster": {"workers": 2, "min_workers": 4}},
            "cluster.min_workers 4 exceeds cluster.workers 2",
        ),
        ({"objective": {"route": "frozen"}}, "objective.route 'frozen' freezes weights"),
        ({"objective": {"route": "decoder_only"}}, "'decoder_only' freezes weights"),
        ({"run": {"sead": 3}}, "run.sead"),
        (
            {"objective": {"adversarial": {"kind": "patchgan"}}},
            "objective.adversarial.layers 3 needs images of at least 24 pixels; "
            "data.image_size is 16",
        ),
        (
            drawn({"kind": "none"}, guidance=1.0),
            "evaluation.guidance 1 leads away from the null class",
        ),
        (drawn({"kind": "added"}, denoise=1.0), "autoencoder.posterior.kind learned has none"),
        (aligned(places=[[2, 1]]), "names block 2; flow.depths has 2 blocks, 0 to 1"),
        (aligned(places=[[0, 1], [-3, 1]]), "names block -3"),
        (aligned(places=[[0, 2]]), "asks for 2 layers of block 0, which has 1"),
        (aligned(encoder_weight=1.5, strategy="detach"), "encoder_weight needs strategy forward"),
        (aligned(encoder_weight=1.5, strategy="forward", weight=0), "a weight above 0"),
        (aligned(passes="shared", reverse="exact"), "reverse exact has passes of other values"),
        (
            aligned(passes="shared") | {"engine": {"compile": True}},
            "engine.compile makes one whole of its backward pass",
        ),
        (
            aligned(passes="shared") | {"engine": {"zero_stage": 3}},
            "engine.zero_stage 3 has them in parts meanwhile",
        ),
        (on_route("autoencoder_only", aligned()), "trains no flow whose features could be aligned"),
        (on_route("decoder_only", aligned()), "trains no flow whose features could be aligned"),
        (
            on_route("frozen", aligned(encoder_weight=1.5, strategy="forward")),
            "objective.alignment.encoder_weight 1.5 is for an encoder that objective.route "
            "'frozen' freezes",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(mapping(**changes))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "sizes"),
    [
        ({}, (1,)),
        ({"workers": 4}, (4,)),
        ({"workers": 8, "min_workers": 1}, (1, 2, 4, 8)),
        ({"workers": 8, "min_workers": 3}, (4, 8)),
    ],
)
def test_the_numbers_of_workers_that_a_batch_can_be_cut_for(
    cluster: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    assert Recipe.model_validate(mapping(cluster=cluster)).world_sizes == sizes


def test_a_frozen_part_may_come_from_a_checkpoint() -> None:
    changes = {"objective": {"route": "frozen"}, "autoencoder": {"weights": "runs/a/checkpoints/x"}}
    assert Recipe.model_validate(mapping(**changes)).autoencoder.weights == "runs/a/checkpoints/x"


def test_what_is_frozen_may_be_computed_once() -> None:
    given = {"data": {"features": "features"}, "autoencoder": {"weights": "runs/a"}}
    frozen = Recipe.model_validate(mapping(**given, objective={"route": "frozen"}))
    assert frozen.frozen_features == ("moments",)
    both = on_route("frozen_encoder", aligned())
    assert Recipe.model_validate(mapping(**given | both)).frozen_features == ("moments", "teacher")
    trained = on_route("joint", aligned())
    assert Recipe.model_validate(mapping(**given | trained)).frozen_features == ("teacher",)
    with pytest.raises(ValidationError, match=r"data\.features 'features': .* nothing frozen"):
        Recipe.model_validate(mapping(**given, objective={"route": "joint"}))
    pixels = mapping(data=given["data"], flow={"patch": 4}, objective={"route": "frozen"})
    with pytest.raises(ValidationError, match=r"autoencoder\.kind pixels has no encoder"):
        Recipe.model_validate(pixels | {"autoencoder": {"kind": "pixels"}})
    given["data"]["crop"] = "random_resized"
    with pytest.raises(ValidationError, match="shows another part of an image each time"):
        Recipe.model_validate(mapping(**given, objective={"route": "frozen"}))


def test_a_flow_on_pixels_has_the_images_own_channels_and_no_autoencoder_to_train() -> None:
    pixels = mapping(flow={"patch": 4}, objective={"route": "frozen"})
    pixels["autoencoder"] = {"kind": "pixels"}
    recipe = Recipe.model_validate(pixels)
    assert recipe.latent_channels == 3
    assert (recipe.latent_size, recipe.tokens, recipe.token_width) == (16, 16, 48)
    pixels["objective"] = {"route": "joint"}
    with pytest.raises(ValidationError, match=r"objective\.route must be frozen"):
        Recipe.model_validate(pixels)


def test_places_may_be_counted_from_either_side() -> None:
    for places in ([[1, 2]], [[-1, 2], [-2, 1]]):
        changes = aligned(places=places)
        Recipe.model_validate(mapping(**changes))


def test_a_flow_without_classes_is_guided_by_attentions_temperature() -> None:
    away = {"guidance_against": "temperature", "attention_temperature": 0.5}
    for keys in ({"guidance": 0.0}, {"guidance": 1.0, **away}):
        Recipe.model_validate(mapping(**drawn({"kind": "none"}, **keys)))
