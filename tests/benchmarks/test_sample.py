"""The suite at a size where it says nothing of speed, and all of its rows."""

import os
from pathlib import Path

import pytest

from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.flow import Flow
from tests.benchmarks.parts.sampling import Task
from tests.benchmarks.sample import STARFLOW
from tests.benchmarks.sample import TARFLOW
from tests.benchmarks.sample import Scale
from tests.benchmarks.sample import measured

LINEAR = Sampler(guidance=1.0, guidance_rule="linear", guidance_blocks="all")
SIZES = {"side": 4, "channels": 3, "classes": 5, "batch": 2}
SMALL = Scale(
    rounds=1,
    streamed=2,
    tasks={
        "ml_tarflow": Task(
            Flow(width=64, depths=(1, 1), patch=2, **TARFLOW), guided=LINEAR, **SIZES
        ),
        "ml_starflow": Task(
            Flow(width=64, depths=(1, 2), **STARFLOW), guided=Sampler(guidance=1.5), **SIZES
        ),
    },
    iterated={"jacobi_blocks": "all", "jacobi_chunk": 4, "jacobi_tolerance": 0.0},
)


def test_every_row_of_our_sampler_comes():
    found = {row.name: row for row in measured(SMALL, None)}
    assert len(found) == 1 + 2 * 25
    for name, steps in (("tarflow", 15), ("starflow", 16)):
        assert found[f"{name}, plain: passes through a block"].value == 2 * steps
        assert 8 <= found[f"{name}, iterated: passes through a block"].value <= 2 * steps
        assert found[f"{name}, iterated: farthest from plain"].value < 1e-5  # float32
        assert found[f"{name}, streamed: farthest from one after the other"].value == 0
        assert found[f"{name}: streamed / one after the other, images a second"].value > 0
        for way in ("plain", "guided", "iterated"):
            assert 0 < found[f"{name}, {way}: of the product of matrices (MFU)"].value < 100


@pytest.mark.parametrize("peer", SMALL.tasks)
def test_a_peers_sampler_is_timed_beside_and_draws_the_same(peer: str):
    folder = os.environ.get(peer.upper())
    if folder is None:
        pytest.skip(f"{peer.upper()} names no checkout of its code, which is not ours to keep here")
    found = {row.name: row for row in measured(SMALL, Path(folder))}
    for way in ("without guidance", "guided"):
        assert found[f"{way}: farthest apart, any number of any image"].holds
        assert found[f"{way}: ours / {peer}, images a second"].value > 0
