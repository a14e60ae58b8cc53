import shutil

import numpy as np
import pytest
import torch

from data_pipeline.shards.manifest import read_manifest
from system.evaluation.sources.shards import open_shards
from system.evaluation.sources.shards import shard_images
from system.evaluation.sources.tarflow_loader import lowered
from system.foundation.errors import BadInput
from system.foundation.errors import DataError


def test_a_whole_split_in_its_own_order(recipe, held_out):
    record = shard_images(recipe.data, "held_out")
    assert record.count == len(held_out.label)
    source = open_shards(record)
    assert torch.equal(source.images(range(30, 50)), held_out.image[30:50])
    assert torch.equal(source.labels(range(30, 50)), held_out.label[30:50])


def test_some_are_the_first_or_drawn_by_a_seed(recipe, train):
    first = open_shards(shard_images(recipe.data, "train", count=10))
    assert torch.equal(first.images(range(10)), train.image[:10])
    drawn = [
        open_shards(shard_images(recipe.data, "train", count=10, choice="seeded", seed=seed))
        for seed in (0, 0, 1)
    ]
    one, same, other = (source.images(range(10)) for source in drawn)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, train.image[:10])
    known = {image.numpy().tobytes() for image in train.image}
    assert {image.numpy().tobytes() for image in one} <= known
    assert torch.equal(drawn[0].images(range(4, 7)), one[4:7])


def test_as_tarflow_reads_them_for_its_reference(recipe, train):
    record = shard_images(recipe.data, "train", count=200, path="tarflow")
    image, plain = open_shards(record).images(range(200)), train.image[:200]
    level = lowered()[plain.long()]
    as_it_is = (image == level).flatten(1).all(dim=1)
    is_mirrored = (image == level.flip(3)).flatten(1).all(dim=1)
    assert bool((as_it_is | is_mirrored).all())
    assert 70 < int(is_mirrored.sum()) < 130  # a fair coin, four standard deviations
    assert torch.equal(open_shards(record).images(range(90, 95)), image[90:95])
    assert record.crop == "torchvision"


def test_a_random_crop_is_a_means_of_training_alone(recipe, held_out):
    data = recipe.data.model_copy(update={"crop": "random_resized"})
    record = shard_images(data, "held_out")
    assert record.crop == "adm"
    assert torch.equal(open_shards(record).images(range(5)), held_out.image[:5])


def test_digest_is_of_what_decides_the_images(recipe, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recipe.data.shards, copy)
    moved = recipe.data.model_copy(update={"shards": str(copy), "workers": 7})
    digest = shard_images(recipe.data, "train").digest
    assert shard_images(moved, "train").digest == digest
    assert shard_images(moved, "train", choice="seeded", seed=1).digest == digest
    others = [
        shard_images(recipe.data, "held_out"),
        shard_images(recipe.data, "train", count=10),
        shard_images(recipe.data, "train", count=10, choice="seeded"),
        shard_images(recipe.data, "train", count=10, choice="seeded", seed=1),
        shard_images(recipe.data, "train", path="tarflow"),
    ]
    assert len({digest, *(other.digest for other in others)}) == 6


def test_more_than_there_are_and_other_shards_are_refused(recipe):
    with pytest.raises(BadInput, match="expected at least the 100000"):
        shard_images(recipe.data, "train", count=100_000)
    with pytest.raises(DataError, match="channels"):
        shard_images(recipe.data.model_copy(update={"image_channels": 3}), "train")
    record = shard_images(recipe.data, "train").model_copy(update={"digest": "0" * 32})
    with pytest.raises(DataError, match="packed again"):
        open_shards(record)


@pytest.mark.parametrize("path", ["plain", "tarflow"])
def test_a_bad_sample_is_an_error_and_never_left_out(recipe, tmp_path, path):
    copy = tmp_path / "copy"
    shutil.copytree(recipe.data.shards, copy)
    manifest = read_manifest(str(copy)).split("train")
    shard, row = manifest.locate(3)
    with (copy / shard.name).open("r+b") as file:
        file.seek(int(shard.offsets[row]) + 40)
        file.write(np.zeros(8, np.uint8).tobytes())
    data = recipe.data.model_copy(update={"shards": str(copy)})
    source = open_shards(shard_images(data, "train", path=path))
    assert len(source.images(range(3))) == 3
    with pytest.raises(DataError, match=r"1 of 10 images; none is left out.*verify_shards"):
        source.images(range(10))
