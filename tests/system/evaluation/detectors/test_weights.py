import hashlib

import fsspec
import pytest

from system.evaluation.detectors.weights import PublishedFile
from system.evaluation.detectors.weights import read_published
from system.foundation.errors import BadInput

CONTENT = b"weights of a network"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = PublishedFile(
    names=("network.pth",),
    bytes=len(CONTENT),
    sha256=DIGEST,
    licence="MIT",
    origin=("example.org/network",),
)


def write(folder, content):
    place = folder / "weights.pth"
    place.write_bytes(content)
    return str(place)


def test_the_right_file_is_read(tmp_path):
    assert read_published(write(tmp_path, CONTENT), FILE, DIGEST) == (CONTENT, DIGEST)


def test_any_file_is_read_where_any_is_asked_for(tmp_path):
    other = b"others"
    digest = hashlib.sha256(other).hexdigest()
    assert read_published(write(tmp_path, other), FILE, None) == (other, digest)


def test_a_missing_file_says_all_there_is_to_know(tmp_path):
    place = str(tmp_path / "absent.pth")
    with pytest.raises(BadInput) as caught:
        read_published(place, FILE, DIGEST)
    said = str(caught.value)
    assert place in said
    for each in ("network.pth", f"{len(CONTENT)} bytes", DIGEST, "example.org/network", "Put it"):
        assert each in said


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(BadInput, match=r"a folder; expected the path of a file in it, network"):
        read_published(str(tmp_path), FILE, DIGEST)


def test_a_file_cut_short_says_both_lengths(tmp_path):
    with pytest.raises(BadInput, match=rf"{len(CONTENT) - 1} bytes, expected {len(CONTENT)}"):
        read_published(write(tmp_path, CONTENT[:-1]), FILE, DIGEST)


def test_a_flipped_bit_says_both_digests(tmp_path):
    changed = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    digest = hashlib.sha256(changed).hexdigest()
    with pytest.raises(BadInput, match=f"sha256 {digest}, expected {DIGEST}"):
        read_published(write(tmp_path, changed), FILE, DIGEST)


def test_urls_are_read_alike(tmp_path):
    url = "memory://test-weights/network.pth"
    with pytest.raises(BadInput, match="no file"):
        read_published(url, FILE, DIGEST)
    fsspec.filesystem("memory").pipe_file("/test-weights/network.pth", CONTENT[:-1])
    with pytest.raises(BadInput, match="bytes, expected"):
        read_published(url, FILE, DIGEST)
    fsspec.filesystem("memory").pipe_file("/test-weights/network.pth", CONTENT)
    assert read_published(url, FILE, DIGEST) == (CONTENT, DIGEST)
