"""The suites that `jobs/benchmark.py` knows: a module of this folder with `rows()` each."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.benchmarks.rows import Row

# Later ones add themselves here, with the line that `--help` shows.
SUITES = {
    "align": "what aligning features in the reverse pass adds to a training step",
    "beside_training": "what an evaluation on another core costs the training step",
    "checkpoint": "what a save costs the loop, beside a bare copy and DeepSpeed's own save",
    "data": "the data pipeline: throughput, overhead, planning at scale, start, packing",
    "fid": "features of Inception, their moments and distances, beside SciPy",
    "full_stack": "step, start and memory of a submitted run, beside a bare loop of its model",
    "recovery": "from the death of a worker to the next new update, beside a bare start",
    "plan": "what jobs/plan.py predicts, beside a real update",
    "fid_interval": "how often the interval of a Frechet distance covers the truth",
    "scaling": "what an update sends in every stage of ZeRO, and its Python by workers",
    "sample": "drawing: seconds, operations, bytes; --against ml-tarflow or ml-starflow",
    "train": "the training step: images a second, operations, memory; --against ml-tarflow",
    "joint_step": "a pass of SimFlow-256 at its published size on the CPU, by network and operator",
    "telemetry": "what it costs a step that it is written down, mirrored, exported and scraped",
    "page": "the status page over 200 runs of 5,000 reports, in a browser",
}


# Those that can be timed beside another implementation, with `--against`.
COMPARED = ("sample", "train")
PEER = "transformer_flow.py"  # what a folder named by it holds


def measured(suite: str, against: Path | None = None) -> Iterator[Row]:
    """The rows of a suite as they are measured; `against` is the folder of a peer's code."""
    assert suite in SUITES
    module = import_module(f"tests.benchmarks.{suite}")
    if against is None:
        yield from module.rows()
        return
    assert suite in COMPARED
    yield from module.rows(against=against)
