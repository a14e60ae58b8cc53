"""Which images of a drawing are broken."""

import json

import pytest

from system.evaluation.labels import balanced_labels
from system.evaluation.protocol import Drawing
from system.evaluation.sources.any_source import open_source
from system.evaluation.sources.drawn import DrawnSource
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.sources.soundness import Soundness
from system.evaluation.sources.soundness import SoundnessSource
from system.evaluation.subject import assemble_subject
from system.foundation.errors import NumericsError
from system.foundation.settings.evaluation import Sampler
from tests.system.evaluation.conftest import IMAGES_SEEN
from tests.system.evaluation.conftest import random_weights

COUNT = 100


def drawn(subject, checkpoint, guidance: float):
    sampler = Sampler(guidance=guidance, guidance_rule="linear")
    drawing = Drawing(labels="balanced", seed=3, sampler=sampler)
    return drawn_images(subject, checkpoint, drawing, balanced_labels(COUNT, 10), count=COUNT)


@pytest.mark.parametrize(("guidance", "broken"), [(0.0, 0), (1e30, COUNT)])
def test_it_says_what_drawing_refuses(subject, checkpoint, guidance, broken):
    record = Soundness(drawn=drawn(subject, checkpoint, guidance))
    assert Soundness.model_validate(json.loads(record.model_dump_json())) == record
    found = open_source(record).images(range(record.count))
    assert (found.shape, found.sum()) == ((COUNT, 1, 1, 1), broken)


def test_broken_images_are_told_one_by_one(recipe, checkpoint, monkeypatch):
    """Pixels that one label breaks: every tenth image, wherever the asking begins."""
    subject = assemble_subject(recipe, random_weights(recipe), IMAGES_SEEN)
    source = DrawnSource(drawn(subject, checkpoint, 0.0), subject)
    whole = source.pixels

    def pixels(index: range):
        for numbers, image in whole(index):
            image[[number % 10 == 7 for number in numbers]] = float("nan")
            yield numbers, image

    monkeypatch.setattr(source, "pixels", pixels)
    found = SoundnessSource(source).images(range(5, 90)).flatten().tolist()
    assert found == [int(number % 10 == 7) for number in range(5, 90)]
    with pytest.raises(NumericsError, match=r"found 9 of 85 images"):
        source.images(range(5, 90))
