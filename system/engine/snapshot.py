"""An engine's state as it was at one moment, copied into host memory and written at leisure.

DeepSpeed hands what it saves to a part of its own that can be exchanged, its checkpoint engine.
Ours writes nothing: it copies, so that the next update may begin. Which files there are and what is
in them stays DeepSpeed's, and so does everything that reads them.

    snapshot = engine.hold()    # costs the copy; all workers
    ...                         # updates go on
    snapshot.write(folder)      # in any thread
    snapshot.averaged(0)        # alike; all workers, in the same order
    snapshot.release()          # its memory serves the next one
"""

from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine
from torch import Tensor

from system.engine.gather import flat_averages
from system.engine.layout import Holder
from system.engine.layout import Pieces

Kind = tuple[torch.dtype, torch.Size, tuple[int, ...]]
Taken = tuple[Kind, Tensor]  # what a tensor is a copy of


class HostMemory:
    """Memory for copies, used again by one after the other: new memory costs as much as a copy.

    Beside a GPU it is page-locked, so that the copy goes at the full speed of the bus.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._free: dict[Kind, list[Tensor]] = defaultdict(list)

    def take(self, like: Tensor) -> Tensor:
        """A tensor on the host of the same shape and kind, with anything in it."""
        free = self._free[_kind(like)]
        if free:
            return free.pop()
        locked = self._device.type == "cuda"
        return torch.empty_like(like, device="cpu", pin_memory=locked, requires_grad=False)

    def give_back(self, taken: Sequence[Taken]) -> None:
        """Let these be taken again."""
        for kind, tensor in taken:
            self._free[kind].append(tensor)


class Copies:
    """Copies of tensors in host memory: each once, however often it is asked for."""

    def __init__(self, memory: HostMemory, device: torch.device) -> None:
        self._memory = memory
        self._device = device
        # The original beside its copy: while it is held, no other tensor can lie at its address.
        self._made: dict[Any, tuple[Tensor, Tensor]] = {}

    def of(self, found: Any) -> Any:
        """The same, with copies in place of tensors. They are filled by `fill`.

        What is no tensor and no container describes how the state is cut, and never changes.
        """
        if isinstance(found, Tensor):
            return self._of_tensor(found.detach())
        if isinstance(found, dict):
            made = copy(found)  # with what a state dictionary tells of itself
            made.update((key, self.of(value)) for key, value in found.items())
            return made
        if type(found) in (list, tuple):
            return type(found)(self.of(each) for each in found)
        return found

    def fill(self) -> list[Taken]:
        """Copy everything at once, and return when it is done: what was taken for it."""
        originals = [original for original, _ in self._made.values()]
        copies = [made for _, made in self._made.values()]
        if copies:
            torch._foreach_copy_(copies, originals, non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        self._made.clear()
        return [(_kind(like), made) for like, made in zip(originals, copies, strict=True)]

    def _of_tensor(self, tensor: Tensor) -> Tensor:
        place = (tensor.device, tensor.data_ptr(), _kind(tensor))
        if not tensor.numel():
            return tensor.cpu()
        if place not in self._made:
            self._made[place] = (tensor, self._memory.take(tensor))
        return self._made[place][1]


def _kind(tensor: Tensor) -> Kind:
    return tensor.dtype, tensor.shape, tensor.stride()


class Collector(CheckpointEngine):
    """Takes what DeepSpeed saves, by the file that it is for."""

    def __init__(self, copies: Copies) -> None:
        super().__init__()
        self.files: dict[str, Any] = {}
        self._copies = copies

    @contextmanager
    def collecting(self, engine: deepspeed.DeepSpeedEngine) -> Iterator[None]:
        """Stand in for the engine's own; nothing touches the disk meanwhile."""
        own, engine.checkpoint_engine = engine.checkpoint_engine, self
        # It would lay programs for conversion beside the state.
        engine._copy_recovery_script = lambda _: None
        try:
            yield
        finally:
            engine.checkpoint_engine = own
            del engine._copy_recovery_script

    def save(self, state_dict: Any, path: str) -> None:
        """Copy the content of one file."""
        self.files[path] = self._copies.of(state_dict)

    def create(self, info: Any) -> None:
        """Nothing to prepare."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """No folder is needed."""

    def commit(self, info: Any) -> bool:
        """Nothing to finish."""
        return True

    def load(self, path: str, map_location: Any = None) -> Any:
        """Refused: this one stands in for the engine's own while it saves, and reads nothing."""
        raise TypeError(f"{path}: what collects a state for a save does not read one")


