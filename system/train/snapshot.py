"""A run's state as it was at one moment, in host memory: what a checkpoint is written from."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from system.engine.checkpoints import AVERAGED
from system.engine.checkpoints import STATE
from system.engine.checkpoints import further_average
from system.engine.snapshot import Snapshot as EngineSnapshot


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One worker's share. Whoever has it may write it beside further updates, once."""

    engine: EngineSnapshot
    critic: EngineSnapshot | None
    decays: tuple[float, ...]  # of the averages
    statement: Callable[[], dict[str, Any]] | None  # what state.json says; on rank 0

    def write(self, folder: Path) -> list[str]:
        """Write it into a local folder, and let its memory be used again; the names of its files.

        All workers must take part, each in one thread. Raises OSError where the disk does not take
        it, RuntimeError where another worker is gone.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            names = [f"engine/{name}" for name in self.engine.write(folder / "engine")]
            if self.critic is not None:
                names += [f"critic/{name}" for name in self.critic.write(folder / "critic")]
            for which, decay in enumerate(self.decays):
                averaged = self.engine.averaged(which)
                if self.statement is not None:
                    name = further_average(decay) if which else AVERAGED
                    safetensors.torch.save_file(averaged, folder / name)
                    names.append(name)
            if self.statement is not None:
                (folder / STATE).write_text(json.dumps(self.statement(), indent=1))
                names.append(STATE)
            return names
        finally:
            self.engine.release()
            if self.critic is not None:
                self.critic.release()
