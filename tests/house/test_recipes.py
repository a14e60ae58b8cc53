"""Every recipe is complete, explains itself, has its program, its small form and its variants."""

from pathlib import Path
from typing import Any

import pytest

from system.evaluation.sampling import Sampling
from system.foundation.config import describe
from system.foundation.config import flatten
from system.foundation.config import recipe_from_mapping
from system.foundation.config import resolve
from tests.recipes import CONFIGS
from tests.recipes import PUBLISHED
from tests.recipes import RECIPES
from tests.recipes import ROOT
from tests.recipes import VARIANTS
from tests.recipes import read
from tests.recipes import recipe_of
from tests.recipes import sampler_of
from tests.recipes import small

SAMPLERS = sorted((CONFIGS / "sampling").glob("*.yaml"))
MARKS = ("# [paper]", "# [sibling code]", "# [ours]")
IMAGENET = 1281167

# What the papers publish of each run, in words of the recipe.
NUMBERS: dict[str, dict[str, Any]] = {
    "simflow_256": {
        "total_images": 160 * IMAGENET, "batch": 256, "tokens": 256, "token_width": 64,
        "width": 1152, "layers": 56, "noise": 0.5,
    },
    "simflow_512": {"tokens": 1024, "token_width": 64, "width": 1152, "layers": 56, "noise": 0.5},
    "starflow_256": {
        "total_images": 400_000_000, "batch": 512, "tokens": 1024, "token_width": 4,
        "width": 2048, "layers": 28, "noise": 0.3,
    },
    "tarflow_64": {
        "total_images": 200 * IMAGENET, "batch": 256, "tokens": 1024, "token_width": 12,
        "width": 768, "layers": 64, "noise": 0.05,
    },
    "tarflow_64_likelihood": {
        "total_images": 100 * IMAGENET, "batch": 256, "tokens": 1024, "token_width": 12,
        "width": 768, "layers": 64, "noise": None,
    },
    "tarflow_64_rrepa": {
        "total_images": 1_000_000 * 256, "batch": 256, "tokens": 256, "token_width": 48,
        "width": 1024, "layers": 64, "noise": 0.05,
    },
    "tarflow_128": {
        "total_images": 320 * IMAGENET, "batch": 768, "tokens": 1024, "token_width": 48,
        "width": 1024, "layers": 64, "noise": 0.15,
    },
    "latent_tarflow_256": {
        "total_images": 1_000_000 * 256, "batch": 256, "tokens": 256, "token_width": 16,
        "width": 1024, "layers": 64, "noise": 0.2,
    },
}  # fmt: skip


