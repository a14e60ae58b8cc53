"""What a save costs the loop, beside a bare copy of the same tensors and DeepSpeed's own save."""

import shutil
import statistics
import time
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from system.engine.checkpoints import upload
from system.engine.deepspeed_engine import Engine
from system.engine.gather import flat_masters
from system.foundation.config import resolve
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.train.assemble import assemble
from system.train.loop import open_training_stream
from system.train.state import TrainState
from system.train.update import update
from tests.benchmarks.rows import median_of_each
from tests.benchmarks.rows import seconds

CONFIG = Path(__file__).parents[3] / "configs" / "simflow_digits.yaml"


@dataclass(frozen=True, slots=True)
class Found:
    """Seconds of each way, medians; of the background's parts; and how much was copied."""

    hold: float  # what the loop stands still for
    worked: float  # of that, on its core: what a busy machine does not change
    copy: float  # the same tensors cloned
    deepspeed: float  # save_checkpoint to the local disk
    write: float  # in the background: from memory to the local disk
    upload: float  # from there to the run's folder, digests and all
    update: float
    updates_between: float
    held_bytes: int
    copied_bytes: int


def time_saving(folder: Path, settings: Sequence[str], rounds: int, updates: int) -> Found:
    """Time a save of the digits recipe with `settings`, after a few updates; all in turn."""
    torch.set_num_threads(1)
    shards = str(folder / "shards")
    if not Path(shards).exists():
        pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
    given = [f"data.shards={shards}", f"run.root={folder}", "run.name=saving", *settings]
    recipe = resolve(CONFIG, given).recipe
    state = assemble(recipe, World(), read_manifest(recipe.data.shards))
    with Ledger(str(folder / "timed"), "saving", run=recipe.run.name) as ledger:
        stream = open_training_stream(state, ledger)
        update(state, stream)
        took = statistics.median(seconds(lambda: update(state, stream)) for _ in range(updates))
        stream.close()
    worked: list[float] = []
    sides = {
        "hold": lambda: _seconds_to_hold(state, worked),
        "copy": lambda: seconds(lambda: [tensor.clone() for tensor in tensors_of(state)]),
        "deepspeed": lambda: _seconds_of_deepspeed(state.engine, folder / "plain"),
        "write": lambda: _seconds_to_write(state, folder / "written"),
        "upload": lambda: _seconds_to_upload(folder / "written", folder / "store"),
    }
    # `upload` brings away what `write` wrote: they keep their order.
    found = median_of_each({name: sides[name] for name in ("hold", "copy", "deepspeed")}, rounds)
    for name in ("write", "upload"):
        found[name] = sides[name]()
    held, copied = _held_bytes(state), sum(map(_bytes, tensors_of(state)))
    state.close()
    between = recipe.run.checkpoint_every_images / recipe.run.global_batch
    on_core = statistics.median(worked[1:])
    return Found(
        **found,
        worked=on_core,
        update=took,
        updates_between=between,
        held_bytes=held,
        copied_bytes=copied,
    )


def tensors_of(state: TrainState) -> list[Tensor]:
    """Every tensor of the state, each once: weights, buffers, masters, moments, averages."""
    found: dict[tuple[int, int], Tensor] = {}
    for tensor in _each_tensor(state.engine):
        found.setdefault((tensor.data_ptr(), tensor.numel()), tensor.detach())
    return list(found.values())


def _each_tensor(engine: Engine) -> Iterator[Tensor]:
    yield from engine.module.state_dict().values()
    yield from flat_masters(engine._engine)
    for kept in engine._engine.basic_optimizer.state.values():
        yield from (value for value in kept.values() if isinstance(value, Tensor))


def _seconds_to_hold(state: TrainState, worked: list[float]) -> float:
    start, before = time.perf_counter(), time.process_time()
    snapshot = state.hold()
    took = time.perf_counter() - start
    worked.append(time.process_time() - before)
    snapshot.engine.release()
    return took


def _held_bytes(state: TrainState) -> int:
    snapshot = state.hold()
    held = sum(_bytes(tensor) for _, tensor in snapshot.engine.taken)
    snapshot.engine.release()
    return held


def _seconds_of_deepspeed(engine: Engine, folder: Path) -> float:
    took = seconds(lambda: engine._engine.save_checkpoint(str(folder), tag="state"))
    shutil.rmtree(folder)
    return took


def _seconds_to_write(state: TrainState, folder: Path) -> float:
    snapshot = state.hold()
    return seconds(lambda: snapshot.write(folder))


def _seconds_to_upload(folder: Path, store: Path) -> float:
    return seconds(lambda: upload(folder, str(store), 0, 1))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
