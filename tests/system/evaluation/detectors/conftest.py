"""Inception weights drawn from a seed: the published ones are not needed to test the network."""

import pytest

from system.evaluation.detectors.inception import InceptionDetector
from system.evaluation.detectors.inception import read_inception
from tests.random_inception import write_random_inception


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory) -> str:
    """Where a file of random Inception weights lies."""
    return write_random_inception(tmp_path_factory.mktemp("weights") / "random_inception.pth")


@pytest.fixture(scope="session")
def inception(inception_file) -> InceptionDetector:
    network, digest = read_inception(inception_file, None)
    return InceptionDetector(network, digest=digest, resize="tf1_bilinear")
