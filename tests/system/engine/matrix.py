"""What a small module does under the engine, for every ZeRO stage and precision, on two workers."""

import shutil
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import torch
from torch import Tensor
from torch import nn

from system.engine.deepspeed_engine import Engine
from system.engine.deepspeed_engine import StepOutcome
from system.engine.freeze import frozen
from system.engine.gather import _gather
from system.foundation.errors import CheckpointError
from system.foundation.settings import engine as engine_settings
from system.foundation.settings.engine import Adamw
from system.foundation.world import World

STAGES = (0, 1, 2, 3)
PRECISIONS = ("fp32", "bf16")
RATE, DECAYS, ACCUMULATION = 1e-2, (0.5, 0.9), 2
POISONED = 3  # the update whose loss is not a number on the last worker


@dataclass
class Pair:
    """A module's output as our modules give it: a record, not a tuple."""

    value: Tensor
    watched: dict[str, Tensor]


# Of the running buffer: neither it nor what it becomes is a number of bf16.
RUNNING, RUNNING_FACTOR = 1.2345678, 1.0009765625


class Net(nn.Module):
    """Matrices, norms and biases; one layer frozen; buffers kept, running, and not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
        self.still = nn.Linear(3, 3).requires_grad_(False)
        self.register_buffer("kept", torch.arange(3.0))
        self.register_buffer("running", torch.tensor(RUNNING))
        self.register_buffer("dropped", torch.ones(1), persistent=False)

    def forward(self, given: Tensor) -> Pair:
        self.running.mul_(RUNNING_FACTOR)
        value = self.still(self.layers(given.to(self.still.weight.dtype)))
        return Pair(value.float(), {"mean": value.detach().mean()})


@dataclass
class Snapshot:
    """Everything that a state is, whatever number of workers holds it (on rank 0)."""

    tensors: dict[str, dict[str, Tensor]]  # weights, averages and moments, by name
    counts: dict[str, float]

    def differences(self, other: "Snapshot") -> list[str]:
        """What is not the same in both, to the bit."""
        assert self.tensors.keys() == other.tensors.keys()
        return [
            f"{part} of {name}"
            for part, tensors in self.tensors.items()
            for name in tensors.keys() | other.tensors[part].keys()
            if not torch.equal(tensors[name], other.tensors[part][name])
        ] + [key for key, count in self.counts.items() if other.counts[key] != count]


@dataclass
class Findings:
    """What happened for one stage and precision."""

    start: dict[str, Tensor]
    start_averages: dict[str, Tensor]
    history: list[dict[str, Tensor]]  # master weights after each of the first updates
    averages: list[dict[str, Tensor]]  # of each decay, after those updates
    saved: Snapshot  # what was saved then
    folder: Path
    losses: list[float]
    steps: list[StepOutcome]
    after: dict[str, Tensor]  # weights after the poisoned update and one more
    resumed_losses: list[float]
    resumed_weights: dict[str, Tensor]
    resumed_averages: dict[str, Tensor]
    averages_on_restore: list[dict[str, Tensor]]
    complaint: str  # about the state of another stage
    leaks: dict[bool, float | str] = field(default_factory=dict)


def settings(stage: int, precision: str) -> engine_settings.Engine:
    """Engine settings of a test."""
    return engine_settings.Engine(
        zero_stage=stage, precision=precision, optimiser=Adamw(beta2=0.99)
    )


def explore(world: World, folder: Path) -> dict[tuple[int, str], Findings]:
    """Every stage and precision in turn."""
    return {
        (stage, precision): _explore(world, stage, precision, folder / f"{stage}-{precision}")
        for precision in PRECISIONS
        for stage in STAGES
    }


def _explore(world: World, stage: int, precision: str, folder: Path) -> Findings:
    engine, start = make_engine(world, stage, precision)
    start_averages = engine.averaged()
    losses, steps, history = [], [], []
    for update in range(2):
        _train(engine, world, update, losses, steps)
        history.append(engine.weights())
    averages = [engine.averaged(which) for which in range(len(DECAYS))]
    saved = snapshot(engine)
    shared = save_together(engine, world, folder)
    for update in range(2, 5):
        _train(engine, world, update, losses, steps)
    after = engine.weights()
    engine.close()

    resumed, _ = make_engine(world, stage, precision)
    resumed.restore(shared)
    averages_on_restore = [resumed.averaged(which) for which in range(len(DECAYS))]
    resumed_losses: list[float] = []
    for update in range(2, 5):
        _train(resumed, world, update, resumed_losses, [])
    found = Findings(
        start,
        start_averages,
        history,
        averages,
        saved,
        shared,
        losses,
        steps,
        after,
        resumed_losses,
        resumed.weights(),
        resumed.averaged(),
        averages_on_restore,
        _complaint(world, stage, precision, shared),
    )
    resumed.close()
    if precision == "fp32" and stage > 0:
        found.leaks = {
            is_frozen: _leak(world, stage, freeze=is_frozen) for is_frozen in (True, False)
        }
    return found


def snapshot(engine: Engine) -> Snapshot:
    """The state as it is now. All workers must take part."""
    inner = engine._engine
    moments = {
        key: engine._collect(_gather(inner, engine.module, key))
        for key in ("exp_avg", "exp_avg_sq")
    }
    steps = {state["step"].item() for state in inner.basic_optimizer.state.values()}
    assert len(steps) == 1
    return Snapshot(
        {
            "weights": engine.weights(),
            **{f"average {which}": engine.averaged(which) for which in range(len(DECAYS))},
            **moments,
        },
        {
            "updates": steps.pop(),
            "steps": inner.global_steps,
            "samples": inner.global_samples,
            "skipped": inner.skipped_steps,
        },
    )


def make_engine(world: World, stage: int, precision: str) -> tuple[Engine, dict[str, Tensor]]:
    """An engine with its first weights, and those."""
    torch.manual_seed(0)
    module = Net()
    start = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    engine = Engine(
        module, settings(stage, precision), world=world, micro_batch=4, accumulation=ACCUMULATION
    )
    return engine, start


def _train(
    engine: Engine, world: World, update: int, losses: list[float], steps: list[StepOutcome]
) -> None:
    total = 0.0
    for micro in range(ACCUMULATION):
        generator = torch.Generator().manual_seed(100 * update + 10 * micro + world.rank)
        loss = engine.forward(torch.randn(4, 4, generator=generator)).value.square().mean()
        if update == POISONED and world.rank == world.size - 1:
            loss = loss * float("nan")
        engine.backward(loss)
        total += loss.item() / ACCUMULATION
    steps.append(engine.step(RATE, DECAYS))
    losses.append(total)


def save_together(engine: Engine, world: World, folder: Path) -> Path:
    """Each worker saves into a folder of its own; then all files lie together."""
    own, shared = folder / f"worker-{world.rank}", folder / "all"
    engine.save(own)
    shutil.copytree(own, shared, dirs_exist_ok=True)
    world.barrier()
    return shared


def _complaint(world: World, stage: int, precision: str, saved: Path) -> str:
    engine, _ = make_engine(world, stage=(stage + 1) % 4, precision=precision)
    try:
        engine.restore(saved)
    except CheckpointError as error:
        return str(error)
    finally:
        engine.close()
    return ""


def _leak(world: World, stage: int, *, freeze: bool) -> float | str:
    """The loss of the critic's own pass after updates in which another module's loss crossed it."""
    torch.manual_seed(0)
    one, other = nn.Linear(4, 4), nn.Linear(4, 1)
    pair = [
        Engine(module, settings(stage, "fp32"), world=world, micro_batch=4, accumulation=1)
        for module in (one, other)
    ]
    generator, critic = pair
    given = torch.randn(4, 4, generator=torch.Generator().manual_seed(world.rank))
    loss = torch.zeros(())
    try:
        for _ in range(3):
            made = generator.forward(given)
            if freeze:
                with frozen(critic.module):
                    generator.backward(critic.module(made).mean())
            else:
                generator.backward(critic.module(made).mean())
            generator.step(RATE, DECAYS)
            loss = critic.forward(made.detach()).square().mean()
            critic.backward(loss)
            critic.step(RATE, DECAYS)
    except AssertionError as error:
        return f"AssertionError: {error}"
    return loss.item()
