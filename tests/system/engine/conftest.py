from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gloo import run_workers
from tests.system.engine.matrix import Findings
from tests.system.engine.matrix import explore


@pytest.fixture(scope="session")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[dict[tuple[int, str], Findings]]:
    """By rank, what two workers found in every stage and precision: one start for all tests."""
    folder = tmp_path_factory.mktemp("matrix")
    return run_workers(explore, 2, folder, folder / "saved")


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A local folder with the files of one worker."""

    def make(name: str = "local", **files: bytes) -> Path:
        folder = tmp_path / name
        (folder / "engine").mkdir(parents=True)
        for file, content in files.items():
            (folder / "engine" / file).write_bytes(content)
        return folder

    return make