def stem(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", RECIPES, ids=stem)
def test_every_recipe_has_a_program_of_its_name(path: Path) -> None:
    program = (ROOT / "jobs" / f"{path.stem}.py").read_text("utf-8")
    assert f'command(drive, "configs/{path.name}", about=__doc__)' in program


@pytest.mark.parametrize("path", RECIPES, ids=stem)
def test_every_recipe_loads_explains_itself_and_crosses_to_workers(path: Path) -> None:
    resolved = resolve(path, [])
    page = describe(resolved)
    assert all(f"{key}=" in page for key in flatten(resolved.recipe))
    assert recipe_from_mapping(resolved.recipe.model_dump(mode="json")) == resolved.recipe


@pytest.mark.parametrize("path", RECIPES, ids=stem)
def test_every_recipe_has_a_small_form(path: Path) -> None:
    recipe = read(path, small(path))
    assert recipe.run.total_images <= 20 * recipe.run.global_batch
    assert recipe.cluster.workers == 1
    assert recipe.flow.width <= 64


@pytest.mark.parametrize("path", PUBLISHED, ids=stem)
def test_a_small_form_keeps_the_method(path: Path) -> None:
    whole, made = read(path), read(path, small(path))
    assert made.objective.route == whole.objective.route
    assert made.autoencoder.posterior == whole.autoencoder.posterior
    changed = {"width", "depths", "head_width"}
    assert made.flow.model_dump(exclude=changed) == whole.flow.model_dump(exclude=changed)
    assert made.engine.precision == whole.engine.precision


@pytest.mark.parametrize("path", PUBLISHED, ids=stem)
def test_a_published_recipe_leaves_nothing_to_defaults_and_says_where_each_value_is_from(
    path: Path,
) -> None:
    resolved = resolve(path, [])
    assert [key for key, source in resolved.sources.items() if source == "default"] == []
    lines = path.read_text("utf-8").splitlines()
    for source in resolved.sources.values():
        line = lines[int(source.split(":")[1].split(",")[0]) - 1]
        assert any(mark in line for mark in MARKS), line


@pytest.mark.parametrize("path", PUBLISHED, ids=stem)
def test_a_published_recipe_begins_with_paper_result_and_command(path: Path) -> None:
    header = path.read_text("utf-8").split("\n\n")[0]
    assert "Published" in header
    assert "arXiv" in header
    assert f"python jobs/{path.stem}.py" in header


@pytest.mark.parametrize("path", PUBLISHED, ids=stem)
def test_a_published_recipe_holds_the_published_numbers(path: Path) -> None:
    recipe = read(path)
    found = {
        "total_images": recipe.run.total_images,
        "batch": recipe.run.global_batch,
        "tokens": recipe.tokens,
        "token_width": recipe.token_width,
        "width": recipe.flow.width,
        "layers": sum(recipe.flow.depths),
        "noise": recipe.autoencoder.noise_spread,
    }
    expected = NUMBERS[path.stem]
    assert {key: found[key] for key in expected} == expected
    share = recipe.run.global_batch // recipe.cluster.workers
    assert share % (recipe.cluster.micro_batch or 0) == 0


@pytest.mark.parametrize("path", PUBLISHED, ids=stem)
def test_a_published_recipe_says_how_it_is_drawn(path: Path) -> None:
    assert resolve(None, [str(sampler_of(path))], Sampling).recipe.changes()


@pytest.mark.parametrize("path", SAMPLERS, ids=stem)
def test_a_sampler_says_where_each_value_is_from(path: Path) -> None:
    values = [line for line in path.read_text("utf-8").splitlines() if line[:1] not in ("#", "")]
    assert all(any(mark in line for mark in MARKS) for line in values)


@pytest.mark.parametrize("path", sorted((CONFIGS / "evaluation").glob("*.yaml")), ids=stem)
@pytest.mark.parametrize("recipe", PUBLISHED, ids=stem)
def test_every_evaluation_fits_every_published_recipe(path: Path, recipe: Path) -> None:
    # Without classes there is nothing that guidance leads away from.
    is_conditional = read(recipe).flow.condition.kind != "none"
    over = read(recipe, path, f"evaluation.guidance={1 if is_conditional else 0}")
    assert over.evaluation.kind == path.stem
    assert over.evaluation.samples == 50_000


@pytest.mark.parametrize("path", VARIANTS, ids=stem)
def test_every_variant_fits_the_recipe_that_it_names_and_changes_it(path: Path) -> None:
    recipe = recipe_of(path)
    assert read(recipe, path) != read(recipe)


@pytest.mark.parametrize(
    ("recipe", "variant"),
    [
        ("simflow_512", "repa_e"),
        ("latent_tarflow_256", "rrepa"),
        ("latent_tarflow_256", "autoencoder_only"),
        ("starflow_256", "autoencoder_only"),
    ],
)
def test_variants_fit_the_other_recipes_that_the_docs_name(recipe: str, variant: str) -> None:
    over = CONFIGS / f"{recipe}.yaml"
    assert read(over, CONFIGS / "variants" / f"{variant}.yaml") != read(over)


@pytest.mark.parametrize("path", VARIANTS, ids=stem)
def test_a_variant_of_the_digits_is_one_of_imagenet_too(path: Path) -> None:
    if recipe_of(path).stem == "simflow_digits":
        over = CONFIGS / "simflow_256.yaml"
        assert read(over, path) != read(over)
