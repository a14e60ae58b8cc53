"""The suite at a size where it says nothing of speed, and all of its rows."""

import os
from pathlib import Path

import pytest

from tests.benchmarks.train import Scale
from tests.benchmarks.train import rows

SMALL = Scale(
    rounds=2,
    settings=(
        "flow.width=64", "flow.depths=[1, 1]", "flow.patch=8", "data.image_size=32",
        "run.global_batch=2", "data.classes=10",
    ),
)  # fmt: skip


def test_every_row_of_our_step_comes():
    found = {row.name: row for row in rows(SMALL)}
    assert len(found) == 11
    assert all(row.value > 0 for row in found.values())
    assert found["ours: of the product of matrices (MFU)"].value < 100


def test_a_peer_is_timed_beside():
    folder = os.environ.get("ML_TARFLOW")
    if folder is None:
        pytest.skip("ML_TARFLOW names no checkout of its code, which is not ours to keep here")
    found = {row.name: row for row in rows(SMALL, Path(folder))}
    assert found["both forward passes in float32, largest difference"].holds
    assert found["ours / ml_tarflow, eager: images a second"].value > 0
