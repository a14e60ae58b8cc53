"""The suite's arithmetic and its bare loop; the whole of it by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.full_stack import Scale
from tests.benchmarks.full_stack import memory
from tests.benchmarks.full_stack import rows
from tests.benchmarks.full_stack import starts
from tests.benchmarks.full_stack import steps
from tests.benchmarks.parts.submitted import Side
from tests.benchmarks.parts.submitted import bare
from tests.benchmarks.parts.submitted import peak_bytes
from tests.benchmarks.parts.submitted import prepare

TINY = (
    "autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8",
    "cluster.workers=1", "cluster.device=cpu", "run.global_batch=64", "wandb.mode=disabled",
)  # fmt: skip


def test_sides_are_compared_pair_by_pair() -> None:
    stacks = [Side(1.05, 1.02, 9.0, 14.0, 300), Side(2.04, 2.0, 9.0, 15.0, 300)]
    bares = [Side(1.0, 1.0, 5.0, 6.0, 200), Side(2.0, 2.0, 6.0, 7.0, 200)]
    pairs = [*zip(stacks, bares, strict=True)]
    found = {row.name: row for row in (*steps(pairs), *starts(pairs), *memory(pairs))}
    assert found["full stack over bare: step"].value == pytest.approx(3.5)
    assert found["the same in time on the processor"].value == pytest.approx(1.0)
    assert found["submit to first step, beyond that"].value == 9.0
    assert found["worker / bare: peak memory"].value == 1.5
    assert all(row.holds is not False for row in found.values())


def test_the_bare_loop_trains_on_the_batches_of_the_run(tmp_path: Path) -> None:
    found = bare(prepare(tmp_path, TINY, updates=3, passed_over=1))
    assert found.worked > 0
    assert found.step > 0
    assert 0 < found.ready < found.first
    assert found.peak_bytes > 50e6


def test_a_process_that_has_just_ended_has_no_peak() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # nobody has asked for its end yet
    assert peak_bytes(ended.pid) == 0
    assert ended.wait() == 0
    assert peak_bytes(os.getpid()) > 10e6


@pytest.mark.slow
@pytest.mark.by_hand
@pytest.mark.ray
def test_every_row_comes() -> None:
    scale = Scale(1, updates=6, passed_over=2, settings=TINY, wide=(), recipes_own=6)
    found = {row.name: row.value for row in rows(scale)}
    assert len(found) == 14
    started = [value for name, value in found.items() if name.startswith("from `ray job submit`")]
    assert started == sorted(started)
