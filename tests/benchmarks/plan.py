"""The suite `plan`: what jobs/plan.py predicts beside what a real update comes to.

Parameters must be exact, operations within 2 %, memory within 10 %. Every stage of ZeRO, several
passes, a discriminator, an aligned teacher, checkpointed activations, and the flows of other
papers, all at the size of the digits. With a GPU in the machine everything is measured there.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.foundation.batch_cut import cut_batch
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.launch.plan.compute import computed
from system.launch.plan.compute import on_gpu
from system.launch.plan.forecast import checkpoint_bytes
from system.launch.plan.memory import Held
from system.launch.plan.memory import sizes
from system.launch.plan.shadow import shadow
from tests.benchmarks.parts.predicted import Measured
from tests.benchmarks.parts.predicted import measure
from tests.benchmarks.rows import Bound
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_most

CONFIGS = Path(__file__).parents[2] / "configs"
OPERATIONS, MEMORY = at_most(2), at_most(10)
EXACT = at_most(0)
TEACHER = "vit_tiny_patch16_224"
TEACHER_SHAPE = {"img_size": 8, "patch_size": 2, "embed_dim": 16, "depth": 2, "num_heads": 2}
ON_DIGITS = (
    "data.image_size=8", "data.image_channels=1", "data.classes=10", "data.crop=none",
    "data.flip=false", "data.workers=0", "cluster.workers=1", "run.global_batch=32",
)  # fmt: skip
SIMFLOW = ("simflow_digits.yaml", "run.global_batch=32", "cluster.workers=1")

# By name: a recipe, overlays and settings.
CASES: dict[str, tuple[str, ...]] = {
    "digits, ZeRO-2": SIMFLOW,
    "digits, ZeRO-1, two passes": (*SIMFLOW, "engine.zero_stage=1", "cluster.micro_batch=16"),
    "digits, ZeRO-2, two passes": (*SIMFLOW, "cluster.micro_batch=16"),
    "digits, ZeRO-3": (*SIMFLOW, "engine.zero_stage=3"),
    "digits, checkpointed": (*SIMFLOW, "flow.checkpoint_activations=true"),
    "digits, discriminator": (
        *SIMFLOW, "objective.adversarial.kind=patchgan", "objective.adversarial.layers=1",
        "objective.adversarial.width=8",
    ),
    "simflow_256, small": (
        "simflow_256.yaml", "small/joint.yaml", "objective.adversarial.layers=1", *ON_DIGITS,
    ),
    "starflow_256, small": (
        "starflow_256.yaml", "small/frozen_latents.yaml", *ON_DIGITS, "objective.route=joint",
        "autoencoder.weights=null",
    ),
    "tarflow_64, small": ("tarflow_64.yaml", "small/pixels.yaml", *ON_DIGITS),
    "tarflow_64_rrepa, small": (
        "tarflow_64_rrepa.yaml", "variants/rrepa.yaml", "small/pixels.yaml", *ON_DIGITS,
        "flow.patch=2", "objective.alignment.places=[[-1, 1]]",
        f"objective.alignment.teacher.model={TEACHER}", "objective.alignment.teacher.width=16",
        "objective.alignment.teacher.image_size=null",
        "objective.alignment.teacher.weights={folder}/teacher.safetensors",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Predicted:
    """The same figures from shapes alone."""

    parameters: int
    flops: float
    kept: float
    held: Held
    checkpoint: float
    stage: int


def rows(names: tuple[str, ...] = tuple(CASES)) -> Iterator[Row]:
    """The rows of every case, or of these."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        shards = f"{folder}/digits"
        pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
        _write_teacher(f"{folder}/teacher.safetensors")
        for name in names:
            recipe = recipe_of(name, folder)
            yield from compared(name, predict(recipe), measure(recipe, _world()))


def recipe_of(name: str, folder: str) -> Recipe:
    """The recipe of a case, its data and its teacher below `folder`."""
    first, *others = (each.format(folder=folder) for each in CASES[name])
    given = [str(CONFIGS / each) if each.endswith(".yaml") else each for each in others]
    own = [f"data.shards={folder}/digits", f"run.root={folder}/runs", "evaluation.kind=none"]
    return resolve(CONFIGS / first, [*given, *own, f"cluster.device={_world().device.type}"]).recipe


def predict(recipe: Recipe) -> Predicted:
    """What the plan says of an update."""
    made = shadow(recipe, "cuda" if _world().device.type == "cuda" else "cpu")
    images, passes = cut_batch(
        recipe.run.global_batch, recipe.cluster.workers, recipe.cluster.micro_batch
    )
    compute = computed(made)
    engines = [each for each in (made.engine, made.critic) if each is not None]
    return Predicted(
        parameters=sum(sizes(each.module).parameters for each in engines),
        flops=compute.flops * recipe.run.global_batch / recipe.cluster.workers,
        kept=compute.saved.highest(images)[0],
        held=on_gpu(made, compute, recipe.cluster.workers, images, passes),
        checkpoint=checkpoint_bytes(made),
        stage=recipe.engine.zero_stage,
    )


def compared(name: str, expected: Predicted, found: Measured) -> Iterator[Row]:
    """How far each prediction is from what was measured, in per cent, with its bound."""
    held = expected.held
    state = held.weights + held.masters + held.moments + held.averages + held.frozen
    if expected.stage != 2:  # gradients in float32 are there all the time, and stage 3's bucket
        state += held.masters + held.buckets
    pairs: dict[str, tuple[float, float, Bound]] = {
        "parameters": (expected.parameters, found.parameters, EXACT),
        "operations": (expected.flops, found.flops, OPERATIONS),
        "masters": (held.masters, found.masters, MEMORY),
        "moments": (held.moments, found.moments, MEMORY),
        "averages": (held.averages, found.averages, MEMORY),
        "weights": (held.weights, found.weights, MEMORY),
        "kept for the backward pass": (expected.kept, found.kept, MEMORY),
        "between updates": (state, found.state, MEMORY),
        "memory at most": (held.total, found.peak, MEMORY),
        "a checkpoint": (expected.checkpoint, found.checkpoint, MEMORY),
    }
    for what, (predicted, measured, bound) in pairs.items():
        off = 100 * abs(predicted - measured) / max(1.0, measured)
        yield Row(f"{name}: {what} {predicted:,.0f}, measured {measured:,.0f}", off, "% off", bound)


def _world() -> World:
    return World(device_name="cuda:0" if torch.cuda.is_available() else "cpu")


def _write_teacher(url: str) -> None:
    """A tiny vision model with random weights."""
    import timm

    from system.alignment.weights import write_weights

    shape: dict[str, Any] = TEACHER_SHAPE | {"in_chans": 1}
    model = timm.create_model(TEACHER, num_classes=0, **shape)
    metadata = {"model": TEACHER, "model_args": json.dumps(shape)}
    write_weights(url, model.state_dict(), metadata)
