import json
from dataclasses import replace

import pytest
import torch

from system.evaluation.encoding import latent_noise
from system.evaluation.measures.reconstruction import decoded
from system.evaluation.rounding import to_uint8
from system.evaluation.sources.reconstructed import ReconstructedImages
from system.evaluation.sources.reconstructed import open_reconstructed
from system.evaluation.sources.reconstructed import reconstructed_images
from system.evaluation.sources.shards import shard_images
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import NumericsError

COUNT = 150


@pytest.fixture(params=[0, 1])
def record(request, commit, recipe, subject) -> ReconstructedImages:
    shards = shard_images(recipe.data, "held_out", count=COUNT)
    return reconstructed_images(subject, commit(recipe), shards, draws=request.param, seed=2)


def test_images_come_back_the_same_whatever_is_asked_beside_them(record, subject, held_out):
    source = open_reconstructed(record, "cpu")
    assert record.count == COUNT
    whole = source.images(range(COUNT))
    for index in (range(7), range(70, 71), range(60, 140), range(149, 150)):
        assert torch.equal(source.images(index), whole[index.start : index.stop])
    real = held_out.image[:64]
    latent = subject.model.autoencoder.encode(real.float() / 127.5 - 1)
    drawn = latent.sample(latent_noise(subject, 2, range(64), 0)) if record.draws else latent.mean
    assert torch.equal(to_uint8(subject.model.autoencoder.decode(drawn)), whole[:64])


def test_they_are_what_the_measure_sees(record, bench):
    settings = bench.settings.model_copy(update={"seed": 2})
    expected = decoded(replace(bench, settings=settings), record.draws)  # its pass is not filled up
    found = open_reconstructed(record, "cpu").images(range(len(expected)))
    assert int((found.int() - expected.int()).abs().max()) <= 1


def test_a_record_survives_being_sent(record):
    assert ReconstructedImages.model_validate(json.loads(record.model_dump_json())) == record


def test_other_weights_are_refused(record):
    with pytest.raises(CheckpointError, match="written over since"):
        open_reconstructed(record.model_copy(update={"digest": "0" * 32}), "cpu")


def test_images_of_another_size_are_refused(record, subject):
    shards = record.shards.model_copy(update={"size": 16})
    with pytest.raises(BadInput, match="16 pixels and 1 channels, but the model"):
        reconstructed_images(subject, "somewhere", shards, draws=0)


def test_images_that_are_not_finite_are_counted(record):
    source = open_reconstructed(record, "cpu")
    decode = source.subject.model.autoencoder.decode

    def with_a_hole(latent: torch.Tensor) -> torch.Tensor:
        pixels = decode(latent)
        pixels[40] = torch.nan  # of every pass: 40, 104, and the filling of the last
        return pixels

    source.subject.model.autoencoder.decode = with_a_hole
    with pytest.raises(NumericsError, match=r"2 of 150 images .*numbers 40, 104\)"):
        source.images(range(COUNT))
