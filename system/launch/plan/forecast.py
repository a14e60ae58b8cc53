"""A recipe's plan: what it computes, holds, writes, reads and costs, before anything starts."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_pipeline.shards.manifest import read_manifest
from system.foundation.batch_cut import cut_batch
from system.foundation.batch_cut import world_sizes
from system.foundation.errors import TrainingSystemError
from system.foundation.recipe import Recipe
from system.launch.plan.hardware import Gpu
from system.launch.plan.memory import Course
from system.launch.plan.memory import Held
from system.launch.plan.memory import Sizes
from system.launch.plan.memory import course
from system.launch.plan.memory import has_masters
from system.launch.plan.memory import held
from system.launch.plan.memory import narrow
from system.launch.plan.memory import sizes
from system.launch.plan.operations import Kind
from system.launch.plan.request import Planning
from system.launch.plan.shadow import Shadow
from system.launch.plan.shadow import count
from system.launch.plan.shadow import shadow

STAGES = (1, 2, 3)
HOUR_S = 3600.0
IMAGENET_IMAGE_BYTES = 110_000.0  # 141 GB of 1,281,167 training images, as they are distributed
# Measured on ledgers of the digits: a report and what is consumed up to it; any other event.
REPORT_BYTES, EVENT_BYTES = 900, 250


@dataclass(frozen=True, slots=True)
class Compute:
    """A recipe's passes, counted for one image."""

    parameters: dict[str, int]
    forward_flops: dict[str, float]
    backward_flops: float
    kept: Course  # with flow.checkpoint_activations off
    checkpointed: Course  # and on, or in the blocks that the recipe names
    saved: Course  # of these, what is there when the joint model has gone forward

    @property
    def flops(self) -> float:
        """Of one image through everything, forward and backward."""
        return sum(self.forward_flops.values()) + self.backward_flops


@dataclass(frozen=True, slots=True)
class Row:
    """A recipe on so many GPUs of a kind."""

    gpu: str
    count: int
    problem: str  # empty where it works
    micro_batch: int
    largest: int  # images of a pass that would fit
    memory_bytes: float
    images_per_s: float
    seconds: float
    gpu_hours: float
    cost: float | None
    read_bytes_per_s: float


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
    rows = tuple(
        row(made, compute, planning, gpu, each, stored.image) for gpu in gpus for each in counts
    )
    return Plan(
        run=recipe.run.name,
        total_images=recipe.run.total_images,
        updates=math.ceil(recipe.run.total_images / recipe.run.global_batch),
        workers=workers,
        micro_batch=micro_batch,
        passes=passes,
        compute=compute,
        memory=memories(made, compute, workers, micro_batch, passes),
        storage=stored,
        rows=rows,
        warnings=tuple(warnings(recipe, planning, gpus, rows)),
    )


def computed(made: Shadow) -> Compute:
    """Count passes of one and of two images, with activations kept and checkpointed."""
    other = shadow(_the_other_way(made.recipe), made.kind)
    one, counted = count(made, 1), count(made, 2)
    courses = [course(one, counted), course(count(other, 1), count(other, 2))]
    saved = (2 * one.kept_bytes - counted.kept_bytes, counted.kept_bytes - one.kept_bytes, 0)
    if made.recipe.flow.checkpoint_activations:
        courses.reverse()
    model: Any = made.engine.module
    parts = {
        "encoder": model.autoencoder.encoder,
        "decoder": model.autoencoder.decoder,
        "flow": model.flow,
        "heads": model.heads,
    }
    others = {name: network for name, network in made.networks.items() if name != "model"}
    return Compute(
        parameters={
            name: sizes(part).parameters
            for name, part in (parts | others).items()
            if part is not None
        },
        forward_flops={name: flops / 2 for name, flops in counted.forward_flops.items()},
        backward_flops=counted.backward_flops / 2,
        kept=courses[0],
        checkpointed=courses[1],
        saved=Course((saved,)),
    )


