"""How long from the start of a process to its first batch."""

import os
import subprocess
import sys
import time

from tests.benchmarks.report import ROOT

MICRO_BATCH = 64
PROGRAM = """
import sys
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.foundation.settings.data import Data
from system.foundation.world import World

url, rows = sys.argv[1], int(sys.argv[2])
manifest = read_manifest(url).split("train")
stream = open_stream(
    manifest,
    Data(shards=url, image_size=256, classes=manifest.classes),
    seed=0,
    world=World(),
    global_batch=rows,
    micro_batch=rows,
    images_seen=0,
)
batch, cursor = next(stream)
assert len(batch.image) == rows
print("first batch", flush=True)
stream.close()
"""


def seconds_to_first_batch(url: str) -> float:
    """Of one fresh interpreter with the loader's usual settings."""
    return _seconds_until_said("first batch", PROGRAM, url, str(MICRO_BATCH))


def seconds_to_torch() -> float:
    """Of one fresh interpreter until torch is imported: the share that no loader can shorten."""
    return _seconds_until_said("torch", "import torch; print('torch', flush=True)")


def _seconds_until_said(word: str, program: str, *arguments: str) -> float:
    command = [sys.executable, "-c", program, *arguments]
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        took = time.perf_counter() - start
    if said.strip() != word or process.returncode:
        raise RuntimeError(f"the program of the benchmark exited with {process.returncode}")
    return took
