"""What a run may not change between its lives, or not unless it is told to."""

import fnmatch
from collections.abc import Mapping
from typing import Any

from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import difference
from system.foundation.config import flatten
from system.foundation.recipe import Recipe

# What must be as it was for a saved state to fit, and for the run to stay one run.
FROZEN_KEYS = (
    "run.seed",
    "run.global_batch",
    "data.image_size",
    "data.image_channels",
    "data.classes",
    "data.crop",
    "data.flip",
    "data.selection.*",
    "data.window_shards",  # another window is another order, in the midst of an epoch
    "autoencoder.*",
    "flow.width",
    "flow.depths",
    "flow.head_width",
    "flow.patch",
    "flow.condition.*",
    "flow.positions",
    "flow.rope_base",
    "flow.first",
    "flow.raster",
    "flow.affine",
    "flow.scale",
    "flow.soft_clip",
    "flow.norm_out",
    "flow.perceptron*",
    "objective.route",
    "objective.alignment.kind",
    "objective.alignment.teacher.model",
    "objective.alignment.teacher.width",
    "objective.alignment.teacher.image_size",
    "objective.alignment.places",
    "objective.alignment.head_width",
    "objective.alignment.head_layers",
    "objective.alignment.heads",
    "objective.adversarial.kind",
    "objective.adversarial.width",
    "objective.adversarial.layers",
    "engine.precision",
    "engine.zero_stage",
    "engine.optimiser.kind",
)

# Those of them that a run may change all the same, when it is told so.
ALLOWABLE = ("run.seed", "data.crop", "data.flip", "data.selection", "data.window_shards")


def changed_data(saved: Mapping[str, Any], manifest: Manifest) -> list[str]:
    """One line for each way in which a checkpoint's shards differ from a training split's."""
    if saved["manifest_digest"] == manifest.digest:
        return []
    changes = difference(saved["manifest"], manifest) or ["another digest"]
    return [
        f"data.shards: {manifest.url} is not what it was: {change}; "
        "data.on_changed_manifest=continue goes on with it"
        for change in changes
    ]


def frozen_changes(before: Recipe, now: Recipe) -> list[str]:
    """One line for each key that differs although a run may not change it, or not unless told."""
    old, new = flatten(before), flatten(now)
    return [
        f"{key}: {old.get(key)} before, {new.get(key)} now{_allowing(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
        and any(fnmatch.fnmatchcase(key, pattern) for pattern in FROZEN_KEYS)
        and _allowable(key) not in now.run.allow_changes
    ]


def _allowable(key: str) -> str | None:
    """What run.allow_changes calls a key that does not concern the weights."""
    return next((each for each in ALLOWABLE if key == each or key.startswith(f"{each}.")), None)


def _allowing(key: str) -> str:
    allowable = _allowable(key)
    return "" if allowable is None else f"; 'run.allow_changes=[{allowable}]' goes on with it"
