"""That nothing in a pass makes the host wait for a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from data_pipeline.shards.manifest import read_manifest
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.train.assemble import assemble
from system.train.guards.stragglers import Stopwatch
from system.train.loop import open_training_stream
from system.train.report import Window
from system.train.update import micro_step
from system.train.update import update
from tests.system.train.trials import CRITIC


@contextmanager
def nothing_waits() -> Iterator[None]:
    """Within, an operation that waits for the device raises."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_pass_does_not_wait_for_the_device(recipe, tmp_path, precision: str) -> None:
    """Forward, backward and the sums of metrics. DeepSpeed's step itself reads the gradient's norm
    and whether it is finite, once an update: whether weights move is decided on the host."""
    made = recipe(
        cluster={"device": "cuda"},
        engine={"precision": precision},
        objective={"adversarial": CRITIC | {"start_images": 0}},
    )
    state = assemble(made, World(device_name="cuda:0"), read_manifest(made.data.shards))
    with Ledger(str(tmp_path / "run"), "worker-0", run="tiny") as ledger:
        stream, window = open_training_stream(state, ledger), Window(state.world)
        window.add(update(state, stream))  # kernels are loaded, tables made
        batch, _ = next(stream)
        torch.cuda.synchronize()
        with nothing_waits():
            values = micro_step(state, state.critic, batch, Stopwatch(state.world.device))
            sums = [value.detach() / 2 for value in values.values()]
        assert all(each.is_cuda for each in sums)
        stream.close()
    state.close()


@pytest.mark.gpu
def test_the_check_itself_notices_a_wait() -> None:
    given = torch.ones(1, device="cuda")
    with pytest.raises(RuntimeError, match="synchronizing"), nothing_waits():
        given.item()
