"""Small real data: the bundled digits packed, and a tree of crops of the bundled photographs.

And a bucket behind bad weather: an S3 server on loopback, and a proxy that injects faults.
"""

import io
import logging
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from data_pipeline.sources.source import ImageFolder
from system.foundation.settings.data import Data
from tests.faults.storm import Storm


@pytest.fixture(scope="session")
def photographs():
    """Two colour photographs, 427x640."""
    return [np.asarray(image) for image in load_sample_images().images]


@pytest.fixture(scope="session")
def digits_recipe():
    """The packer's recipe of configs/pack_digits.yaml, to a given folder."""

    def recipe(out, **changes):
        options = {
            "source": Digits(),
            "channels": 1,
            "held_out_fraction": 0.2,
            "shard_samples": 100,
            "max_bad_fraction": 0.0,
        }
        return PackRecipe(out=str(out), **(options | changes))

    return recipe


@pytest.fixture(scope="session")
def digits_url(tmp_path_factory, digits_recipe):
    """A pack of the digits that no test may change."""
    out = tmp_path_factory.mktemp("digits")
    pack(digits_recipe(out))
    return str(out)


@pytest.fixture(scope="session")
def digits(digits_url):
    """The training split of that pack."""
    return read_manifest(digits_url).split("train")


@pytest.fixture
def digits_copy(digits_url, tmp_path):
    """A pack of the digits that a test may damage."""
    return shutil.copytree(digits_url, tmp_path / "copy")


@pytest.fixture(scope="session")
def digits_data():
    """The data settings that fit the digits, with changes."""

    def data(**changes):
        options = {
            "shards": "unused",
            "image_size": 8,
            "image_channels": 1,
            "classes": 10,
            "crop": "none",
            "flip": False,
            "workers": 0,
            "window_shards": 4,
            "max_bad_fraction": 0.0,
        }
        return Data(**(options | changes))

    return data


@pytest.fixture(scope="session")
def jpeg():
    """An array as JPEG bytes."""

    def encode(image, quality=90, **options):
        target = io.BytesIO()
        Image.fromarray(image).save(target, format="JPEG", quality=quality, **options)
        return target.getvalue()

    return encode


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory, photographs, jpeg):
    """Three classes of eight crops each, of many sizes, as an ImageFolder tree."""
    root = tmp_path_factory.mktemp("photos")
    draws = np.random.default_rng(0)
    for name in ("bridge", "flower", "water"):
        (root / name).mkdir()
        for index in range(8):
            height, width = draws.integers(40, 120, 2)
            top, left = draws.integers(0, 300, 2)
            crop = photographs[index % 2][top : top + height, left : left + width]
            (root / name / f"{name}_{index}.JPEG").write_bytes(jpeg(crop))
    return root


@pytest.fixture(scope="session")
def photo_recipe(photo_folder):
    """The packer's recipe of that tree, to a given folder."""

    def recipe(out, **changes):
        options = {"source": ImageFolder(url=str(photo_folder)), "shard_samples": 5}
        return PackRecipe(out=str(out), **(options | changes))

    return recipe


@pytest.fixture(scope="session")
def photos(tmp_path_factory, photo_recipe):
    """The manifest of a pack of that tree."""
    return pack(photo_recipe(tmp_path_factory.mktemp("photo_shards"))).manifest


@pytest.fixture(scope="session")
def photo_data():
    """The data settings that fit those photographs, with changes."""

    def data(**changes):
        options = {
            "shards": "unused",
            "image_size": 32,
            "classes": 3,
            "workers": 0,
            "window_shards": 2,
            "max_bad_fraction": 0.0,
        }
        return Data(**(options | changes))

    return data


@pytest.fixture(scope="session")
def damage():
    """A function that changes one byte in the middle of a sample's image, and nothing else."""

    def change(folder, manifest, sample):
        shard, row = manifest.locate(sample)
        with (folder / shard.name).open("r+b") as file:
            place = int(shard.offsets[row]) + int(shard.lengths[row]) // 2
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 0x5A]))

    return change


@pytest.fixture(scope="session")
def object_store():
    """The url of an S3 server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def storm(object_store, monkeypatch):
    """The proxy that s3:// urls of this test lead to; the weather is fair to begin with."""
    import s3fs

    with Storm(object_store, seed=0) as storm:
        monkeypatch.setenv("AWS_ENDPOINT_URL", storm.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        yield storm
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(storm):
    """The url of a bucket that is there."""
    import s3fs

    if not s3fs.S3FileSystem().exists("bucket"):
        s3fs.S3FileSystem().mkdir("bucket")
    storm.requests.clear()
    return "s3://bucket"


@pytest.fixture
def as_nobody():
    """The rights of a user who owns nothing, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)
