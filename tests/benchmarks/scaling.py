"""The suite `scaling`: what the plan says of many GPUs, beside what can be counted without them.

What an update sends, in every stage: real engines of the digits on two workers over gloo, and
rank 0 of up to 4,096 on torch's fake process group, whose weights are small and whose limits
(buckets, gathered and reused numbers) are scaled down with them, so that every rule of stage 3 is
at work. What DeepSpeed's Python takes for an update as the workers grow. And the operations of the
published runs whose speed the plan goes by.

Two workers, five minutes of one core. Times are the process's own, so a busy machine does not show.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.settings.engine import Engine
from system.launch.plan.memory import narrow
from system.launch.plan.network.gathers import Limits
from system.launch.plan.network.messages import Message
from system.launch.plan.network.messages import messages
from system.launch.plan.network.messages import weights_of
from system.launch.plan.published import FLOW
from system.launch.plan.published import JOINT
from system.launch.plan.published import Published
from system.launch.plan.shadow import count
from system.launch.plan.shadow import shadow
from tests.benchmarks.child import in_child
from tests.benchmarks.parts.counted import Faked
from tests.benchmarks.parts.counted import Faking
from tests.benchmarks.parts.counted import Sent
from tests.benchmarks.parts.counted import Stack
from tests.benchmarks.parts.counted import as_options
from tests.benchmarks.parts.counted import count_recipes
from tests.benchmarks.parts.counted import fake
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_most
from tests.gloo import run_workers

CONFIGS = Path(__file__).parents[2] / "configs"
REAL_WORKERS = 2
MICRO = 1e6
VOLUME, OPERATIONS = at_most(2), at_most(2)
SMALL = Limits(bucket=600, ahead=300, live=1200, reuse=800, kept=20)
DIGITS = ("run.global_batch=32", f"cluster.workers={REAL_WORKERS}", "data.workers=0")
CRITIC = (
    "objective.adversarial.kind=patchgan", "objective.adversarial.layers=1",
    "objective.adversarial.width=8",
)  # fmt: skip
REAL: dict[str, tuple[str, ...]] = {
    "ZeRO-0": ("engine.zero_stage=0",),
    "ZeRO-1, two passes": ("engine.zero_stage=1", "cluster.micro_batch=8"),
    "ZeRO-2": ("engine.zero_stage=2",),
    "ZeRO-2, two passes": ("engine.zero_stage=2", "cluster.micro_batch=8"),
    "ZeRO-3, two passes": ("engine.zero_stage=3", "cluster.micro_batch=8"),
    "ZeRO-2, discriminator": (*CRITIC, "engine.zero_stage=2"),
    "ZeRO-1, float32": ("engine.zero_stage=1", "engine.precision=fp32"),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    real: tuple[str, ...] = tuple(REAL)
    worlds: tuple[int, ...] = (8, 64, 512, 4096)
    stages: tuple[int, ...] = (1, 2, 3)
    passes: int = 1
    rounds: int = 3
    published: tuple[Published, ...] = (JOINT, FLOW)


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows."""
    yield from _faked(scale)
    if scale.real:
        yield from _real(scale.real)
    for each in scale.published:
        yield _operations(each)


def _real(names: tuple[str, ...]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        shards = f"{folder}/digits"
        pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
        recipes = [_recipe(REAL[name], folder) for name in names]
        found = run_workers(count_recipes, REAL_WORKERS, Path(folder), recipes)[0]
        for name, recipe, sent in zip(names, recipes, found, strict=True):
            yield from compared(f"{REAL_WORKERS} real workers, {name}", _expected(recipe), sent)


def _recipe(settings: Iterable[str], folder: str) -> Recipe:
    own = [f"data.shards={folder}/digits", f"run.root={folder}/runs", "evaluation.kind=none"]
    given = [*DIGITS, "cluster.device=cpu", *own, *settings]
    return resolve(CONFIGS / "simflow_digits.yaml", given).recipe


def _expected(recipe: Recipe) -> list[Message]:
    made = shadow(recipe, "cpu")
    share = recipe.run.global_batch // REAL_WORKERS
    passes = share // (recipe.cluster.micro_batch or share)
    engines = [each for each in (made.engine, made.critic) if each is not None]
    return [
        message
        for engine in engines
        for message in messages(
            weights_of(engine.module),
            recipe.engine.zero_stage,
            narrow(recipe),
            REAL_WORKERS,
            passes,
        )
    ]


def compared(name: str, expected: Iterable[Message], sent: Sent) -> Iterator[Row]:
    """Bytes of every kind of collective, predicted and counted."""
    size: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for each in expected:
        size[each.kind] += each.size
        calls[each.kind] += 1
    for kind in sorted(size | sent.size):
        predicted, counted = size[kind], sent.size[kind]
        told = f"{predicted:,} B in {calls[kind]}, counted {counted:,} in {sent.calls[kind]}"
        off = 100 * abs(predicted - counted) / max(1, counted)
        yield Row(f"{name}: {kind} {told}", off, "% off", VOLUME)


def _faked(scale: Scale) -> Iterator[Row]:
    asked = [
        Faking(
            workers, Engine(zero_stage=stage), passes=scale.passes, rounds=scale.rounds,
            limits=_options(stage),
        )
        for stage in scale.stages
        for workers in scale.worlds
    ]  # fmt: skip
    found: list[Faked] = in_child(fake, asked, cores=1)
    weights = weights_of(Stack(asked[0].depth, asked[0].width))
    taken: dict[tuple[int, int], float] = {}
    pieces: dict[tuple[int, int], int] = {}
    for each, result in zip(asked, found, strict=True):
        stage, workers = each.settings.zero_stage, each.workers
        expected = messages(weights, stage, 2, workers, each.passes, limits=SMALL)
        yield from compared(f"{workers:,} workers, ZeRO-{stage}", expected, result.sent)
        taken[stage, workers] = result.update_s
        pieces[stage, workers] = sum(message.pieces(workers) for message in expected)
        yield Row(
            f"{workers:,} workers, ZeRO-{stage}: Python of an update of {len(weights)} weights",
            1e3 * result.update_s, "ms",
        )  # fmt: skip
    least, most = min(scale.worlds), max(scale.worlds)
    for stage in scale.stages:
        grown = taken[stage, most] - taken[stage, least]
        yield Row(
            f"ZeRO-{stage}: Python of an update, for each further worker",
            MICRO * grown / (most - least), "us",
        )  # fmt: skip
    if 3 in scale.stages:
        grown = taken[3, most] - taken[3, least]
        yield Row(
            "ZeRO-3: Python for one worker's piece of one weight",
            MICRO * grown / (pieces[3, most] - pieces[3, least]), "us",
        )  # fmt: skip


def _options(stage: int) -> dict[str, int]:
    options = as_options(SMALL)
    return options if stage == 3 else {"reduce_bucket_size": options["reduce_bucket_size"]}


def _operations(run: Published) -> Row:
    """What the plan has of a published run beside a count of its shape."""
    needed = ["run.root=runs", "data.shards=shards", *run.settings]
    recipe = resolve(CONFIGS / run.recipe, needed).recipe
    made = shadow(recipe, "cuda")
    parameters = sum(each.numel() for each in made.engine.module.flow.parameters())  # type: ignore[union-attr]
    found = count(made, 2).flops / 2
    told = f"{run.name}, {parameters / 1e6:,.0f}M in the flow, {run.mfu:.1%} of the peak"
    off = 100 * abs(run.image_flops - found) / found
    return Row(
        f"{told}: {run.image_flops:.3g} operations, counted {found:.3g}", off, "% off", OPERATIONS
    )
