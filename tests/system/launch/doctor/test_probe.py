"""Real stores: a folder, one that may not be written, a full disk, and an S3 server."""

import os
import subprocess
import time
import uuid
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from system.foundation import storage
from system.foundation.settings.data import Data
from system.launch.doctor import probe


def at(make_recipe, root):
    recipe = make_recipe()
    run = recipe.run.model_copy(update={"root": str(root)})
    return recipe.model_copy(update={"run": run})


def is_fit(findings) -> bool:
    """Whether all was tried and nothing failed. (On a busy machine some may be called slow.)"""
    found = {each.name: each.state for each in findings}
    return list(found) == ["storage", "lone creation", "commit", "clock"] and (
        "failure" not in found.values()
    )


def test_a_folder_is_fit_and_left_as_it_was(make_recipe, tmp_path) -> None:
    root = tmp_path / "not" / "there" / "yet"
    assert is_fit(probe.run_root(at(make_recipe, root)))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server, monkeypatch) -> str:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    s3fs.S3FileSystem().mkdir(name)
    return name


def test_a_bucket_is_fit_and_left_as_it_was(make_recipe, bucket) -> None:
    root = f"s3://{bucket}/runs"
    assert is_fit(probe.run_root(at(make_recipe, root)))
    assert storage.list_names(root) == []


def test_the_bucket_tells_the_time(bucket) -> None:
    url = f"s3://{bucket}/clock"
    storage.write_bytes(url, b"")
    assert abs(probe.stored_time(url) - time.time()) < 60  # to the second, on a busy machine
    storage.remove(url)


def test_a_store_that_keeps_no_times_tells_none() -> None:
    assert probe.stored_time("http://127.0.0.1:1/clock") is None  # fsspec's, which asks nobody


def test_a_bucket_that_is_not_there_fails_with_a_cure(make_recipe, bucket) -> None:
    (found,) = probe.run_root(at(make_recipe, "s3://no-such-bucket-here/runs"))
    assert found.state == "failure"
    assert "AWS_ACCESS_KEY_ID" in found.cure


def test_a_place_that_may_not_be_written_fails(make_recipe) -> None:
    (found,) = probe.run_root(at(make_recipe, "/proc/runs"))  # not for root either
    assert found.state == "failure"
    assert "run.root" in found.cure


def test_a_file_in_the_place_of_the_folder_fails(make_recipe, tmp_path) -> None:
    (tmp_path / "runs").write_text("")
    (found,) = probe.run_root(at(make_recipe, tmp_path / "runs"))
    assert found.state == "failure"


@pytest.fixture
def small_disk(tmp_path) -> Iterator[str]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system")
    try:
        yield str(place)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_fails_and_nothing_is_left_on_it(make_recipe, small_disk) -> None:
    (found,) = probe.run_root(at(make_recipe, small_disk))
    assert found.state == "failure"
    assert "no space is left" in found.said
    assert os.listdir(small_disk) == []


@pytest.mark.parametrize(
    ("theirs", "state", "said"),
    [
        (None, "ok", "tells no time"),
        (100.5, "ok", "the store's"),
        (99.1, "ok", "the store's"),  # told in whole seconds
        (102.0, "ok", "1.0 s before"),
        (161.0, "warning", "60.0 s before"),
        (39.0, "warning", "60.0 s after"),
        (3701.0, "failure", "3,600.0 s before"),
        (-3501.0, "failure", "3,600.0 s after"),
    ],
)
def test_a_clock_that_is_off_is_told(theirs, state, said) -> None:
    found = probe.skew(theirs, began=100.0, ended=101.0)
    assert found.state == state
    assert said in found.said


def test_shards_are_read_and_compared_with_their_manifest(make_recipe, shards) -> None:
    data = Data(shards=shards, image_size=8, image_channels=1, classes=10)
    (found,) = probe.data(make_recipe(data=data))
    assert found.state == "ok"
    assert "1,797 images" in found.said


def test_shards_that_are_not_there_fail(make_recipe, tmp_path) -> None:
    data = Data(shards=str(tmp_path), image_size=8, image_channels=1, classes=10)
    (found,) = probe.data(make_recipe(data=data))
    assert found.state == "failure"
    assert "data.shards" in found.cure
