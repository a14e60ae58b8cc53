import pytest
from pydantic import TypeAdapter

from data_pipeline.sources.source import Digits
from data_pipeline.sources.source import Ilsvrc2012
from data_pipeline.sources.source import ImageFolder
from data_pipeline.sources.source import Parquet
from data_pipeline.sources.source import Photographs
from data_pipeline.sources.source import SourceRecipe
from data_pipeline.sources.source import open_reader
from data_pipeline.sources.source import open_source
from tests.data_pipeline.archives import write_devkit
from tests.data_pipeline.archives import write_train
from tests.data_pipeline.archives import write_validation
from tests.data_pipeline.tables import write_table


@pytest.fixture(params=["digits", "photographs", "image_folder", "ilsvrc2012", "parquet"])
def recipe(request, tmp_path, photo_folder):
    images = [path.read_bytes() for path in sorted(photo_folder.rglob("*.JPEG"))]
    match request.param:
        case "digits":
            return Digits()
        case "photographs":
            return Photographs(stride=48)
        case "image_folder":
            return ImageFolder(url=str(photo_folder))
        case "ilsvrc2012":
            return Ilsvrc2012(
                train=str(write_train(tmp_path, images)),
                validation=str(write_validation(tmp_path, images[:4])),
                devkit=str(write_devkit(tmp_path)),
            )
    write_table(tmp_path / "table.parquet", images[:10], rows_per_group=4)
    return Parquet(url=str(tmp_path))


def test_another_process_reads_what_this_one_listed(recipe):
    """A reader needs the recipe and an entry, and no listing."""
    source = open_source(recipe)
    text = recipe.model_dump_json()
    reader = open_reader(TypeAdapter(SourceRecipe).validate_json(text))
    assert len({entry.key for entry in source.entries}) == len(source.entries)
    for entry in [*source.entries[:3], source.entries[-1]]:
        assert reader.read(entry) == source.read(entry)
        assert 0 <= entry.label < len(source.class_names)
