"""A state that n workers saved, taken up by m: every number goes to the worker that now holds it.

DeepSpeed refuses another number of workers. Here each of the m workers maps the files of all n,
copies what it is to hold into flat tensors of its own, and takes those up as if it had saved them.
It reads the pages that it needs, and has in memory what a restore without a change would have.
Nothing is computed: weights, moments and averages stay the same to the bit.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import deepspeed
import torch
from torch import Tensor

from system.engine.gather import flat_masters
from system.engine.layout import Holder
from system.engine.layout import Pieces
from system.engine.layout import Span

Shapes = Mapping[str, Sequence[int]]  # of a group's weights, in the group's order
Share = Mapping[str, Any]  # what DeepSpeed saves of a worker's part of the optimiser

# DeepSpeed's names (0.19.8). In a share, by stage: the float32 weights, what the optimiser keeps.
MASTERS = {
    1: "single_partition_of_fp32_groups",
    2: "single_partition_of_fp32_groups",
    3: "fp32_flat_groups",
}
KEPT = {1: "base_optimizer_state", 2: "base_optimizer_state", 3: "optimizer_state_dict"}
# Beside the shares: the counts; in stage 3, of what is not trained, a worker's pieces, and shapes.
COUNTS = ("global_steps", "global_samples", "skipped_steps")
FROZEN, FROZEN_SHAPES = "frozen_param_fragments", "frozen_param_shapes"


def read_model(folder: Path, rank: int | None = None) -> dict[str, Any]:
    """What a worker, by default any, saved beside its share: the module, and DeepSpeed's counts.

    Its file is mapped. Raises FileNotFoundError where there is none.
    """
    whose = "*" if rank is None else f"zero_pp_rank_{rank}_"
    return _read(folder, f"{whose}mp_rank_00_model_states.pt")


def restore_resharded(
    engine: deepspeed.DeepSpeedEngine, folder: Path, before: Sequence[Holder], now: Holder
) -> None:
    """Have `engine`, the worker `now`, take up what the workers `before` saved into `folder`.

    All workers of now must take part, within `loading_only_tensors`. Raises OSError, RuntimeError,
    KeyError, ValueError or UnpicklingError where the files are not those of such a state.
    """
    optimiser = engine.optimizer
    shapes: list[Shapes] = engine._get_zero_param_shapes()
    saved = _Saved(folder, before)
    saved.check(shapes)
    if now.stage == 3:
        optimiser.checkpoint_event_prologue()
    engine.load_module_state_dict(saved.model_for(now))
    shares: list[Share | None] = [None] * now.workers
    shares[now.rank] = saved.share_for(now, shapes, [f.numel() for f in flat_masters(engine)])
    optimiser.load_state_dict(shares, load_optimizer_states=True, load_from_fp32_weights=True)
    if now.stage == 3:
        optimiser.checkpoint_event_epilogue()
    for name in COUNTS:
        setattr(engine, name, saved.model[name])


class _Saved:
    """What some workers saved, in parts as other workers would hold them."""

    def __init__(self, folder: Path, holders: Sequence[Holder]) -> None:
        self.model = read_model(folder)
        self._folder = folder
        self._holders = holders
        self._shapes: list[Shapes] = self.model["param_shapes"]
        self._shares: list[Share] = [_read_share(folder, holder.rank) for holder in holders]
        self._masters, self._kept = MASTERS[holders[0].stage], KEPT[holders[0].stage]

    def check(self, shapes: list[Shapes]) -> None:
        """Raise ValueError unless the weights are those of `shapes`, however grouped."""
        saved, wanted = (
            {name: tuple(shape) for group in groups for name, shape in group.items()}
            for groups in (self._shapes, shapes)
        )
        other = sorted(n for n in saved.keys() | wanted.keys() if saved.get(n) != wanted.get(n))
        if other:
            raise ValueError(f"weights are absent, unknown or of other shapes: {', '.join(other)}")

    def model_for(self, now: Holder) -> dict[str, Any]:
        """What `now` would have saved beside its share."""
        if now.stage < 3:
            return self.model
        models = [read_model(self._folder, holder.rank) for holder in self._holders]
        fragments = {}
        for name, shape in self.model[FROZEN_SHAPES].items():
            counts, pieces = {name: prod(shape)}, Pieces()
            for holder, model in zip(self._holders, models, strict=True):
                pieces.add(holder.spans(counts, 0), model[FROZEN][name])
            fragments[name] = pieces.cut(now.spans(counts, 0), now.piece(counts[name]))
        return self.model | {FROZEN: fragments}

    def share_for(self, now: Holder, shapes: list[Shapes], lengths: list[int]) -> Share:
        """What `now` would have saved of the optimiser, in flat tensors of these lengths."""
        groups = [
            (now.spans(_counts(group), length), length)
            for group, length in zip(shapes, lengths, strict=True)
        ]
        homes = [self._home(group) for group in shapes]
        masters = self._joined(lambda share, group: share[self._masters][group])
        return {
            **self._shares[0],
            self._masters: [masters.cut(*group) for group in groups],
            self._kept: {
                "state": self._state(homes, groups),
                "param_groups": self._settings(homes),
            },
        }

    def _state(
        self, homes: list[int], groups: list[tuple[list[Span], int]]
    ) -> dict[int, dict[str, Tensor]]:
        """What the optimiser keeps for each group; nothing before the first step."""
        kept = [self._kept_of(self._shares[0], home) for home in homes]
        flat = sorted({key for state in kept for key, value in state.items() if value.ndim})
        pieces = {key: self._joined(partial(self._flat, key)) for key in flat}
        return {
            own: {
                key: pieces[key].cut(*group) if value.ndim else value.clone()
                for key, value in state.items()
            }
            for own, (state, group) in enumerate(zip(kept, groups, strict=True))
            if state
        }

    def _settings(self, homes: list[int]) -> list[dict[str, Any]]:
        """The optimiser's parameter groups, each with the numbers of its flat tensors."""
        settings: list[dict[str, Any]] = deepcopy(self._shares[0][self._kept]["param_groups"])
        for group in settings:
            saved = set(group["params"])
            group["params"] = [own for own, home in enumerate(homes) if home in saved]
        return settings

    def _home(self, shapes: Shapes) -> int:
        """The saved group of a group's weights."""
        weight = next(iter(shapes))
        return next(number for number, group in enumerate(self._shapes) if weight in group)

    def _joined(self, flat_of: Callable[[Share, int], Tensor | None]) -> Pieces:
        pieces = Pieces()
        for group, shapes in enumerate(self._shapes):
            # The first worker's tells the length: padding is left out of the last one's alone.
            length = self._shares[0][self._masters][group].numel()
            for holder, share in zip(self._holders, self._shares, strict=True):
                flat = flat_of(share, group)
                if flat is not None:
                    pieces.add(holder.spans(_counts(shapes), length), flat)
        return pieces

    def _flat(self, key: str, share: Share, group: int) -> Tensor | None:
        return self._kept_of(share, group).get(key)

    def _kept_of(self, share: Share, group: int) -> dict[str, Tensor]:
        state: dict[str, Tensor] = share[self._kept]["state"].get(group, {})
        return state


def _counts(shapes: Shapes) -> dict[str, int]:
    return {name: prod(shape) for name, shape in shapes.items()}


def _read_share(folder: Path, rank: int) -> Share:
    share: Share = _read(folder, f"*zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    return share["optimizer_state_dict"]


def _read(folder: Path, pattern: str) -> dict[str, Any]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"no file {pattern} in it")
    content: dict[str, Any] = torch.load(found[0], map_location="cpu", mmap=True, weights_only=True)
    return content
