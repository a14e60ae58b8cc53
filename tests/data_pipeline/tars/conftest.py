"""Tars made by hand, and shards as plain webdataset writes them."""

import io
import tarfile

import pytest
import webdataset

from data_pipeline.tars.labelling import Labelling
from data_pipeline.tars.tar_stream import TarStream


@pytest.fixture(scope="session")
def tar_of():
    """The bytes of a tar: of (name, content), and of TarInfo as they are."""

    def write(*members, layout=tarfile.USTAR_FORMAT):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=layout) as tar:
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    tar.addfile(member)
                    continue
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return target.getvalue()

    return write


@pytest.fixture(scope="session")
def stream_of():
    """Bytes as a shard that is read in small parts."""

    def stream(data, part=700):
        parts = [data[start : start + part] for start in range(0, len(data), part)]
        return TarStream("memory://there/train-000000.tar", len(data), parts)

    return stream


@pytest.fixture(scope="session")
def ten_classes():
    """Labels 0 to 9 in `cls` members."""
    return Labelling(tuple(str(label) for label in range(10)))


@pytest.fixture
def foreign_url(tmp_path, photographs, jpeg):
    """Shards of webdataset's own writer, with a member that is none of our business."""
    root = tmp_path / "foreign"
    root.mkdir()
    for split, count in (("train", 10), ("val", 3)):
        with webdataset.ShardWriter(f"{root}/{split}-%04d.tar", maxcount=4, verbose=0) as writer:
            for index in range(count):
                crop = photographs[index % 2][index : index + 40, : 40 + index]
                name = f"{split}{index}"
                note = {"index": index, "class": ["a", "b", "c"][index % 3]}
                writer.write({"__key__": name, "jpg": jpeg(crop), "cls": index % 3, "json": note})
    return str(root)
