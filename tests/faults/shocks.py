"""What strikes the workers of a real run, each at an update that a test has named.

`tests/faults/hook/sitecustomize.py` lets these into the loop of every worker. A plan says for each
run which shock comes before which update; what has struck is written down with the time.
"""

import json
import os
import signal
import struct
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import torch

from system.train.state import TrainState

HOUR_S = 3600.0
MOST_IMAGES = 16  # of a pass, for which the memory suffices
# Of each run, by shock: the images seen when it comes; None: whatever was seen.
Plan = dict[str, dict[str, int | None]]


def prepare(folder: Path) -> None:
    """An empty plan, and a clock that is right."""
    plan(folder, {})
    set_clock(folder, 0.0)


def plan(folder: Path, planned: Plan) -> None:
    """Say what comes when; also while a run goes on, which finds one plan or the other."""
    (folder / "plan.json.new").write_text(json.dumps(planned))
    (folder / "plan.json.new").replace(folder / "plan.json")


def set_clock(folder: Path, seconds: float) -> None:
    """Shift the clock of all processes that share the folder."""
    place = folder / "clock"
    with place.open("r+b" if place.exists() else "wb") as file:
        file.write(struct.pack("d", seconds))


def struck(folder: Path, run: str) -> dict[str, list[float]]:
    """The times at which each shock came."""
    times: dict[str, list[float]] = {}
    for path in sorted(folder.glob(f"struck-{run}-*.jsonl")):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            times.setdefault(event["shock"], []).append(event["time"])
    return times


def let_in(loop: ModuleType, folder: str) -> None:
    """Have each update of the loop met by what is planned for it."""
    update, place = loop.update, Path(folder)

    def met(state: TrainState, stream: Iterator[Any]) -> Any:
        run = state.recipe.run.name
        planned = json.loads((place / "plan.json").read_text()).get(run, {})
        for shock, images_seen in planned.items():
            if images_seen in (None, state.progress.images_seen):
                SHOCKS[shock](Struck(place, run, shock, state))
        return update(state, stream)

    loop.update = met


class Struck:
    """One shock that meets one worker."""

    def __init__(self, folder: Path, run: str, shock: str, state: TrainState) -> None:
        self.folder, self.shock, self.state = folder, shock, state
        self.rank = state.world.rank
        self._place = folder / f"struck-{run}-{self.rank}.jsonl"

    def is_first(self) -> bool:
        """Whether this worker is met for the first time in all of the run's lives."""
        return not self._place.exists() or f'"{self.shock}"' not in self._place.read_text()

    def note(self) -> None:
        """Write down that it strikes, so that it is there whatever follows."""
        with self._place.open("a") as file:
            file.write(json.dumps({"shock": self.shock, "time": time.time()}) + "\n")


def _spoil(becomes: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[TrainState], None]:
    """What has the model see something else in the place of one update's images."""

    def spoil(state: TrainState) -> None:
        left = [state.accumulation]

        def look(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            if not left[0]:
                return given
            left[0] -= 1
            return (becomes(given[0]), *given[1:])

        state.engine.module.register_forward_pre_hook(look)

    return spoil


def not_a_number(struck: Struck) -> None:
    """The second worker's images are no numbers."""
    if struck.rank == 1:
        struck.note()
        _spoil(lambda image: image * torch.nan)(struck.state)


def spike(struck: Struck) -> None:
    """All images of a batch are far outside of what images are, whenever it comes."""
    struck.note()
    _spoil(lambda image: image + 1e4)(struck.state)


def poison(struck: Struck) -> None:
    """A batch at which the second worker fails, whenever it comes."""
    if struck.rank == 1:
        struck.note()
        raise RuntimeError("this batch cannot be trained on")


def out_of_memory(struck: Struck) -> None:
    """An allocation fails, for real, unless passes have few images."""
    if struck.state.micro_batch > MOST_IMAGES:
        struck.note()
        torch.empty(2**50, dtype=torch.uint8)


def dead_rank(struck: Struck) -> None:
    """Once, the second worker is killed."""
    if struck.rank == 1 and struck.is_first():
        struck.note()
        os.kill(os.getpid(), signal.SIGKILL)


def collapse(struck: Struck) -> None:
    """From now on the encoder says the same of all images."""
    if struck.is_first():
        struck.note()
        encoder = struck.state.engine.module.autoencoder.encoder
        encoder.register_forward_hook(lambda module, given, out: torch.zeros_like(out) * out)


def hung_loader(struck: Struck) -> None:
    """Once, the first worker's decoding processes stand still: soon nothing comes from them."""
    if struck.rank == 0 and struck.is_first():
        struck.note()
        for process in psutil.Process().children(recursive=True):
            process.suspend()


def hung_collective(struck: Struck) -> None:
    """Once, the second worker's process stands still, as a whole: the first one waits for it."""
    if struck.rank == 1 and struck.is_first():
        struck.note()
        os.kill(os.getpid(), signal.SIGSTOP)


def clock_forward(struck: Struck) -> None:
    """All clocks go an hour ahead."""
    if struck.rank == 0:
        struck.note()
        set_clock(struck.folder, HOUR_S)


def clock_back(struck: Struck) -> None:
    """All clocks go to an hour behind."""
    if struck.rank == 0:
        struck.note()
        set_clock(struck.folder, -HOUR_S)


def clock_right(struck: Struck) -> None:
    """All clocks are right again."""
    if struck.rank == 0:
        struck.note()
        set_clock(struck.folder, 0.0)


SHOCKS: dict[str, Callable[[Struck], None]] = {
    each.__name__: each
    for each in (
        not_a_number, spike, poison, out_of_memory, dead_rank, hung_loader, hung_collective,
        collapse, clock_forward, clock_back, clock_right,
    )
}  # fmt: skip
