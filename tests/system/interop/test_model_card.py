from collections.abc import Callable
from dataclasses import replace

import yaml

from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.flow import Flow
from system.interop.model_card import Evaluated
from system.interop.model_card import Release
from system.interop.model_card import model_card


def release(recipe: Recipe) -> Release:
    return Release(
        recipe=recipe,
        images_seen=12345,
        parameters=6789,
        weights_digest="ab" * 16,
        autoencoder_digest="cd" * 16,
        manifest_digest="ef" * 16,
        origin=None,
        licence="mit",
        evaluation=None,
    )


def front_matter(card: str) -> dict[str, object]:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


def test_the_front_matter_is_what_hubs_read(make_recipe: Callable[..., Recipe]) -> None:
    said = front_matter(model_card(release(make_recipe())))
    assert said["license"] == "mit"
    assert said["library_name"] == "latent-flows"
    assert {"normalizing-flow", "latent-flow", "class-conditional"} <= set(said["tags"])


def test_a_licence_is_the_users_to_name(make_recipe: Callable[..., Recipe]) -> None:
    card = model_card(replace(release(make_recipe()), licence=None))
    assert "license" not in front_matter(card)
    assert "| licence | not stated |" in card


def test_a_flow_of_pixels_without_classes_is_called_so(
    make_recipe: Callable[..., Recipe],
) -> None:
    recipe = make_recipe(
        autoencoder=Pixels(),
        objective={"route": "frozen"},
        flow=Flow(width=16, depths=(1,), head_width=8, condition={"kind": "none"}),
    )
    card = model_card(replace(release(recipe), autoencoder_digest=None, manifest_digest=None))
    tags = front_matter(card)["tags"]
    assert "pixel-flow" in tags
    assert "class-conditional" not in tags
    assert "no classes" in card
    assert "| autoencoder | none |" in card
    assert "| data | not known |" in card
    assert "autoencoder.weights" not in card


def test_every_number_stands_with_its_protocol(make_recipe: Callable[..., Recipe]) -> None:
    numbers = {
        "evaluation/gfid": {
            "value": 1.25,
            "standard_error": 0.125,
            "protocol_digest": "0" * 32,
            "protocol": {"samples": 300},
        },
        "evaluation/accuracy": {
            "value": 0.5,
            "standard_error": None,
            "protocol_digest": "1" * 32,
            "protocol": {"samples": 20},
        },
    }
    card = model_card(replace(release(make_recipe()), evaluation=Evaluated(12345, numbers)))
    assert "| gfid | 1.25 | 0.125 | `00000000` |" in card
    assert "| accuracy | 0.5 |  | `11111111` |" in card
    assert f'- `{"0" * 32}`: `{{"samples": 300}}`' in card


def test_a_card_says_how_to_use_the_weights(make_recipe: Callable[..., Recipe]) -> None:
    card = model_card(release(make_recipe()))
    assert "No evaluation of this run was found" in card
    assert 'read_subject("RELEASE")' in card
    assert "python jobs/sample.py checkpoint=RELEASE out=drawn" in card
    assert "6,789 parameters" in card
    assert "`flow.weights=RELEASE` and `autoencoder.weights=RELEASE`" in card


def test_weights_that_were_taken_over_say_from_where(make_recipe: Callable[..., Recipe]) -> None:
    card = model_card(replace(release(make_recipe()), origin="ml_tarflow", images_seen=0))
    assert "| images seen | 0 since they were taken over from ml_tarflow |" in card
