"""A worker is killed in the middle of its work; the run that is started again ends the same."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from torch.multiprocessing import ProcessExitedException
from torch.multiprocessing import ProcessRaisedException

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.engine.checkpoints import CheckpointStore
from tests.faults.lives import live
from tests.gloo import run_workers
from tests.system.train.trials import Ended

PATIENCE_S = 120


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return out


def run_to_the_end(folder: Path, shards: str, root: Path, case: tuple[int, str], n: int) -> Ended:
    root.mkdir(exist_ok=True)
    return run_workers(live, 2, folder, shards, root, *case, n)[0]


def kill_after_first_checkpoint(root: Path, killed: list[int]) -> None:
    """SIGKILL the second worker as soon as a checkpoint is committed."""
    store = CheckpointStore(f"{root}/tiny/checkpoints")
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and not store.all():
        time.sleep(0.01)
    victim = int((root / "worker-1-1.pid").read_text())
    os.kill(victim, signal.SIGKILL)
    killed.append(victim)


@pytest.mark.chaos
@pytest.mark.parametrize("case", [(2, "bf16")], ids=lambda c: f"zero{c[0]}-{c[1]}")
def test_a_killed_worker_costs_no_bit(tmp_path: Path, shards: str, case: tuple[int, str]) -> None:
    whole = run_to_the_end(tmp_path, shards, tmp_path / "whole", case, 1)

    root, killed = tmp_path / "killed", []
    root.mkdir()
    killer = threading.Thread(target=kill_after_first_checkpoint, args=(root, killed))
    killer.start()
    # The survivor's next collective fails, or it is ended with its group.
    with pytest.raises((ProcessExitedException, ProcessRaisedException)):
        run_to_the_end(tmp_path, shards, root, case, 1)
    killer.join()
    assert killed
    newest = CheckpointStore(f"{root}/tiny/checkpoints").latest()
    assert newest is not None
    assert 16 <= newest.images_seen < 64

    resumed = run_to_the_end(tmp_path, shards, root, case, 2)
    assert min(resumed.values) == newest.images_seen + 8
    for part in ("weights", "averages", "critic"):
        expected, found = getattr(whole, part), getattr(resumed, part)
        assert all(torch.equal(found[name], weight) for name, weight in expected.items()), part
    for images, values in resumed.values.items():
        assert values["loss/total"] == whole.values[images]["loss/total"]
