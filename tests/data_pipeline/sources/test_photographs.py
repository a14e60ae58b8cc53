import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from data_pipeline.sources.photographs import CLASS_NAMES
from data_pipeline.sources.photographs import Patch
from data_pipeline.sources.photographs import Photographs
from data_pipeline.sources.photographs import classes_of
from data_pipeline.sources.photographs import cut_patches
from data_pipeline.sources.photographs import open_photographs


@pytest.fixture(scope="module")
def patches(photographs):
    return cut_patches(photographs, size=16, stride=8)


def test_patches_are_the_photographs_own_pixels(patches, photographs):
    assert len(patches) == 6440
    for patch in patches[::500]:
        there = photographs[patch.photograph]
        rows = slice(patch.row, patch.row + 16)
        assert (patch.image == there[rows, patch.column : patch.column + 16]).all()
    assert patches[0].key == "china-000-000"
    assert len({patch.key for patch in patches}) == len(patches)


def test_no_pixel_is_in_both_splits(patches, photographs):
    seen = {
        split: [np.zeros(photograph.shape[:2], bool) for photograph in photographs]
        for split in ("train", "held_out")
    }
    for patch in patches:
        rows = slice(patch.row, patch.row + 16)
        seen[patch.split][patch.photograph][rows, patch.column : patch.column + 16] = True
    for train, held_out in zip(seen["train"], seen["held_out"], strict=True):
        assert not (train & held_out).any()
        assert held_out.mean() == pytest.approx(0.2, abs=0.04)
        assert (train | held_out).mean() > 0.9


def test_training_classes_are_of_one_size_and_none_is_missing_from_the_held_out(patches):
    label = classes_of(patches)
    train = np.array([patch.split == "train" for patch in patches])
    counts = np.bincount(label[train], minlength=len(CLASS_NAMES))
    assert counts.max() - counts.min() <= 6
    assert np.bincount(label[~train], minlength=len(CLASS_NAMES)).min() >= 100


def test_a_class_is_photograph_texture_and_warmth():
    plain, stripes = np.full((4, 4), 128), np.tile([0, 255], (4, 2))
    images = []
    for photograph in (0, 1):
        for brightness in (plain, stripes):
            for warmth in (-20, 20):
                colour = np.stack([brightness + warmth, brightness, brightness - warmth], axis=2)
                images.append((photograph, colour.clip(0, 255).astype(np.uint8)))
    patches = [
        Patch(image, photograph, index, 0, "train")
        for index, (photograph, image) in enumerate(images)
    ]
    assert classes_of(patches).tolist() == list(range(8))
    assert CLASS_NAMES[5] == "flower-plain-warm"


def test_the_held_out_have_no_part_in_the_cuts(patches):
    label = classes_of(patches)
    kept = [
        index for index, patch in enumerate(patches) if patch.split == "train" or index % 3 == 0
    ]
    assert (classes_of([patches[index] for index in kept]) == label[kept]).all()


def test_patches_end_where_their_tile_ends(patches):
    rows = sorted({patch.row for patch in patches})
    assert {after - before for before, after in pairwise(rows)} == {8, 16}


def test_they_are_lossless_patches_with_splits_of_their_own(photographs):
    source = open_photographs(Photographs())
    assert len(source.class_names) == 8
    entry = source.entries[-1]
    assert entry.key == "flower-408-624"
    assert {each.split for each in source.entries} == {"train", "held_out"}
    pixels = np.asarray(Image.open(io.BytesIO(source.read(entry))))
    assert (pixels == photographs[1][408:424, 624:640]).all()
    assert len(open_photographs(Photographs(stride=16)).entries) < len(source.entries) / 2
