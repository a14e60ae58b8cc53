import pytest

from data_pipeline.tars.listing import expanded
from data_pipeline.tars.listing import find_files
from data_pipeline.tars.listing import split_url
from system.foundation import storage
from system.foundation.errors import DataError

NAMES = ("a.tar", "b.tar", "part-000.tar", "part-001.tar", "x/1.tar", "x/2.tar", "y/1.tar", "n.txt")


@pytest.fixture(params=["path", "memory"])
def url(request, tmp_path):
    """A folder with some files of as many bytes as their names."""
    root = str(tmp_path) if request.param == "path" else f"memory://{tmp_path.name}"
    for name in NAMES:
        storage.write_bytes(storage.join(root, name), name.encode())
    return root


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.tar", ["a.tar", "b.tar", "part-000.tar", "part-001.tar"]),
        ("part-{000..001}.tar", ["part-000.tar", "part-001.tar"]),
        ("{b,a}.tar", ["a.tar", "b.tar"]),
        ("part-??1.tar", ["part-001.tar"]),
        ("*/*.tar", ["x/1.tar", "x/2.tar", "y/1.tar"]),
        ("x/*.tar", ["x/1.tar", "x/2.tar"]),
        ("{x,y}/1.tar", ["x/1.tar", "y/1.tar"]),
        ("{x,*}/1.tar", ["x/1.tar", "y/1.tar"]),
    ],
)
def test_what_a_pattern_means(url, pattern, found):
    assert find_files(url, pattern) == {name: len(name) for name in found}
    assert list(find_files(url, pattern)) == found


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("part-{000..002}.tar", r"no part-002\.tar here, and 7 other names, such as a\.tar"),
        ("z/*.tar", r"no z/\*\.tar here, and nothing else either"),
        ("../*.tar", "does not lie below"),
        ("/etc/*.tar", "does not lie below"),
        ("x[1.tar", r"no x\[1\.tar here"),
    ],
)
def test_what_is_not_there(url, pattern, said):
    with pytest.raises(DataError, match=said) as caught:
        find_files(url, pattern)
    assert url in str(caught.value)


def test_braces_that_do_not_pair():
    assert expanded("a{0..1}{x,}") == ["a0x", "a0", "a1x", "a1"]
    with pytest.raises(DataError, match=r"'a\{0.*braces do not pair"):
        expanded("a{0")


def test_compressed_tars_are_told(tmp_path):
    (tmp_path / "0.tar.gz").write_bytes(b"x")
    (tmp_path / "1.tgz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"0\.tar\.gz and 1 more compressed tars.*unpack"):
        find_files(str(tmp_path), "*.tar")


@pytest.mark.parametrize(
    ("url", "folder", "pattern"),
    [
        ("s3://b/set", "s3://b/set", "*.tar"),
        ("s3://b/set/p-{000..127}.tar", "s3://b/set", "p-{000..127}.tar"),
        ("/data/{train,val}/*.tar", "/data", "{train,val}/*.tar"),
        ("data/one.tar", "data", "one.tar"),
    ],
)
def test_a_url_with_names_in_it(url, folder, pattern):
    assert split_url(url, "*.tar") == (folder, pattern)
