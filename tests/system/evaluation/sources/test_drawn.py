import json

import pytest
import torch

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.drawing import draw
from system.evaluation.labels import balanced_labels
from system.evaluation.passes import PASS
from system.evaluation.protocol import Drawing
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.sources.drawn import open_drawn
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import NumericsError
from system.foundation.settings.evaluation import Sampler

COUNT = 150
DRAWING = Drawing(labels="balanced", seed=3, sampler=Sampler(guidance=1.0))


@pytest.fixture
def record(commit, recipe, subject) -> DrawnImages:
    label = balanced_labels(COUNT, 10)
    return drawn_images(subject, commit(recipe), DRAWING, label, count=COUNT)


def test_an_image_has_the_same_bits_whatever_is_drawn_beside_it(record, subject):
    source = open_drawn(record, "cpu")
    whole = source.images(range(COUNT))
    assert whole.shape == (COUNT, 1, 8, 8)
    for index in (range(7), range(70, 71), range(60, 140), range(149, 150)):
        assert torch.equal(source.images(index), whole[index.start : index.stop])
    assert torch.equal(draw(subject, DRAWING, range(COUNT), balanced_labels(COUNT, 10)), whole)


def test_passes_that_are_drawn_at_once_change_no_bit(record):
    one_by_one, streamed = open_drawn(record, "cpu"), open_drawn(record, "cpu", 2)
    with exact_arithmetic(threads=1):
        for index in (range(COUNT), range(70, 140), range(7)):
            assert torch.equal(streamed.images(index), one_by_one.images(index))


def test_labels_seed_and_rounding_matter(record):
    first = open_drawn(record, "cpu").images(range(20))
    drawing = DRAWING.model_copy(update={"seed": 4})
    for change in ({"drawing": drawing}, {"rounding": "truncate"}, {"label": (0,) * COUNT}):
        other = open_drawn(record.model_copy(update=change), "cpu").images(range(20))
        assert not torch.equal(other, first), change


def test_a_record_survives_being_sent(record):
    assert DrawnImages.model_validate(json.loads(record.model_dump_json())) == record


def test_a_checkpoint_that_was_written_over_is_refused(record):
    with pytest.raises(CheckpointError, match="written over since"):
        open_drawn(record.model_copy(update={"digest": "0" * 32}), "cpu")


def test_a_label_beyond_the_models_range_is_refused_before_any_work(subject):
    with pytest.raises(BadInput, match=r"labels 10, .* from 0 to 9"):
        drawn_images(subject, "nowhere", DRAWING, torch.tensor([1, 10]), count=2)


def test_images_that_are_not_finite_are_all_counted_but_not_those_beyond_the_last(record):
    source = open_drawn(record, "cpu")
    decode = source.subject.model.autoencoder.decode

    def with_holes(latent: torch.Tensor) -> torch.Tensor:
        pixels = decode(latent)
        pixels[5] = torch.nan  # of every pass: images 5, 69, 133
        pixels[40] = torch.inf  # 40, 104, and the filling of the last pass
        return pixels

    source.subject.model.autoencoder.decode = with_holes
    with pytest.raises(NumericsError, match=r"5 of 150 images .*numbers 5, 40, 69, 104, 133\)"):
        source.images(range(COUNT))
    assert len(source.images(range(PASS + 6, PASS + 40))) == 34
