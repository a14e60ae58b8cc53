from pathlib import Path

import pytest
from pydantic import ValidationError

from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import urls_of
from data_pipeline.pack.recipe import with_absolute_paths
from data_pipeline.sources.source import Digits
from data_pipeline.sources.source import Ilsvrc2012
from data_pipeline.sources.source import ImageFolder


def test_something_has_to_cut_shards():
    with pytest.raises(ValidationError, match="needs `shard_samples` or `shard_bytes`"):
        PackRecipe(source=Digits(), out="x", shard_samples=None)
    PackRecipe(source=Digits(), out="x", shard_samples=None, shard_bytes=1)


def test_paths_for_a_process_with_another_working_folder():
    here = Path.cwd()
    recipe = PackRecipe(source=ImageFolder(url="in", class_map="map.txt"), out="out")
    absolute = with_absolute_paths(recipe)
    assert urls_of(absolute) == [f"{here}/out", f"{here}/in"]
    recipe = PackRecipe(source=Ilsvrc2012(train="s3://bucket/train.tar"), out="s3://bucket/out")
    assert with_absolute_paths(recipe) == recipe
    assert urls_of(PackRecipe(source=Digits(), out="/out")) == ["/out"]