@dataclass(slots=True)
class Shares:
    """Averaged weights as the workers hold them in ZeRO's stages 1 to 3: this worker's pieces."""

    shapes: list[Mapping[str, Sequence[int]]]  # of each group's weights
    flats: list[list[Tensor]]  # by decay and group
    stage: int
    rank: int
    workers: int
    aside: dist.ProcessGroup | None  # what workers speak over beside their updates

    def joined(self, which: int) -> dict[str, Tensor]:
        """The whole weights by name, on rank 0. All workers must take part."""
        whole: dict[str, Tensor] = {}
        for shapes, flat in zip(self.shapes, self.flats[which], strict=True):
            counts = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
            pieces = Pieces()
            for rank, piece in enumerate(self._gathered(flat)):
                pieces.add(self._holder(rank).spans(counts, piece.numel()), piece)
            for name, shape in shapes.items() if self.rank == 0 else ():
                alone = {name: counts[name]}
                spans = Holder(3, 0, 1).spans(alone, 0)
                whole[name] = pieces.cut(spans, counts[name]).view(torch.Size(shape))
        return whole

    def _holder(self, rank: int) -> Holder:
        return Holder(self.stage, rank, self.workers)

    def _gathered(self, flat: Tensor) -> list[Tensor]:
        """Every worker's, on rank 0; none elsewhere."""
        if self.aside is None:
            return [flat]
        is_first = self.rank == 0
        found = [torch.empty_like(flat) for _ in range(self.workers)] if is_first else None
        dist.gather(flat, found, dst=0, group=self.aside)
        return found or []


@dataclass(slots=True)
class Snapshot:
    """What one worker holds of a state."""

    files: dict[str, Any]
    fixed: dict[str, Tensor]  # on rank 0: what is not trained, and buffers
    averages: Shares | list[dict[str, Tensor]]  # in stage 0 they are whole, on rank 0
    memory: HostMemory
    taken: list[Taken] = field(repr=False)
    is_released: bool = False

    def write(self, folder: Path) -> list[str]:
        """Write this worker's share into the local `folder`; the names of its files there.

        Raises RuntimeError after `release`: an empty folder would look like a whole share.
        """
        if self.is_released:
            raise RuntimeError("this state was written already, and its memory given away")
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("wb") as file:
                torch.save(content, file)
        return [*self.files]

    def averaged(self, which: int) -> dict[str, Tensor]:
        """The averaged weights, by the place of their decay, on rank 0; empty elsewhere.

        All workers must take part. It is valid until `release`.
        """
        if isinstance(self.averages, Shares):
            return self.averages.joined(which) | self.fixed
        trained = self.averages[which] if self.averages else {}
        return {name: tensor.contiguous() for name, tensor in (trained | self.fixed).items()}

    def release(self) -> None:
        """Let the memory be used again; nothing can be written any more."""
        self.files, self.averages, self.is_released = {}, [], True
        self.memory.give_back(self.taken)
        self.taken = []


def take(
    engine: deepspeed.DeepSpeedEngine,
    copies: Copies,
    *,
    client_state: dict[str, Any],
    tag: str,
) -> dict[str, Any]:
    """What DeepSpeed would save, by file. All workers must take part; `copies` are to be filled."""
    collector = Collector(copies)
    with collector.collecting(engine):
        engine.save_checkpoint(".", tag=tag, client_state=client_state, save_latest=False)
    return collector.files


def shares_of(
    engine: deepspeed.DeepSpeedEngine,
    copies: Copies,
    decays: int,
    holder: Holder,
    aside: dist.ProcessGroup | None,
) -> Shares:
    """This worker's pieces of the averages, in stages 1 to 3; copied with what they are part of."""
    flats = [[copies.of(flat) for flat in flat_averages(engine, which)] for which in range(decays)]
    shapes = engine._get_zero_param_shapes()
    return Shares(shapes, flats, holder.stage, holder.rank, holder.workers, aside)
