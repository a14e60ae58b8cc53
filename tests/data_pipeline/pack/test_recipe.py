from pathlib import Path

import pytest
from pydantic import ValidationError

from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import check_places
from data_pipeline.pack.recipe import with_absolute_paths
from data_pipeline.sources.source import Digits
from data_pipeline.sources.source import Ilsvrc2012
from data_pipeline.sources.source import ImageFolder
from system.foundation.errors import DataError


def test_something_has_to_cut_shards():
    with pytest.raises(ValidationError, match="needs `shard_samples` or `shard_bytes`"):
        PackRecipe(source=Digits(), out="x", shard_samples=None)
    PackRecipe(source=Digits(), out="x", shard_samples=None, shard_bytes=1)


def test_paths_for_a_process_with_another_working_folder():
    here = Path.cwd()
    recipe = PackRecipe(source=ImageFolder(url="in", class_map="map.txt"), out="out")
    absolute = with_absolute_paths(recipe)
    assert (absolute.out, absolute.source.url) == (f"{here}/out", f"{here}/in")
    recipe = PackRecipe(source=Ilsvrc2012(train="s3://bucket/train.tar"), out="s3://bucket/out")
    assert with_absolute_paths(recipe) == recipe


def test_places_that_would_be_others_in_other_processes():
    copy, memory = Path("/tmp/runtime_resources/working_dir_files/_ray_pkg_1"), "memory://out"
    for places, key in [({"out": "out"}, "out"), ({"out": "/out", "url": "in"}, "source.url")]:
        source = ImageFolder(url=places.pop("url", "s3://bucket/in"))
        recipe = PackRecipe(source=source, **places)
        check_places(recipe, Path("/home/me"))
        with pytest.raises(DataError, match=rf"{key} is .*, a relative path"):
            check_places(recipe, copy)
    check_places(PackRecipe(source=Digits(), out=memory), copy)
    with pytest.raises(DataError, match=r"out is .* memory is of one process"):
        check_places(PackRecipe(source=Digits(), out=memory, workers=None), copy)
