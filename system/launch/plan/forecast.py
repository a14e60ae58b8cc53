"""A recipe's plan: what it computes, holds, writes, reads and costs, before anything starts."""

import math
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

from data_pipeline.shards.manifest import read_manifest
from system.foundation.batch_cut import cut_batch
from system.foundation.errors import TrainingSystemError
from system.foundation.recipe import Recipe
from system.launch.plan.compute import Compute
from system.launch.plan.compute import computed
from system.launch.plan.hardware import Gpu
from system.launch.plan.memory import Held
from system.launch.plan.memory import Sizes
from system.launch.plan.memory import has_masters
from system.launch.plan.memory import held
from system.launch.plan.memory import narrow
from system.launch.plan.memory import sizes
from system.launch.plan.operations import Kind
from system.launch.plan.published import published
from system.launch.plan.request import Planning
from system.launch.plan.rows import STAGES
from system.launch.plan.rows import Row
from system.launch.plan.rows import Rows
from system.launch.plan.shadow import Shadow
from system.launch.plan.shadow import shadow

IMAGENET_IMAGE_BYTES = 110_000.0  # 141 GB of 1,281,167 training images, as they are distributed
# Measured on ledgers of the digits: a report and what is consumed up to it; any other event.
REPORT_BYTES, EVENT_BYTES = 900, 250
CHECKPOINTED = " checkpointed"
BINDING = 0.8  # the share of the time below which it is worth a word that GPUs wait
BETTER = 1.02  # how much faster another stage must be for one
REACHABLE = 0.4  # share of the peak that transformers of billions of weights are trained at


@dataclass(frozen=True, slots=True)
class Storage:
    """What a run writes and reads, in bytes."""

    checkpoint: float
    checkpoints_made: int
    kept: float  # all that are there at once
    logs: float
    dataset: float | None
    image: float
    read: float  # over the whole run
    image_is_known: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it."""

    run: str
    total_images: int
    updates: int
    workers: int
    micro_batch: int
    passes: int
    compute: Compute
    memory: dict[str, Held]  # by stage, and with checkpointed activations or without
    own: str  # the recipe's of these
    storage: Storage
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]


def plan(recipe: Recipe, planning: Planning, gpus: Sequence[Gpu], kind: Kind = "cuda") -> Plan:
    """Plan a recipe on these kinds of GPUs."""
    made = shadow(recipe, kind)
    compute = computed(made)
    workers = recipe.cluster.workers
    micro_batch, passes = cut_batch(recipe.run.global_batch, workers, recipe.cluster.micro_batch)
    counts = planning.counts or tuple(sorted({max(1, workers // 2), workers, 2 * workers}))
    stored = storage(recipe, made, planning)
    made_of = Rows.of(made, compute, planning, stored.image)
    rows = tuple(made_of.row(gpu, each) for gpu in gpus for each in counts)
    return Plan(
        run=recipe.run.name,
        total_images=recipe.run.total_images,
        updates=math.ceil(recipe.run.total_images / recipe.run.global_batch),
        workers=workers,
        micro_batch=micro_batch,
        passes=passes,
        compute=compute,
        memory=memories(made, compute, workers, micro_batch, passes),
        own=str(recipe.engine.zero_stage) + CHECKPOINTED * bool(recipe.flow.checkpoint_activations),
        storage=stored,
        rows=rows,
        warnings=tuple(warnings(recipe, planning, gpus, rows)),
    )


def memories(
    made: Shadow, compute: Compute, workers: int, images: int, passes: int
) -> dict[str, Held]:
    """One GPU in the recipe's stage and others, activations kept and checkpointed."""
    stages = sorted({made.recipe.engine.zero_stage, *STAGES})[: len(STAGES)]
    courses = {"": compute.kept, CHECKPOINTED: compute.checkpointed}
    return {
        f"{stage}{name}": held(made, stage, workers, passes, (taken, images))
        for name, taken in courses.items()
        for stage in stages
    }


