"""One very short comparison, trained once for all tests of the tables."""

import pytest

from data_pipeline.shards.manifest import Manifest
from system.train.comparison.arms import spread_arm
from system.train.comparison.request import Comparison
from system.train.comparison.runs import Finished
from system.train.comparison.runs import finished_run


@pytest.fixture(scope="session")
def request_of(digits: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two updates a run, seed 3."""
    root = tmp_path_factory.mktemp("comparison")
    return Comparison(shards=digits.url, root=str(root), seeds=(3,), total_images=64)


@pytest.fixture(scope="session")
def joint_run(request_of: Comparison) -> Finished:
    """End to end with spread 0.5."""
    return finished_run(spread_arm("joint", "0.5"), 3, request_of)


@pytest.fixture(scope="session")
def frozen_run(request_of: Comparison) -> Finished:
    """A flow on the frozen latents of spread 0.5; its autoencoder's run lies beside it."""
    return finished_run(spread_arm("frozen", "0.5"), 3, request_of)
