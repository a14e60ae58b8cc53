import numpy as np
import torch
from PIL import Image
from pydantic import TypeAdapter

from system.evaluation.protocol import Drawing
from system.evaluation.sources.any_source import AnySource
from system.evaluation.sources.any_source import open_source
from system.evaluation.sources.archive import ArchiveSource
from system.evaluation.sources.archive import archive_images
from system.evaluation.sources.drawn import DrawnSource
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.sources.folder import FolderSource
from system.evaluation.sources.folder import folder_images
from system.evaluation.sources.reconstructed import ReconstructedSource
from system.evaluation.sources.reconstructed import reconstructed_images
from system.evaluation.sources.shards import ShardSource
from system.evaluation.sources.shards import shard_images
from system.foundation.settings.evaluation import Sampler


def test_a_record_opens_its_own_kind(commit, recipe, subject):
    drawing = Drawing(labels="none", seed=0, sampler=Sampler(guidance=0.0))
    record = drawn_images(subject, commit(recipe), drawing, None, count=2)
    source = open_source(record)
    assert isinstance(source, DrawnSource)
    assert source.images(range(2)).dtype == torch.uint8
    shards = shard_images(recipe.data, "held_out", count=2)
    through = reconstructed_images(subject, record.checkpoint, shards, draws=1)
    again = TypeAdapter(AnySource).validate_json(through.model_dump_json())
    assert again == through
    assert isinstance(open_source(again), ReconstructedSource)


def test_images_of_files_and_shards_open_the_same_way(recipe, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "samples.npz", pixels)
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    records = (
        archive_images(str(tmp_path / "samples.npz")),
        folder_images(str(tmp_path)),
        shard_images(recipe.data, "held_out", count=1),
    )
    for record, source in zip(records, (ArchiveSource, FolderSource, ShardSource), strict=True):
        again = TypeAdapter(AnySource).validate_json(record.model_dump_json())
        assert again == record
        assert isinstance(open_source(again), source)
