"""The digits detector's file, and references that are made with it."""

from contextlib import AbstractContextManager

import numpy as np
import pytest

from data_pipeline.shards.manifest import read_manifest
from system.evaluation.detectors.digits import digits_url
from system.evaluation.measures.digits import detectors_folder
from system.evaluation.reference.request import ReferenceRequest


def no_cluster() -> AbstractContextManager[None]:
    """What a request without workers never asks for."""
    raise AssertionError("Ray was asked for")


@pytest.fixture(scope="session")
def weights(detector, recipe, root) -> str:
    return digits_url(detectors_folder(str(root / "any")), read_manifest(recipe.data.shards).digest)


@pytest.fixture
def ask(recipe, weights, tmp_path):
    """A request for a reference of digits, made into a folder of the test's own."""

    def request(**changes) -> ReferenceRequest:
        asked = {
            "preset": "digits",
            "detector": weights,
            "shards": recipe.data.shards,
            "images": 150,
            "out": str(tmp_path / "references"),
        }
        return ReferenceRequest(**(asked | changes))

    return request


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Anyone's grey images of the digits' size."""
    return np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1), np.uint8)
