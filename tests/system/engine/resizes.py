"""A state that goes from one number of workers to another, for every ZeRO stage and precision."""

from dataclasses import dataclass
from pathlib import Path

import torch

from system.engine.deepspeed_engine import Engine
from system.foundation.world import World
from tests.system.engine.matrix import ACCUMULATION
from tests.system.engine.matrix import DECAYS
from tests.system.engine.matrix import RATE
from tests.system.engine.matrix import Snapshot
from tests.system.engine.matrix import make_engine
from tests.system.engine.matrix import save_together
from tests.system.engine.matrix import snapshot

Case = tuple[int, str]  # stage and precision


@dataclass
class Taken:
    """What some workers made of a state that others saved."""

    state: Snapshot
    folder: Path  # where they saved it again
    again: Snapshot  # as a new engine of theirs took that up
    losses: list[float]  # of the same batches, whoever computes them


def take_up(world: World, folders: dict[Case, Path], root: Path) -> dict[Case, Taken]:
    """Restore each case's state; save it, restore that, and go on for two updates."""
    return {case: _take_up(world, case, folders[case], root) for case in folders}


def _take_up(world: World, case: Case, folder: Path, root: Path) -> Taken:
    engine, _ = make_engine(world, *case)
    engine.restore(folder)
    state = snapshot(engine)
    saved = save_together(engine, world, root / f"{case[0]}-{case[1]}-of-{world.size}")
    engine.close()
    other, _ = make_engine(world, *case)
    other.restore(saved)
    again = snapshot(other)
    losses = [update(other, number) for number in range(2)]
    other.close()
    return Taken(state, saved, again, losses)


def update(engine: Engine, number: int) -> float:
    """One update on a batch that is the same for every worker; its loss."""
    given = torch.randn(4, 4, generator=torch.Generator().manual_seed(number))
    total = 0.0
    for _ in range(ACCUMULATION):
        loss = engine.forward(given).value.square().mean()
        engine.backward(loss)
        total += loss.item() / ACCUMULATION
    engine.step(RATE, DECAYS)
    return total
