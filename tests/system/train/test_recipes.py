"""Every recipe's small form and every variant train for a few updates, in this process."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import Manifest
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import read_averaged
from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.settings.objective import FeatureAlignment
from system.telemetry.ledger import read_ledger
from system.train.alone import train_alone
from tests.recipes import CONFIGS
from tests.recipes import PUBLISHED
from tests.recipes import VARIANTS
from tests.recipes import first_stage_of
from tests.recipes import read
from tests.recipes import recipe_of
from tests.recipes import sampler_of
from tests.recipes import small
from tests.system.alignment.teachers import write_teacher

UPDATES = 2
SHORT = [
    f"run.total_images={8 * UPDATES}", "run.global_batch=8", "run.report_every_images=8",
    f"run.checkpoint_every_images={8 * UPDATES}", "run.name=run", "cluster.workers=1",
    "cluster.micro_batch=null", "evaluation.kind=none",
]  # fmt: skip

# What a variant brings that small images, or a machine without downloads, have no place for.
SMALLER = {
    "starflow_decoder": [
        "objective.perceptual.kind=none", "objective.adversarial.layers=2",
        "objective.adversarial.width=8",
    ],
}  # fmt: skip

Train = Callable[..., tuple[Recipe, str]]


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Patches of the bundled photographs, packed."""
    out = str(tmp_path_factory.mktemp("photographs"))
    settings = [str(CONFIGS / "pack_photographs.yaml"), f"out={out}", "source.stride=16"]
    pack(resolve(CONFIGS / "pack_imagenet.yaml", settings, PackRecipe).recipe)
    return out


@pytest.fixture(scope="session")
def train(
    digits: Manifest, photographs: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Recipe, str]]:
    """Train a recipe in its small form, with variants over it; the recipe and the run's folder."""
    folder = tmp_path_factory.mktemp("recipes")
    teacher, _ = write_teacher(str(folder / "teacher.safetensors"), side=16, channels=3)
    stages: dict[tuple[Path, ...], str] = {}

    def needed(recipe: Path, *variants: Path) -> list[str]:
        """What must be given where this runs: data, a teacher, an autoencoder to start from."""
        shards = digits.url if recipe.stem == "simflow_digits" else photographs
        settings = [f"data.shards={shards}", f"run.root={tmp_path_factory.mktemp('runs')}"]
        settings += [each for variant in variants for each in SMALLER.get(variant.stem, [])]
        given = read(recipe, small(recipe), *variants, *settings)
        if isinstance(given.objective.alignment, FeatureAlignment):
            at = "objective.alignment.teacher"
            settings += [f"{at}.{k}={v}" for k, v in teacher.model_dump(exclude_none=True).items()]
            settings += [f"{at}.image_size=null"]
        if given.autoencoder.weights is not None:
            stage = (recipe, first_stage_of(given))
            stages[stage] = stages.get(stage) or run(*stage)[1]
            settings += [f"autoencoder.weights={stages[stage]}"]
        return settings

    def run(recipe: Path, *variants: Path) -> tuple[Recipe, str]:
        made = read(recipe, small(recipe), *variants, *SHORT, *needed(recipe, *variants))
        return made, train_alone(made)

    return run


def averaged(run: str) -> dict[str, torch.Tensor]:
    (kept,) = CheckpointStore(f"{run}/checkpoints").all()
    return read_averaged(kept.url)[1]


def check(recipe: Recipe, run: str) -> None:
    """The run has made its updates, with finite numbers, and trained what its route says."""
    reports = [event["values"] for event in read_ledger(run) if event["kind"] == "report"]
    assert reports[-1]["train/updates"] == UPDATES
    assert all(math.isfinite(value) for values in reports for value in values.values())
    weights = averaged(run)
    assert all(weight.isfinite().all() for weight in weights.values())
    if recipe.autoencoder.weights is not None:
        before = averaged(recipe.autoencoder.weights)
        moved = {n for n in weights if n in before and not torch.equal(weights[n], before[n])}
        allowed = {"frozen": (), "frozen_encoder": ("decoder",), "decoder_only": ("decoder",)}
        parts = {name.split(".")[1] for name in moved if name.startswith("autoencoder.")}
        assert parts == set(allowed[recipe.objective.route])


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_small_form_of_every_recipe_trains_and_is_drawn_from(
    path: Path, train: Train, tmp_path: Path
) -> None:
    recipe, run = train(path)
    check(recipe, run)
    places = [f"checkpoint={run}", f"out={tmp_path}", "count=2"]
    sample_to_folder(resolve(None, [str(sampler_of(path)), *places], Sampling).recipe)
    assert np.load(tmp_path / "samples.npz")["arr_0"].shape == (2, 16, 16, 3)


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_every_variant_trains(path: Path, train: Train) -> None:
    check(*train(recipe_of(path), path))
