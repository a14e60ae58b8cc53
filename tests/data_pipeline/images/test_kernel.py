import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from data_pipeline.images.kernel import SOURCE
from data_pipeline.images.kernel import KernelError
from data_pipeline.images.kernel import build_kernel
from data_pipeline.images.kernel import cache_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_it_is_built_once():
    library = build_kernel()
    assert library.parent == cache_folder()
    before = library.stat()
    assert build_kernel() == library
    assert library.stat() == before
    assert [path.name for path in cache_folder().iterdir()] == [library.name]


def test_another_compiler_has_a_library_of_its_own(monkeypatch):
    library = build_kernel()
    monkeypatch.setenv("CC", "cc -DANYTHING")
    assert build_kernel() != library
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(
        KernelError, match=r"no C compiler is on the path \(looked for no-such-cc\)"
    ):
        build_kernel()


def test_a_kernel_that_is_there_needs_no_compiler(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    library = build_kernel()
    monkeypatch.setenv("PATH", "")
    assert build_kernel() == library


def test_a_failing_compiler_is_quoted(monkeypatch):
    monkeypatch.setenv("CC", "cc -no-such-flag")
    with pytest.raises(KernelError, match=r"exited with 1, saying: .*no-such-flag"):
        build_kernel()
    assert not list(cache_folder().iterdir())


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(
        KernelError, match=re.escape(f"{tmp_path}/file/latent-flows cannot be used")
    ):
        build_kernel()


@pytest.mark.parametrize("place", ["folder", "library"])
def test_what_others_could_have_written_is_not_loaded(place):
    library = build_kernel()
    (library if place == "library" else cache_folder()).chmod(0o777)
    with pytest.raises(KernelError, match="can be written to by others"):
        build_kernel()


def test_the_source_is_in_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["data_pipeline.images"]
    assert any(fnmatch(SOURCE.name, pattern) for pattern in patterns)