def storage(recipe: Recipe, made: Shadow, planning: Planning) -> Storage:
    """Checkpoints, logs, and the images that are read."""
    run = recipe.run
    checkpoint = checkpoint_bytes(made)
    times = math.ceil(run.total_images / run.checkpoint_every_images)
    reports = run.total_images / run.report_every_images
    dataset, image = None, planning.image_bytes
    try:
        manifest = read_manifest(recipe.data.shards).split("train")
        dataset = float(manifest.bytes)
        image = image or dataset / manifest.samples
    except (TrainingSystemError, OSError):
        pass
    return Storage(
        checkpoint=checkpoint,
        checkpoints_made=times,
        kept=checkpoint * (run.keep_checkpoints + 1),
        logs=REPORT_BYTES * reports + 2 * EVENT_BYTES * times,
        dataset=dataset,
        image=image or IMAGENET_IMAGE_BYTES,
        read=(image or IMAGENET_IMAGE_BYTES) * run.total_images,
        image_is_known=image is not None,
    )


def checkpoint_bytes(made: Shadow) -> float:
    """A checkpoint: weights as passes have them, masters, moments and averages of every engine,
    and the averages of the model once more as files of their own."""
    averages = len(made.recipe.engine.decays)
    model = sizes(made.engine.module)
    total = _state_bytes(made.recipe, model, averages) + 4 * averages * model.parameters
    if made.critic is not None:
        total += _state_bytes(made.recipe, sizes(made.critic.module), 1)
    return float(total)


def warnings(
    recipe: Recipe, planning: Planning, gpus: Sequence[Gpu], rows: Sequence[Row]
) -> list[str]:
    """What cannot work, or is only assumed."""
    workers, wanted = recipe.cluster.workers, recipe.cluster.micro_batch
    own = [each for each in rows if each.count == workers]
    told = [
        f"cluster.micro_batch={wanted} does not fit on {each.gpu}: take {each.micro_batch}, "
        "flow.checkpoint_activations=true, or more workers"
        for each in own
        if wanted is not None and not each.problem and each.micro_batch < wanted
    ]
    if own and all(each.problem for each in own):
        told.append(f"cluster.workers={workers} works on none of these GPUs: {own[0].problem}")
    told += _assumed(recipe, planning)
    if planning.images_per_gpu is not None:
        told.append(
            f"{planning.images_per_gpu} images an update on each GPU is another batch on each "
            "number of them, so another run than the recipe's"
        )
    for gpu in gpus:
        told += _bound([each for each in rows if each.gpu == gpu.name])
    if unpriced := [each.name for each in gpus if each.price is None]:
        told.append(f"no price of {', '.join(unpriced)} in {planning.prices}")
    return told


def _assumed(recipe: Recipe, planning: Planning) -> Iterator[str]:
    """Where images/s come from, unless they were measured."""
    like = published(recipe)
    if planning.images_per_gpu_s is not None:
        return
    if planning.mfu is None:
        yield (
            f"images/s are those of {like.mfu:.1%} of the peak, which {like.name} reached: "
            f"{like.source}. At the {REACHABLE:.0%} of a good transformer they would be "
            f"{REACHABLE / like.mfu:.0f} times as many, if the network let them"
        )
    else:
        yield (
            f"images/s are those of {planning.mfu:.0%} of the peak, which is assumed; {like.name} "
            f"reached {like.mfu:.1%}: {like.source}"
        )
    yield "measure a short run and give plan.images_per_gpu_s with plan.measured_gpus"


def _bound(rows: Sequence[Row]) -> Iterator[str]:
    """From how many GPUs of a kind on they are kept waiting, and what would be better."""
    for row in sorted(rows, key=lambda each: each.count):
        own, best = row.own, row.best
        if row.problem or own is None or best is None or own.efficiency >= BINDING:
            continue
        told = (
            f"{row.count} x {row.gpu} compute {own.efficiency:.0%} of the time in "
            f"ZeRO-{own.stage}, the rest goes to {own.binds}"
        )
        if best.images_per_s > BETTER * own.images_per_s:
            told += f"; engine.zero_stage={best.stage} would make {best.images_per_s:,.0f} images/s"
        yield told
        return


def _state_bytes(recipe: Recipe, module: Sizes, averages: int) -> int:
    wide = has_masters(recipe, recipe.engine.zero_stage) + 2 + averages
    return narrow(recipe) * module.parameters + 4 * wide * module.trained