def memories(
    made: Shadow, compute: Compute, workers: int, images: int, passes: int
) -> dict[str, Held]:
    """One GPU in every stage, activations kept and checkpointed."""
    courses = {"": compute.kept, " checkpointed": compute.checkpointed}
    return {
        f"{stage}{name}": held(made, stage, workers, passes, (taken, images))
        for name, taken in courses.items()
        for stage in STAGES
    }


def row(
    made: Shadow, compute: Compute, planning: Planning, gpu: Gpu, gpus: int, image_bytes: float
) -> Row:
    """The recipe on so many GPUs of a kind, in passes as large as the recipe lets and as fit."""
    recipe, batch = made.recipe, made.recipe.run.global_batch
    rate = planning.images_per_gpu_s or planning.mfu * gpu.peak(recipe) / compute.flops
    room = planning.usable_memory * gpu.memory_bytes
    largest = largest_pass(made, compute, gpus, room)
    problem, micro, passes = "", 0, 1
    if batch % gpus:
        near = sorted(world_sizes(batch, 1, batch), key=lambda size: (abs(size - gpus), size))[:3]
        problem = f"{batch} images do not divide; {', '.join(map(str, sorted(near)))} GPUs do"
    elif not largest:
        needed = on_gpu(made, compute, gpus, 1).total
        problem = f"does not fit: a pass of one image needs {needed / 2**30:.1f} GiB"
    else:
        micro, passes = cut_batch(batch, gpus, min(largest, recipe.cluster.micro_batch or largest))
    images_per_s = 0.0 if problem else rate * gpus
    seconds = recipe.run.total_images / images_per_s if images_per_s else math.inf
    hours = gpus * seconds / HOUR_S
    return Row(
        gpu=gpu.name,
        count=gpus,
        problem=problem,
        micro_batch=micro,
        largest=largest,
        memory_bytes=on_gpu(made, compute, gpus, micro, passes).total,
        images_per_s=images_per_s,
        seconds=seconds,
        gpu_hours=hours,
        cost=None if gpu.price is None or problem else hours * gpu.price,
        read_bytes_per_s=images_per_s * image_bytes,
    )


def on_gpu(made: Shadow, compute: Compute, gpus: int, images: int, passes: int = 2) -> Held:
    """One of so many GPUs, with the recipe's own stage and checkpointing."""
    recipe = made.recipe
    is_checkpointed = recipe.flow.checkpoint_activations
    taken = compute.checkpointed if is_checkpointed else compute.kept
    return held(made, recipe.engine.zero_stage, gpus, passes, (taken, images))


def largest_pass(made: Shadow, compute: Compute, gpus: int, room: float) -> int:
    """Images of the largest pass that fits into so many bytes, for any number of passes; 0: none
    does, and no more than a GPU's share of the batch."""
    most = max(1, made.recipe.run.global_batch // gpus)
    sized = range(1, most + 1)
    return bisect_right(sized, room, key=lambda n: on_gpu(made, compute, gpus, n).total)


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
    if planning.images_per_gpu_s is None:
        told.append(
            f"images/s are those of {planning.mfu:.0%} of the peak, which is assumed: measure a "
            "short run and give plan.images_per_gpu_s"
        )
    if unpriced := [each.name for each in gpus if each.price is None]:
        told.append(f"no price of {', '.join(unpriced)} in {planning.prices}")
    return told


def _state_bytes(recipe: Recipe, module: Sizes, averages: int) -> int:
    wide = has_masters(recipe, recipe.engine.zero_stage) + 2 + averages
    return narrow(recipe) * module.parameters + 4 * wide * module.trained


def _the_other_way(recipe: Recipe) -> Recipe:
    """Activations kept where the recipe recomputes any, recomputed in every block where it keeps
    all: so that what is checkpointed is the recipe's own choice of blocks, if it has one."""
    turned = not recipe.flow.checkpoint_activations
    flow = recipe.flow.model_copy(update={"checkpoint_activations": turned})
    return recipe.model_copy(update={"flow": flow})
