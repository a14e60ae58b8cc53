"""The real digits, cut into a training and a held-out part, and the detector trained on them."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from system.evaluation.detectors import DigitsDetector
from system.evaluation.detectors import Labelled
from system.evaluation.detectors import digits_detector


def digits(part: slice) -> Labelled:
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))[part]
    image = np.round(bunch.images[order] * (255 / 16)).astype(np.uint8)
    return Labelled(torch.from_numpy(image)[:, None], torch.from_numpy(bunch.target[order]))


@pytest.fixture(scope="session")
def train() -> Labelled:
    return digits(slice(360, None))


@pytest.fixture(scope="session")
def held_out() -> Labelled:
    return digits(slice(0, 360))


@pytest.fixture(scope="session")
def detector(train, tmp_path_factory) -> DigitsDetector:
    folder = tmp_path_factory.mktemp("detectors")
    return digits_detector(train, classes=10, data_digest="real", folder=str(folder))
