"""A module under DeepSpeed: forward, backward, step; sharded by ZeRO, saved, restored, averaged.

One class for every stage and precision, on CPU (gloo) and CUDA (nccl). Weights go in as float32;
with bf16 the module computes in bf16 while the optimiser keeps float32 masters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import is_dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import deepspeed
import torch
from torch import Tensor
from torch import nn

from system.engine import process_group
from system.engine import snapshot
from system.engine.deepspeed_config import clips_itself
from system.engine.deepspeed_config import deepspeed_config
from system.engine.gather import gather_averages
from system.engine.gather import gather_untrained
from system.engine.gather import gather_weights
from system.engine.gather import kept_buffers
from system.engine.gather import whole_averages
from system.engine.layout import Holder
from system.engine.optimiser import DECAYS
from system.engine.optimiser import AveragingAdamw
from system.engine.optimiser import parameter_groups
from system.engine.records import tensors_in
from system.engine.records import with_tensors
from system.engine.reshard import read_model
from system.engine.reshard import restore_resharded
from system.engine.safe_loading import loading_only_tensors
from system.foundation.errors import CheckpointError
from system.foundation.settings import engine as settings
from system.foundation.world import World

TAG = "state"  # the folder that DeepSpeed makes inside the one it is given
CUT = "cut"  # how the saved state was cut
UNUSABLE = (RuntimeError, KeyError, ValueError, AssertionError, OSError, UnpicklingError)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What one optimiser step came to."""

    gradient_norm: float  # global, before clipping; infinite if it was not finite
    skipped: bool  # no weight moved, on any worker


