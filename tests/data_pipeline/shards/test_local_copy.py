import multiprocessing
import os
import stat
import time

import pytest

from data_pipeline.reading.fetch import Fetcher
from data_pipeline.shards import local_copy
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import write_manifest
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from tests.data_pipeline.manifests import make_manifest


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A temporary folder of the test's own."""
    root = tmp_path / "tmp"
    root.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(root))
    return root


@pytest.fixture
def remote(tmp_path):
    """The url of a written manifest that is not on a local disk, and of its file."""
    manifest = make_manifest(60, 20, f"memory://{tmp_path.name}")
    write_manifest(manifest)
    return manifest, storage.join(manifest.url, MANIFEST_NAME)


def test_a_copy_is_made_once_and_only_this_user_may_read_it(remote, folder):
    _, url = remote
    path = local_copy.fetch(url)
    assert path.read_bytes() == storage.read_bytes(url)
    (parent,) = folder.iterdir()
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700
    written = path.stat().st_mtime_ns
    assert local_copy.fetch(url) == path == local_copy.keep(storage.read_bytes(url))
    assert path.stat().st_mtime_ns == written


def test_another_version_gets_a_copy_of_its_own(remote):
    manifest, url = remote
    first, before = local_copy.fetch(url), storage.read_bytes(url)
    write_manifest(make_manifest(80, 20, manifest.url))
    second = local_copy.fetch(url)
    assert second != first
    assert first.read_bytes() == before
    assert second.read_bytes() == storage.read_bytes(url)


def test_a_cut_copy_is_made_again(remote):
    _, url = remote
    path = local_copy.fetch(url)
    for content in (b"", path.read_bytes()[:-1], path.read_bytes()[:9]):
        path.write_bytes(content)
        assert local_copy.fetch(url).read_bytes() == storage.read_bytes(url)


def test_a_footer_longer_than_the_first_request(remote, monkeypatch):
    monkeypatch.setattr(local_copy, "_GUESS", 16)
    assert local_copy.fetch(remote[1]).read_bytes() == storage.read_bytes(remote[1])


@pytest.mark.parametrize("kept", [0, 3, 8, 12, 100, -1])
def test_a_cut_file_elsewhere(remote, kept, folder):
    content = storage.read_bytes(remote[1])
    storage.write_bytes(remote[1], content[:kept])
    with pytest.raises(DataError, match=rf"{MANIFEST_NAME}: damaged manifest"):
        local_copy.fetch(remote[1])
    assert not list(folder.rglob("*.parquet"))


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        local_copy.fetch(f"memory://{tmp_path.name}/none")


def test_a_folder_of_somebody_else(folder, monkeypatch, remote):
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    with pytest.raises(BadInput, match=r"belongs to another user\. Set TMPDIR"):
        local_copy.fetch(remote[1])


def test_a_link_in_the_place_of_the_folder(folder, tmp_path, remote):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / f"shard-manifests-{os.getuid()}").symlink_to(elsewhere)
    with pytest.raises(BadInput, match="belongs to another user"):
        local_copy.fetch(remote[1])
    assert not list(elsewhere.iterdir())


def test_a_file_that_changes_while_it_is_copied(remote, monkeypatch, folder):
    manifest, url = remote
    parts = Fetcher.parts

    def changing(self, asked, size):
        write_manifest(make_manifest(100, 20, manifest.url))
        return parts(self, asked, min(size, storage.size(asked)))

    monkeypatch.setattr(Fetcher, "parts", changing)
    with pytest.raises(DataError, match="changed while it was copied"):
        local_copy.fetch(url)
    assert not list(folder.rglob("*.parquet"))


def _age(path, days):
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def _old_copy(manifest, samples):
    """A copy of another manifest that no process holds: the one that made it has ended."""
    write_manifest(make_manifest(samples, 20, manifest.url))
    url = storage.join(manifest.url, MANIFEST_NAME)
    made = multiprocessing.get_context("fork").Process(target=local_copy.fetch, args=(url,))
    before = {*local_copy._folder().iterdir()}
    made.start()
    made.join(60)
    (path,) = {*local_copy._folder().iterdir()} - before
    return path, url


def test_a_new_copy_removes_those_that_nobody_has_used_for_a_week(remote):
    manifest, _ = remote
    old, _ = _old_copy(manifest, 80)
    recent, _ = _old_copy(manifest, 100)
    read, url = _old_copy(manifest, 120)
    held = local_copy.fetch(url)
    assert held == read
    _age(old, 8)
    _age(recent, 6)
    _age(held, 8)
    write_manifest(make_manifest(140, 20, manifest.url))
    new = local_copy.fetch(url)
    assert {*new.parent.iterdir()} == {recent, held, new}


def test_a_use_counts_though_the_disk_notes_none(remote):
    manifest, _ = remote
    old, url = _old_copy(manifest, 80)
    _age(old, 8)
    asking = multiprocessing.get_context("fork").Process(target=local_copy.fetch, args=(url,))
    asking.start()
    asking.join(60)
    write_manifest(make_manifest(100, 20, manifest.url))
    assert {*local_copy.fetch(url).parent.iterdir()} >= {old}


def _open(root, url, made, barrier):
    import tempfile

    tempfile.tempdir = root
    barrier.wait(60)
    manifest = parse_manifest(url).split("train")
    made.put((str(manifest.local_file()), manifest.labels.sum()))


def test_many_processes_at_once(remote, folder, tmp_path):
    context = multiprocessing.get_context("fork")
    made, barrier = context.Queue(), context.Barrier(6)
    asked = [f"memory://{tmp_path.name}"] * 6  # forked, so that each has the same memory
    processes = [
        context.Process(target=_open, args=(str(folder), each, made, barrier)) for each in asked
    ]
    for process in processes:
        process.start()
    found = [made.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert len(set(found)) == 1
    assert len(list(folder.rglob("*"))) == 2  # the folder and one copy: nothing unfinished is left
