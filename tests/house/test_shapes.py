import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def annotated_modules() -> list[str]:
    """Every module that names shapes."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("system", "data_pipeline")
        for path in (ROOT / package).rglob("*.py")
        if any(
            isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    )


@pytest.mark.parametrize("module", annotated_modules())
def test_every_annotated_shape_is_checked_in_the_tests(
    module: str, pytestconfig: pytest.Config
) -> None:
    *checked, checker = pytestconfig.getoption("--jaxtyping-packages").split(",")
    assert checker == "beartype.beartype"
    assert any(module == name or module.startswith(f"{name}.") for name in checked)
