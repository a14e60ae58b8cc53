from pathlib import Path

import pytest

from system.foundation.config import describe
from system.foundation.config import flatten
from system.foundation.config import recipe_from_mapping
from system.foundation.config import resolve

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "configs").glob("simflow_*.yaml"))


def stem(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", RECIPES, ids=stem)
def test_every_recipe_loads_explains_itself_and_crosses_to_workers(path: Path) -> None:
    resolved = resolve(path, [])
    page = describe(resolved)
    assert all(f"{key}=" in page for key in flatten(resolved.recipe))
    assert recipe_from_mapping(resolved.recipe.model_dump(mode="json")) == resolved.recipe


@pytest.mark.parametrize("path", RECIPES, ids=stem)
def test_every_recipe_can_be_made_tiny(path: Path) -> None:
    recipe = resolve(path, [str(ROOT / "configs" / "smoke.yaml")]).recipe
    assert recipe.run.total_images <= 100
    assert recipe.cluster.workers == 1
    assert recipe.flow.width <= 32


@pytest.mark.parametrize("path", RECIPES, ids=stem)
def test_every_recipe_has_a_program_of_its_name(path: Path) -> None:
    assert (ROOT / "jobs" / f"{path.stem}.py").exists()


def test_the_published_recipe_leaves_nothing_to_defaults_and_says_where_each_value_is_from() -> (
    None
):
    path = ROOT / "configs" / "simflow_256.yaml"
    resolved = resolve(path, [])
    assert "default" not in resolved.sources.values()
    lines = path.read_text("utf-8").splitlines()
    for source in resolved.sources.values():
        line = lines[int(source.split(":")[1].split(",")[0]) - 1]
        assert any(mark in line for mark in ("# [paper]", "# [sibling code]", "# [ours]")), line


def test_the_published_recipe_holds_the_published_numbers() -> None:
    recipe = resolve(ROOT / "configs" / "simflow_256.yaml", []).recipe
    assert recipe.run.total_images == 160 * 1281167
    assert recipe.tokens == 256
    assert recipe.token_width == 64
    assert recipe.latent_size == 16
    assert sum(recipe.flow.depths) == 56
    assert recipe.run.global_batch == recipe.cluster.workers * (recipe.cluster.micro_batch or 0)
