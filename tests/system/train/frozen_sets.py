"""Recipes with frozen parts on the digits in several shards, and their feature sets."""

from pathlib import Path
from typing import Any

import pytest

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from system.foundation.config import record_from_mapping
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.train.precompute import Precompute
from system.train.precompute import precompute
from tests.system.alignment.teachers import write_teacher
from tests.system.train.trials import run_loop
from tests.system.train.trials import tiny

BATCH = 8  # of a pass, in training as when features are computed: so their bits are the same


class Frozen:
    """What recipes of frozen parts start from: shards, an autoencoder's run, a teacher's file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = str(folder / "shards")
        options = {"channels": 1, "held_out_fraction": 0.2, "shard_samples": 400}
        pack(PackRecipe(source=Digits(), out=self.shards, **options))
        shape: dict[str, Any] = tiny(self.shards, folder).autoencoder.model_dump(mode="json")
        learned = {"kind": "learned"}
        self.shape = shape | {"posterior": learned}
        run = {"name": "before", "total_images": 16, "report_every_images": 16}
        self.weights = str(folder / "before")
        first = {"autoencoder": self.shape, "run": run | {"checkpoint_every_images": 16}}
        run_loop(World(), self._tiny(folder, first))
        self.teacher, _ = write_teacher(str(folder / "teacher.safetensors"))

    @property
    def manifest(self) -> Manifest:
        """Of the images, all splits."""
        return read_manifest(self.shards)

    def recipe(self, root: Path, *, aligned: bool = False, **sections: dict[str, Any]) -> Recipe:
        """A recipe on latents of the frozen encoder, with mirrored images, perhaps a teacher."""
        alignment = {
            "kind": "features",
            "teacher": self.teacher.model_dump(mode="json"),
            "places": [[-1, 1]],
            "head_width": 16,
        }
        made = {
            "run": {"total_images": 32, "global_batch": BATCH},
            "data": {"flip": True},
            "autoencoder": self.shape | {"weights": self.weights},
            "objective": {"route": "frozen"} | ({"alignment": alignment} if aligned else {}),
        }
        names = made.keys() | sections.keys()
        return self._tiny(root, {n: made.get(n, {}) | sections.get(n, {}) for n in names})

    def computing(self, recipe: Recipe, url: str | Path, **keys: Any) -> Precompute:
        """What computes the features of a recipe into `url`."""
        values = recipe.model_dump(mode="json")
        values["data"]["features"] = str(url)
        values["precompute"] = {"batch": BATCH, "teacher": "float32"} | keys
        return record_from_mapping(values, Precompute)

    def with_features(self, recipe: Recipe, url: str | Path) -> Recipe:
        """The recipe, reading its features from `url`."""
        values = recipe.model_dump(mode="json")
        values["data"]["features"] = str(url)
        return record_from_mapping(values, Recipe)

    def _tiny(self, root: Path, sections: dict[str, dict[str, Any]]) -> Recipe:
        recipe = tiny(self.shards, root, **sections)
        flip = {"flip": sections.get("data", {}).get("flip", False)}
        return recipe.model_copy(update={"data": recipe.data.model_copy(update=flip)})


@pytest.fixture(scope="session")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    """What recipes of frozen parts start from."""
    return Frozen(tmp_path_factory.mktemp("frozen"))


@pytest.fixture(scope="session")
def feature_set(frozen: Frozen) -> str:
    """The url of a set of moments and teacher's tokens, both splits; no test may change it."""
    url = frozen.folder / "features"
    recipe = frozen.recipe(frozen.folder, aligned=True)
    precompute(frozen.computing(recipe, url, splits=["train", "held_out"]))
    return str(url)
