"""A request for what the digits detector makes of images drawn from the tiny checkpoint."""

import pytest

from data_pipeline.shards.manifest import read_manifest
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.detectors.choice import digits_choice
from system.evaluation.detectors.digits import digits_url
from system.evaluation.labels import balanced_labels
from system.evaluation.measures.digits import detectors_folder
from system.evaluation.protocol import Drawing
from system.evaluation.sources.drawn import drawn_images
from system.foundation.settings.evaluation import Sampler

COUNT = 300  # five passes, the last one not full


@pytest.fixture(scope="session")
def make_request(checkpoint, recipe, subject, detector, root):
    """A request for so many images, with some of its keys changed."""
    data = read_manifest(recipe.data.shards).digest
    choice = digits_choice(digits_url(detectors_folder(str(root / "any")), data))
    assert choice.digest == detector.digest
    drawing = Drawing(labels="balanced", seed=0, sampler=Sampler(guidance=1.0))

    def make(count: int = COUNT, **changes) -> FeatureRequest:
        label = balanced_labels(count, 10)
        source = drawn_images(subject, checkpoint, drawing, label, count=count)
        return FeatureRequest(**{"source": source, "detectors": (choice,)} | changes)

    return make
