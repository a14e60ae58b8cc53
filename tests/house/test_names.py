import ast
import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("system", "data_pipeline")
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.name != "__init__.py"
)
CODE = MODULES + sorted((ROOT / "jobs").glob("*.py")) + sorted((ROOT / "tests").rglob("*.py"))
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "managers"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_resolve_inside_this_tree(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin == str(ROOT / package / "__init__.py")


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.py")), ids=name)
def test_no_job_shadows_a_module(path: Path) -> None:
    # A program's own folder comes first on the path, so its name would hide the library's.
    elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT / "jobs"]
    assert path.stem not in sys.stdlib_module_names
    assert PathFinder.find_spec(path.stem, elsewhere) is None


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_names_are_nouns_of_the_field(path: Path) -> None:
    assert VAGUE.isdisjoint(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_has_its_mirrored_test(path: Path) -> None:
    mirror = ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.name}")
    assert mirror.exists(), f"{name(path)} has no {name(mirror)}"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_library_module_imports_a_program_or_a_test(path: Path) -> None:
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert {(module or "").split(".")[0] for module in imported}.isdisjoint({"jobs", "tests"})


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.py")), ids=name)
def test_programs_define_no_class_and_nothing_that_is_sent_to_workers(path: Path) -> None:
    # What is defined in `__main__` is shipped by value and escapes the layers.
    tree = ast.parse(path.read_text("utf-8"))
    assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert "ray.remote" not in path.read_text("utf-8")
