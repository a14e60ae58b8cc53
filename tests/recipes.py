"""The recipes of `configs/`, their small forms and their variants, as several tests need them."""

import re
from pathlib import Path

from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import Pixels

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
OTHERS = re.compile(r"smoke|pack_\w+")  # an overlay, and what the packer reads
RECIPES = sorted(path for path in CONFIGS.glob("*.yaml") if not OTHERS.fullmatch(path.stem))
# Complete recipes of published runs; the digits are ours.
PUBLISHED = [path for path in RECIPES if path.stem != "simflow_digits"]
VARIANTS = sorted((CONFIGS / "variants").glob("*.yaml"))
USE = re.compile(r"# Use: python jobs/(\w+)\.py ")


def small(recipe: Path) -> Path:
    """The overlay that makes a recipe small: by what its flow models."""
    if recipe.stem == "simflow_digits":
        return CONFIGS / "smoke.yaml"
    whole = resolve(recipe, []).recipe
    if isinstance(whole.autoencoder, Pixels):
        return CONFIGS / "small" / "pixels.yaml"
    kind = "frozen_latents" if whole.objective.route == "frozen" else "joint"
    return CONFIGS / "small" / f"{kind}.yaml"


def recipe_of(variant: Path) -> Path:
    """The recipe that a variant's first lines say it is for."""
    found = USE.search(variant.read_text("utf-8"))
    assert found, f"{variant.name} says no `# Use: python jobs/...`"
    return CONFIGS / f"{found[1]}.yaml"


def sampler_of(recipe: Path) -> Path:
    """What says how images are drawn from a recipe's runs: at 512 as at 256."""
    return CONFIGS / "sampling" / recipe.name.replace("_512", "_256")


def first_stage_of(recipe: Recipe) -> Path:
    """The variant that trains the autoencoder which a recipe of frozen parts starts from."""
    shape = recipe.autoencoder
    assert isinstance(shape, Convolutional)
    if shape.normalise == "layer":
        name = "autoencoder_only_layer_norm"
    elif shape.posterior.kind == "fixed":
        name = "autoencoder_only_fixed_variance"
    else:
        name = "autoencoder_only"
    return CONFIGS / "variants" / f"{name}.yaml"


def read(recipe: Path, *arguments: str | Path) -> Recipe:
    """A recipe with overlays and settings over it."""
    return resolve(recipe, [str(each) for each in arguments]).recipe
