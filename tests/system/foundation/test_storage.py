import errno
import io
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import StorageError


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(
    params=["path", "file", "memory", pytest.param("s3", marks=pytest.mark.slow)],
)
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder's url in each kind of store; nothing is there yet."""
    name = uuid.uuid4().hex[:12]
    if request.param == "path":
        return str(tmp_path / name)
    if request.param == "file":
        return f"file://{tmp_path}/{name}"
    if request.param == "memory":
        return f"memory://{name}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("object_store"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}/runs"


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_stream_is_written_whole_or_not_at_all(tmp_path, kind):
    root = str(tmp_path) if kind == "local" else f"memory://{uuid.uuid4().hex}"
    url = storage.join(root, "folder/file")

    def broken(file: io.BufferedIOBase) -> None:
        file.write(b"half")
        raise ValueError("of the content")

    with pytest.raises(ValueError, match="of the content"):
        storage.write_stream(url, broken)
    assert not storage.exists(url)
    storage.write_stream(url, lambda file: file.writelines([b"wh", b"ole"]))
    assert storage.read_bytes(url) == b"whole"
    assert storage.list_names(storage.join(root, "folder")) == ["file"]


def test_a_local_path_is_made_to_mean_the_same_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert storage.absolute("a/../b") == str(tmp_path / "b")
    assert storage.absolute("~/runs") == "/home/me/runs"
    assert storage.absolute("file:///data") == "/data"
    assert storage.absolute("s3://bucket/a") == "s3://bucket/a"


def test_parts_are_one_file(root: str) -> None:
    url = storage.join(root, "a", "b.bin")
    storage.write_parts(url, [b"one", b"", b"x" * (2**20 + 1), b"two"])
    assert storage.read_bytes(url) == b"one" + b"x" * (2**20 + 1) + b"two"
    storage.write_parts(url, [])
    assert storage.size(url) == 0
    assert storage.list_names(storage.join(root, "a")) == ["b.bin"]


def test_what_is_written_is_read(root: str, tmp_path: Path) -> None:
    url = storage.join(root, "a", "b.bin")
    assert not storage.exists(url)
    storage.write_bytes(url, b"first")
    storage.write_bytes(url, b"second \xc3\xa9")
    assert storage.exists(url)
    assert storage.read_bytes(url) == b"second \xc3\xa9"
    assert storage.read_text(url) == "second é"
    assert storage.size(url) == 9
    assert storage.read_range(url, 2, 4) == b"cond"
    storage.copy_in(url, tmp_path / "new" / "copy.bin")
    assert (tmp_path / "new" / "copy.bin").read_bytes() == b"second \xc3\xa9"
    storage.copy_out(tmp_path / "new" / "copy.bin", storage.join(root, "c.bin"))
    assert storage.read_bytes(storage.join(root, "c.bin")) == b"second \xc3\xa9"


def test_a_listing_is_sorted_and_never_stale(root: str) -> None:
    assert storage.list_names(root) == []
    storage.write_bytes(storage.join(root, "b"), b"1")
    storage.write_bytes(storage.join(root, "a", "x"), b"1")
    assert storage.list_names(root) == ["a", "b"]
    storage.write_bytes(storage.join(root, "c"), b"1")
    assert storage.list_names(root) == ["a", "b", "c"]
    assert storage.list_names(storage.join(root, "a")) == ["x"]


def test_the_sizes_of_a_folder_s_files_come_in_one_listing(root: str) -> None:
    assert storage.list_sizes(root) == {}
    storage.write_bytes(storage.join(root, "b"), b"12345")
    storage.write_bytes(storage.join(root, "a"), b"1")
    storage.write_bytes(storage.join(root, "folder", "x"), b"1")
    assert storage.list_sizes(root) == {"a": 1, "b": 5}


def test_only_the_first_claims_a_name(root: str) -> None:
    url = storage.join(root, "claim.json")
    storage.write_new(url, b"mine")
    with pytest.raises(FileExistsError, match=r"is there already.*claim"):
        storage.write_new(url, b"yours")
    assert storage.read_bytes(url) == b"mine"


