import fsspec
import pytest

from data_pipeline.images.decode import BadSample
from data_pipeline.sources.image_folder import ImageFolder
from data_pipeline.sources.image_folder import open_image_folder
from system.foundation.errors import DataError


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return ImageFolder(url=str(root))


def test_class_folders(photo_folder):
    source = open_image_folder(ImageFolder(url=str(photo_folder)))
    assert source.class_names == ("bridge", "flower", "water")
    assert len(source.entries) == 24
    entry = source.entries[8]
    assert (entry.key, entry.label, entry.extension) == ("flower/flower_0", 1, "jpeg")
    assert source.read(entry) == (photo_folder / "flower" / "flower_0.JPEG").read_bytes()
    assert entry.length == len(source.read(entry))


def test_other_files_are_ignored_by_name_and_listed(tmp_path):
    recipe = write(tmp_path, "cat/a.b.png", "cat/notes.txt", "dog/deep/c.jpg", "stray.png")
    source = open_image_folder(recipe)
    assert [entry.key for entry in source.entries] == ["cat/a_b", "dog/deep/c"]
    assert sorted(source.ignored) == ["cat/notes.txt", "stray.png"]


def test_names_that_cannot_be_keys_are_ignored_and_listed(tmp_path):
    source = open_image_folder(write(tmp_path, "cat/a.png", "cat/line\nfeed.png"))
    assert [entry.key for entry in source.entries] == ["cat/a"]
    assert source.ignored == ("'cat/line\\nfeed.png' (a name with unprintable characters)",)


def test_class_folders_may_be_links(tmp_path):
    write(tmp_path / "elsewhere", "a.png")
    recipe = write(tmp_path / "root", "dog/b.png")
    (tmp_path / "root" / "cat").symlink_to(tmp_path / "elsewhere")
    source = open_image_folder(recipe)
    assert [entry.key for entry in source.entries] == ["cat/a", "dog/b"]
    assert source.read(source.entries[0]) == b"x"


def test_labels_follow_sorted_names_and_not_sorted_paths(tmp_path):
    # `cat-2/a` sorts before `cat/a`, but `cat` before `cat-2`.
    source = open_image_folder(write(tmp_path, "cat/a.png", "cat-2/a.png"))
    assert source.class_names == ("cat", "cat-2")
    assert {entry.key: entry.label for entry in source.entries} == {"cat/a": 0, "cat-2/a": 1}


def test_a_class_map_says_labels_and_names(tmp_path):
    recipe = write(tmp_path / "in", "cat/a.png", "dog/b.png")
    (tmp_path / "classes.txt").write_text("dog Hund\ncow Kuh\ncat Katze\n")
    mapped = recipe.model_copy(update={"class_map": str(tmp_path / "classes.txt")})
    source = open_image_folder(mapped)
    assert source.class_names == ("Hund", "Kuh", "Katze")
    assert [entry.label for entry in source.entries] == [2, 0]
    (tmp_path / "classes.txt").write_text("dog Hund\n")
    with pytest.raises(DataError, match=r"classes\.txt: no class 'cat'"):
        open_image_folder(mapped)


def test_any_url(photo_folder):
    files = fsspec.filesystem("memory")
    for path in photo_folder.rglob("*.JPEG"):
        files.pipe_file(f"/source/{path.relative_to(photo_folder)}", path.read_bytes())
    there = open_image_folder(ImageFolder(url="memory://source"))
    here = open_image_folder(ImageFolder(url=str(photo_folder)))
    assert there.entries == here.entries
    assert there.read(there.entries[3]) == here.read(here.entries[3])
    files.rm("/source", recursive=True)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_image_folder(ImageFolder(url=str(tmp_path / "absent")))
    with pytest.raises(DataError, match="no images in class folders among 1 files"):
        open_image_folder(write(tmp_path, "readme.txt"))


@pytest.fixture
def locked(tmp_path):
    """A folder whose first image nobody but root may read."""
    source = open_image_folder(write(tmp_path, "cat/a.png", "cat/b.png"))
    (tmp_path / "cat" / "a.png").chmod(0)
    return source


@pytest.mark.usefixtures("locked", "as_nobody")
def test_a_file_that_cannot_be_read_is_one_bad_sample(locked):
    with pytest.raises(BadSample, match="permission denied"):
        locked.read(locked.entries[0])


def test_a_link_to_nothing_is_one_bad_sample(tmp_path):
    recipe = write(tmp_path, "cat/a.png")
    (tmp_path / "cat" / "b.png").symlink_to(tmp_path / "absent.png")
    source = open_image_folder(recipe)
    with pytest.raises(BadSample, match="a link to nothing"):
        source.read(source.entries[1])


def test_a_file_that_went_away_or_changed_stops_the_pack(tmp_path):
    source = open_image_folder(write(tmp_path, "cat/a.png"))
    (tmp_path / "cat" / "a.png").write_bytes(b"longer")
    with pytest.raises(DataError, match="has 6 bytes, and had 1 when the folder was listed"):
        source.read(source.entries[0])
    (tmp_path / "cat" / "a.png").unlink()
    with pytest.raises(DataError, match="gone since the folder was listed"):
        source.read(source.entries[0])
    files = fsspec.filesystem("memory")
    files.pipe_file("/gone/cat/a.png", b"x")
    source = open_image_folder(ImageFolder(url="memory://gone"))
    files.rm("/gone", recursive=True)
    with pytest.raises(DataError, match="gone since the folder was listed"):
        source.read(source.entries[0])


def test_a_second_folder_is_held_out(tmp_path):
    recipe = write(tmp_path / "train", "cat/a.png", "dog/b.png")
    write(tmp_path / "val", "dog/b.png", "dog/c.png", "list.txt")
    (tmp_path / "val" / "dog" / "b.png").write_bytes(b"held out")
    both = recipe.model_copy(update={"held_out_url": str(tmp_path / "val")})
    source = open_image_folder(both)
    assert [(each.key, each.label, each.split) for each in source.entries] == [
        ("cat/a", 0, "train"),
        ("dog/b", 1, "train"),
        ("dog/b", 1, "held_out"),
        ("dog/c", 1, "held_out"),
    ]
    assert [source.read(each) for each in source.entries] == [b"x", b"x", b"held out", b"x"]
    assert source.ignored == ("list.txt",)
    write(tmp_path / "val", "cow/d.png")
    with pytest.raises(DataError, match="no class 'cow' among its 2"):
        open_image_folder(both)
