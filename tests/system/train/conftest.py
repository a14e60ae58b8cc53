from collections.abc import Callable
from pathlib import Path

import pytest

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from system.foundation.recipe import Recipe
from tests.gloo import run_workers
from tests.system.train.frozen_sets import feature_set  # noqa: F401
from tests.system.train.frozen_sets import frozen  # noqa: F401
from tests.system.train.trials import Trials
from tests.system.train.trials import run_trials
from tests.system.train.trials import tiny


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return read_manifest(out)


@pytest.fixture
def recipe(digits: Manifest, tmp_path: Path) -> Callable[..., Recipe]:
    """Tiny recipes for one worker; `section={...}` changes some of a section's keys."""
    return lambda **sections: tiny(digits.url, tmp_path / "runs", **sections)


@pytest.fixture(scope="session")
def trials(digits: Manifest, tmp_path_factory: pytest.TempPathFactory) -> list[Trials]:
    """By rank, what two workers' runs came to: one start of processes for all tests."""
    folder = tmp_path_factory.mktemp("trials")
    return run_workers(run_trials, 2, folder, digits.url, folder)
