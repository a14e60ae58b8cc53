"""Sources in an object store in bad weather: the same shards as from a disk."""

import uuid

import pytest

from data_pipeline.pack.pack import pack
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.sources.source import Ilsvrc2012
from data_pipeline.sources.source import ImageFolder
from data_pipeline.sources.source import Parquet
from system.foundation import storage
from tests.data_pipeline.archives import write_train
from tests.data_pipeline.archives import write_tree
from tests.data_pipeline.tables import write_table

pytestmark = pytest.mark.slow

BAD_WEATHER = dict.fromkeys(("error", "throttle", "reset", "half"), 0.04)


@pytest.fixture
def place(tmp_path, photo_folder):
    """Every kind of source in one folder."""
    images = [path.read_bytes() for path in sorted(photo_folder.rglob("*.JPEG"))]
    write_train(tmp_path, images)
    write_tree(tmp_path / "tree", images)
    write_table(tmp_path / "table" / "part.parquet", images)
    return tmp_path


def sources(root):
    return {
        "archive": Ilsvrc2012(train=f"{root}/ILSVRC2012_img_train.tar"),
        "tree": ImageFolder(url=f"{root}/tree/train"),
        "table": Parquet(url=f"{root}/table"),
    }


@pytest.mark.parametrize("kind", ["archive", "tree", "table"])
def test_the_same_shards_as_from_a_disk(place, bucket, storm, kind):
    url = f"{bucket}/{uuid.uuid4().hex}"
    for path in place.rglob("*"):
        if path.is_file():
            storage.copy_out(path, storage.join(url, str(path.relative_to(place))))
    storm.weather, storm.next = BAD_WEATHER, ["throttle"]
    out = {"shard_samples": 5}
    there = pack(PackRecipe(source=sources(url)[kind], out=f"{url}/out", **out)).manifest
    assert storm.faults.total() > 0
    storm.weather = {}
    here = pack(PackRecipe(source=sources(place)[kind], out=str(place / "out"), **out)).manifest
    assert there.digest == here.digest
    assert there.samples == 24