class Engine:
    """Turns losses of `module` into updates of its weights.

    An update is `accumulation` times `forward` and `backward`, then one `step`. Gradients are the
    mean over micro-batches and workers. All workers call all methods alike.

    While the engine lives, a module that returns a record returns the record's tensors as a tuple;
    `forward` gives the record.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: settings.Engine,
        *,
        world: World,
        micro_batch: int,
        accumulation: int,
    ) -> None:
        process_group.join(world)
        self.module = module
        self.world = world
        self._clip = settings.gradient_clip
        self._accumulation = accumulation
        self._backwards = 0  # since the last step
        self._stage = settings.zero_stage
        self._cut = {
            "zero_stage": settings.zero_stage,
            "precision": settings.precision,
            "workers": world.size,
        }
        # The module's own weights will be rounded to bf16; what is not trained has no masters.
        self._untrained = {
            name: weight.detach().to("cpu", torch.float32, copy=True)
            for name, weight in module.named_parameters()
            if world.is_first and settings.precision == "bf16" and not weight.requires_grad
        }
        self._record: Any = None
        # Before DeepSpeed's own hooks, which then see tensors.
        self._hook = module.to(world.device).register_forward_hook(self._flatten)
        optimiser = AveragingAdamw(
            parameter_groups(module, settings.optimiser.weight_decay), settings.optimiser
        )
        config = deepspeed_config(
            settings,
            micro_batch=micro_batch,
            accumulation=accumulation,
            world_size=world.size,
            device=world.device.type,
        )
        self._aside = process_group.aside(world)
        self._memory = snapshot.HostMemory(world.device)
        self._fixed: dict[str, Tensor] | None = None  # what is not trained, once it was gathered
        with process_group.quiet():
            self._engine, *_ = deepspeed.initialize(
                model=module, optimizer=optimiser, config=config, dist_init_required=False
            )
        # Stage 0 in bf16 begins with a trial step of zero gradients, which would count as one.
        optimiser.state.clear()
        self._is_bare = clips_itself(settings)

    def forward(self, *inputs: Any) -> Any:
        """The module's output, ready for `backward`."""
        is_last = self._backwards + 1 == self._accumulation
        self._engine.set_gradient_accumulation_boundary(is_last)
        output = self._engine(*inputs)
        return with_tensors(self._record, iter(tensors_in(output)))

    def _flatten(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """What DeepSpeed is to see of the module's output: no record, but its tensors."""
        self._record = output
        return tensors_in(output) if is_dataclass(output) else output

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of one micro-batch's loss, a mean over its samples."""
        assert self._backwards < self._accumulation, "a step is due"
        self._engine.backward(loss)
        self._backwards += 1

    def step(self, learning_rate: float, decays: Sequence[float]) -> StepOutcome:
        """Move the weights and their averages, one for each decay, unless a gradient is not finite
        on any worker."""
        assert self._backwards == self._accumulation, "an update needs all of its micro-batches"
        self._backwards = 0
        for group in self._engine.basic_optimizer.param_groups:
            group["lr"] = learning_rate
            group[DECAYS] = [*decays]
        if self._is_bare:
            return self._bare_step()
        self._engine.step()
        norm = float(self._engine.get_global_grad_norm())
        return StepOutcome(norm, skipped=bool(self._engine.optimizer.overflow))

    def _bare_step(self) -> StepOutcome:
        gradients = {w: w.grad for w in self.module.parameters() if w.grad is not None}
        total = nn.utils.get_total_norm(gradients.values())
        norm = float(total)
        is_finite = math.isfinite(norm)
        if not is_finite:
            # Without gradients the optimiser moves nothing, while DeepSpeed counts the step.
            self._engine.zero_grad()
        elif self._clip:
            nn.utils.clip_grads_with_norm_(gradients.keys(), self._clip, total)
        self._engine.step()
        return StepOutcome(norm if is_finite else math.inf, skipped=not is_finite)

    def weights(self) -> dict[str, Tensor]:
        """All weights in float32 by name, on the CPU of rank 0; empty elsewhere."""
        return self._collect(gather_weights(self._engine, self.module))

    def averaged(self, which: int = 0) -> dict[str, Tensor]:
        """The averaged weights alike, by the place of their decay among those of the steps."""
        return self._collect(gather_averages(self._engine, self.module, which))

    def _collect(self, gathered: Any) -> dict[str, Tensor]:
        whole: dict[str, Tensor] = {}
        for name, tensor in gathered:
            if self.world.is_first:
                # A copy: what is gathered may be the weight itself, which the next step moves.
                whole[name] = self._as_given(name, tensor.to("cpu", copy=True).contiguous())
        return whole

    def _as_given(self, name: str, gathered: Tensor) -> Tensor:
        """A weight that is not trained as it came in, if what is there is that, rounded."""
        given = self._untrained.get(name)
        if given is None or not torch.equal(given.bfloat16().float(), gathered):
            return gathered
        return given.clone()

    def hold(self, averages: int) -> snapshot.Snapshot:
        """This worker's share of the state as it is, with so many averages, in host memory.

        It costs the copy, and the first time a gathering of what is not trained.
        """
        copies = snapshot.Copies(self._memory, self.world.device)
        files = snapshot.take(self._engine, copies, client_state={CUT: self._cut}, tag=TAG)
        first = self.world.is_first
        if self._fixed is None:
            self._fixed = self._collect(gather_untrained(self._engine, self.module))
        fixed = self._fixed | copies.of(dict(kept_buffers(self.module)) if first else {})
        held: snapshot.Shares | list[dict[str, Tensor]]
        if self._stage:
            holder = Holder(self._stage, self.world.rank, self.world.size)
            held = snapshot.shares_of(self._engine, copies, averages, holder, self._aside)
        else:
            held = [
                copies.of(dict(whole_averages(self._engine, self.module, which)))
                for which in range(averages if first else 0)
            ]
        return snapshot.Snapshot(files, fixed, held, self._memory, copies.fill())

    def save(self, folder: Path) -> None:
        """Write this worker's share of the state into the local `folder`."""
        held = self.hold(0)
        try:
            held.write(folder)
        finally:
            held.release()

    def restore(self, folder: Path) -> None:
        """Take up the state that `save` wrote, on this or another number of workers.

        Raises CheckpointError where it is of another stage, precision or module, or holds anything
        but numbers.
        """
        self._fixed = None
        try:
            with process_group.quiet(), loading_only_tensors():
                self._take_up(folder)
        except UNUSABLE as error:
            raise CheckpointError(_unusable(folder, str(error).strip() or repr(error))) from error

    def _take_up(self, folder: Path) -> None:
        saved = read_model(folder / TAG).get(CUT, {})
        if saved | {"workers": self.world.size} != self._cut:
            raise ValueError(f"found {saved}, expected {self._cut} or other workers")
        stage, workers = saved["zero_stage"], saved["workers"]
        if stage == 0 or workers == self.world.size:  # in stage 0 every worker holds everything
            found, _ = self._engine.load_checkpoint(
                str(folder), tag=TAG, load_lr_scheduler_states=False
            )
            if found is None:
                raise FileNotFoundError("DeepSpeed finds no checkpoint there")
            return
        before = [Holder(stage, rank, workers) for rank in range(workers)]
        now = Holder(stage, self.world.rank, self.world.size)
        restore_resharded(self._engine, folder / TAG, before, now)

    def close(self) -> None:
        """Let go of the module and of DeepSpeed's hooks."""
        self._engine.destroy()
        self._hook.remove()


def _unusable(folder: Path, why: str) -> str:
    return (
        f"engine state in {folder} cannot be taken up: {why}. It must come from the same model, "
        "ZeRO stage and precision"
    )