def test_remove_takes_files_and_folders_and_forgives_absence(root: str) -> None:
    storage.write_bytes(storage.join(root, "folder", "deep", "x"), b"1")
    storage.write_bytes(storage.join(root, "folder", "y"), b"1")
    storage.write_bytes(storage.join(root, "kept"), b"1")
    storage.remove(storage.join(root, "folder"))
    storage.remove(storage.join(root, "folder"))
    assert storage.list_names(root) == ["kept"]
    storage.remove(storage.join(root, "kept"))
    assert not storage.exists(storage.join(root, "kept"))


def test_a_missing_file_is_named(root: str, tmp_path: Path) -> None:
    url = storage.join(root, "absent")
    for read in (storage.read_bytes, storage.read_text, storage.size):
        with pytest.raises(FileNotFoundError) as caught:
            read(url)
        assert url in str(caught.value)
    with pytest.raises(FileNotFoundError, match="absent"):
        storage.copy_in(url, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert list(tmp_path.rglob("*.part")) == []


def test_a_range_past_the_end_is_refused(root: str) -> None:
    url = storage.join(root, "short")
    storage.write_bytes(url, b"12345")
    assert storage.read_range(url, 3, 2) == b"45"
    with pytest.raises(StorageError, match="short ends early: expected 3 bytes from 3, found 2"):
        storage.read_range(url, 3, 3)


def test_an_empty_range_is_empty_wherever_it_starts(root: str) -> None:
    url = storage.join(root, "archive")
    storage.write_bytes(url, b"12345")
    for start in (0, 2, 5):
        assert storage.read_range(url, start, 0) == b""


@pytest.mark.slow
def test_a_bucket_that_does_not_exist_is_bad_input(
    object_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(BadInput, match="cannot write s3://nobody-s/x: its bucket does not exist"):
        storage.write_bytes("s3://nobody-s/x", b"1")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("runs", "a", "b"), "runs/a/b"),
        (("runs/", "/a/", "b/"), "runs/a/b"),
        (("s3://bucket", "a"), "s3://bucket/a"),
        (("memory://", "a"), "memory://a"),
        (("/", "a"), "/a"),
        (("runs/",), "runs"),
        (("runs", ""), "runs"),
    ],
)
def test_join(parts: tuple[str, ...], expected: str) -> None:
    assert storage.join(*parts) == expected


def test_which_urls_are_local(tmp_path: Path) -> None:
    assert storage.is_local("runs/digits")
    assert storage.is_local("file:///tmp/x")
    assert not storage.is_local("s3://bucket/x")
    assert storage.local_path("file:///tmp/x") == Path("/tmp/x")
    assert storage.local_path("runs") == Path("runs")
    with pytest.raises(BadInput, match="s3://bucket/x is not on this machine"):
        storage.local_path("s3://bucket/x")


def test_free_space_is_known_before_the_folder_is_made(tmp_path: Path) -> None:
    free = storage.free_bytes(str(tmp_path / "not" / "made"))
    assert free is not None
    assert free > 0
    assert storage.free_bytes("memory://x") is None


def test_unknown_schemes_are_bad_input() -> None:
    with pytest.raises(BadInput, match=r"nosuch://x .*nosuch"):
        storage.read_bytes("nosuch://x")


def test_a_scheme_whose_package_is_absent_says_so() -> None:
    with pytest.raises(BadInput, match=r"smb://host/x needs a package that is not installed"):
        storage.read_bytes("smb://host/x")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageError, match="is not UTF-8 text"):
        storage.read_text(str(tmp_path / "x"))


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "state.json")
    storage.write_bytes(url, b"old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match=r"cannot write .*state.json: no space is left"):
        storage.write_bytes(url, b"new")
    monkeypatch.undo()
    assert storage.read_bytes(url) == b"old"
    assert storage.list_names(str(tmp_path)) == ["state.json"]
    assert list(tmp_path.iterdir()) == [tmp_path / "state.json"]


def test_a_file_still_being_written_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".x.12345678.part").write_bytes(b"")
    assert storage.list_names(str(tmp_path)) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    assert storage.list_names(str(tmp_path / "x")) == []
    with pytest.raises(StorageError, match=r"a file stands where the folder .*x is needed"):
        storage.write_bytes(str(tmp_path / "x" / "y"), b"1")


def test_copying_out_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        storage.copy_out(tmp_path / "gone", str(tmp_path / "there"))
