from pathlib import Path

import pytest

from system.foundation.errors import BadInput
from system.train.comparison.arms import ROUTES
from system.train.comparison.arms import SPREADS
from system.train.comparison.arms import Arm
from system.train.comparison.arms import alignment_arms
from system.train.comparison.arms import chosen
from system.train.comparison.arms import latent_arms
from system.train.comparison.arms import spread_arms
from system.train.comparison.request import Comparison
from system.train.comparison.runs import recipe_of


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    """An overlay as jobs/train_teacher.py writes one."""
    overlay = tmp_path / "teacher.yaml"
    overlay.write_text(
        "objective: {alignment: {teacher: {weights: teacher.safetensors, width: 8}}}"
    )
    return str(overlay)


def crossed_arms() -> list[Arm]:
    """Those of table (a) without added noise."""
    return [arm for arm in spread_arms() if not arm.name.startswith("added_noise")]


def test_table_a_is_every_route_with_every_spread_and_nothing_else_differs() -> None:
    request = Comparison()
    found = {}
    for arm in crossed_arms():
        weights = ["autoencoder.weights=somewhere"] if arm.pretrained else []
        recipe = recipe_of(arm, 1, request, weights)
        posterior = recipe.autoencoder.posterior
        spread = "learned" if posterior.kind == "learned" else str(posterior.std)
        found[arm.name] = (recipe.objective.route, spread)
        assert recipe.run.name == f"{arm.name}-1"
        assert recipe.run.seed == 1
        rest = recipe.model_dump(exclude={"autoencoder": {"posterior", "weights"}, "run": {"name"}})
        rest["objective"].pop("route")
        found.setdefault("rest", rest)
        assert rest == found["rest"]
    del found["rest"]
    assert list(found.values()) == [(route, spread) for route in ROUTES for spread in SPREADS]


def test_frozen_arms_share_the_autoencoder_of_their_own_spread() -> None:
    for arm in crossed_arms():
        route, spread = arm.name.rsplit("-", 1)
        if route == "joint":
            assert arm.pretrained is None
            continue
        assert arm.pretrained is not None
        assert arm.pretrained.name == f"autoencoder-{spread}"
        recipe = recipe_of(arm.pretrained, 0, Comparison(), [])
        assert recipe.objective.route == "autoencoder_only"
        assert 0 < recipe.objective.likelihood.weight < 0.01


def test_added_noise_goes_on_latents_of_a_learned_spread_before_a_decoder_that_learns() -> None:
    for arm in spread_arms():
        if arm not in crossed_arms():
            assert arm.pretrained is not None
            assert arm.pretrained.name == "autoencoder-learned"
            recipe = recipe_of(arm, 0, Comparison(), ["autoencoder.weights=somewhere"])
            assert recipe.objective.route == "frozen_encoder"
            assert recipe.autoencoder.posterior.added_noise == float(arm.name.split("-")[1])


@pytest.mark.parametrize("data", ["digits", "photographs"])
def test_every_arm_is_a_valid_recipe_of_either_data(data: str, teacher: str) -> None:
    request = Comparison(data=data)
    for arm in {*spread_arms(), *latent_arms(), *alignment_arms(teacher)}:
        weights = ["autoencoder.weights=somewhere"] if arm.pretrained else []
        recipe = recipe_of(arm, 0, request, weights)
        assert recipe.tokens == 16
        assert recipe.run.total_images == recipe.evaluation.every_images


def test_alignment_arms_differ_from_the_first_in_their_alignment_alone(teacher: str) -> None:
    first, *others = (
        recipe_of(arm, 0, Comparison(), ["autoencoder.weights=somewhere"])
        for arm in alignment_arms(teacher)
    )
    assert first.objective.alignment.kind == "none"
    found = set()
    for recipe in others:
        alignment = recipe.objective.alignment
        assert alignment.teacher.weights == "teacher.safetensors"
        found.add((alignment.strategy, alignment.reverse, alignment.places))
        same = recipe.model_dump(exclude={"objective": {"alignment"}, "run": {"name"}})
        assert same == first.model_dump(exclude={"objective": {"alignment"}, "run": {"name"}})
    assert len(found) == len(others) == 8


def test_arms_are_chosen_by_their_names() -> None:
    names = [arm.name for arm in chosen(spread_arms(), ["joint-*", "frozen-0.3"])]
    assert names == ["frozen-0.3", *(f"joint-{spread}" for spread in SPREADS)]
    with pytest.raises(BadInput, match=r"arms=bent-\*.*joint-learned"):
        chosen(spread_arms(), ["bent-*"])
