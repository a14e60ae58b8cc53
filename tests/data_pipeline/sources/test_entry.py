import pytest

from data_pipeline.sources.entry import extension_of
from data_pipeline.sources.entry import is_image
from data_pipeline.sources.entry import key_of
from data_pipeline.sources.entry import read_given
from data_pipeline.sources.entry import why_unsafe
from system.foundation.errors import DataError


@pytest.mark.parametrize(
    ("path", "key", "extension"),
    [
        ("n01440764/n01440764_10026.JPEG", "n01440764/n01440764_10026", "jpeg"),
        ("cat/a.b.png", "cat/a_b", "png"),
        ("dir.d/name", "dir.d/name", ""),
    ],
)
def test_names(path, key, extension):
    assert (key_of(path), extension_of(path)) == (key, extension)


def test_images_are_told_by_their_names():
    assert is_image("a/b.WebP")
    assert not is_image("a/b.txt")
    assert not is_image("a/png")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd.png", "absolute"),
        ("C:\\a.png", "absolute or foreign"),
        ("../a.png", "leaves its folder"),
        ("a/../../b.png", "leaves its folder"),
        ("a//b.png", "leaves its folder"),
        ("a\nb.png", "unprintable"),
        (b"\xff.png".decode("utf-8", "surrogateescape"), "unprintable"),
    ],
)
def test_names_that_may_not_become_keys(name, reason):
    assert reason in why_unsafe(name)


def test_a_file_that_a_setting_names(tmp_path):
    (tmp_path / "map.txt").write_text("a")
    assert read_given(str(tmp_path / "map.txt"), "class_map") == b"a"
    for absent in (str(tmp_path / "absent"), "memory://absent"):
        with pytest.raises(DataError, match=r"absent: no such file; .* source\.class_map names"):
            read_given(absent, "class_map")


def test_other_names_may():
    assert why_unsafe("n01440764/ein Bär..JPEG") is None
