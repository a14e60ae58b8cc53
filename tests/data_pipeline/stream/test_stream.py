import subprocess
import sys

import pytest

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.foundation.errors import DataError
from system.foundation.world import World

COLD_START = """
import subprocess, sys
from data_pipeline.decoding.pool import Pool
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.loader import open_stream
from system.foundation.settings.data import Data
from system.foundation.world import World

start, seen = Pool._start, []
def watched(self, number):
    seen.append("torch" in sys.modules)
    return start(self, number)
Pool._start = watched

manifest = read_manifest(sys.argv[1]).split("train")
data = Data(shards=sys.argv[1], image_size=8, image_channels=1, crop="none", classes=10, workers=2)
stream = open_stream(
    manifest, data, seed=0, world=World(), global_batch=4, micro_batch=4, images_seen=0
)
batch, _ = next(stream)
stream.close()
print(seen, len(batch.image))
"""


def opened(manifest, data):
    return open_stream(
        manifest, data, seed=5, world=World(), global_batch=6, micro_batch=6, images_seen=12
    )


def test_decoding_processes_start_before_torch_is_imported(digits_url):
    done = subprocess.run(
        [sys.executable, "-c", COLD_START, digits_url], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[False, False] 4"


def test_a_batch_has_its_positions_and_the_cursor_behind_it(digits, digits_data):
    stream = opened(digits, digits_data())
    batch, cursor = next(stream)
    assert batch.position.tolist() == list(range(12, 18))
    assert len(batch.key) == len(set(batch.key)) == 6
    assert cursor.images_seen == 18


def test_a_stream_that_fails_leaves_no_process(digits_copy, digits_data):
    manifest = read_manifest(str(digits_copy)).split("train")
    stream = opened(manifest, digits_data(workers=2))
    assert stream.processes
    for path in digits_copy.glob("train-*.tar"):
        path.unlink()
    with pytest.raises(DataError, match="this shard is gone"):
        next(stream)
    assert stream.processes == []
