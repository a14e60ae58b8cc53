"""What is checked before anything starts: each check is quick, harms nothing, and says one thing.

All raise an error of the BadInput family, which ends a program with exit code 2.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from data_pipeline.manifest import Manifest
from data_pipeline.manifest import check_manifest
from data_pipeline.manifest import read_manifest
from system.engine.checkpoints import Checkpoint
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import read_state
from system.foundation import storage
from system.foundation.config import recipe_from_mapping
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import ClusterError
from system.foundation.errors import DataError
from system.foundation.errors import StorageError
from system.foundation.recipe import Recipe
from system.objectives.joint import JointModel
from system.train.state import frozen_changes

# Bytes per parameter in a checkpoint: master weights, two moments and the average in float32, the
# averaged weights once more as a file of their own, and the weights of a pass.
CHECKPOINT_BYTES_PER_PARAMETER = 4 * 5 + 2
SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Resources:
    """What a cluster has, all nodes together."""

    cpus: float
    gpus: float


def run_url(recipe: Recipe) -> str:
    """The folder of a run, absolute where it is local: workers have another working directory."""
    return absolute(storage.join(recipe.run.root, recipe.run.name))


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe, and nothing that a program added to it, with every local path absolute."""
    values = recipe.model_dump(mode="json", include=set(Recipe.model_fields))
    for section, key in (
        (values["run"], "root"),
        (values["data"], "shards"),
        (values["autoencoder"], "weights"),
        (values["objective"]["perceptual"], "trunk"),
    ):
        if section.get(key) is not None:
            section[key] = absolute(section[key])
    return recipe_from_mapping(values)


def absolute(url: str) -> str:
    """A url that means the same in every process of this machine."""
    if not storage.is_local(url):
        return url
    return os.path.abspath(os.path.expanduser(storage.local_path(url)))


def check_places(recipe: Recipe, folder: Path) -> None:
    """Raise BadInput where a relative path would end inside Ray's temporary copy of the tree.

    `folder` is the working directory. A submitted job runs in a copy that is deleted with it.
    """
    if "working_dir_files" not in folder.parts:
        return
    for key, value in (("run.root", recipe.run.root), ("data.shards", recipe.data.shards)):
        if storage.is_local(value) and not storage.local_path(value).is_absolute():
            raise BadInput(
                f"{key} is {value!r}, a relative path, but this job runs in Ray's temporary copy "
                f"of the tree ({folder}), where shards are absent and results would be lost. Give "
                f"an absolute path or a url: {key}=/some/shared/folder."
            )


def check_data(recipe: Recipe) -> Manifest:
    """The manifest of the recipe's shards. Raises DataError: absent, damaged, or other data."""
    try:
        manifest = read_manifest(absolute(recipe.data.shards))
    except StorageError as error:
        raise DataError(f"data.shards {recipe.data.shards}: {error}") from error
    check_manifest(manifest, recipe.data)
    manifest.split("train")
    return manifest


def check_cluster(recipe: Recipe, resources: Resources, *, uses_gpus: bool) -> None:
    """Raise ClusterError where training and evaluation together need more than there is."""
    cluster = recipe.cluster
    evaluates = recipe.evaluation.kind != "none"
    wanted = {
        "CPUs": (
            cluster.workers * cluster.cpus_per_worker,
            evaluates * cluster.evaluation_cpus,
            resources.cpus,
        ),
        "GPUs": (
            float(cluster.workers * uses_gpus),
            evaluates * cluster.evaluation_gpus,
            resources.gpus,
        ),
    }
    for name, (training, evaluation, there) in wanted.items():
        if training + evaluation > there:
            raise ClusterError(
                f"the cluster has {there:g} {name}; {cluster.workers} workers need {training:g} "
                f"and the evaluation {evaluation:g}. Set cluster.workers, cluster.cpus_per_worker, "
                "cluster.evaluation_cpus or cluster.evaluation_gpus lower, or add nodes."
            )


def check_device(recipe: Recipe, resources: Resources) -> str:
    """The kind of device the workers compute on. Raises ClusterError for absent GPUs."""
    device = recipe.cluster.device
    if device == "auto":
        return "cuda" if resources.gpus >= recipe.cluster.workers else "cpu"
    if device == "cuda" and resources.gpus == 0:
        raise ClusterError(
            "cluster.device is cuda, but the cluster has no GPU. Use cluster.device=cpu or auto."
        )
    return device


def checkpoint_bytes(recipe: Recipe) -> int:
    """About the size of one checkpoint."""
    with torch.device("meta"):
        model = JointModel(recipe)
    return CHECKPOINT_BYTES_PER_PARAMETER * sum(p.numel() for p in model.parameters())


def check_space(url: str, checkpoint: int, kept: int) -> None:
    """Raise BadInput where the checkpoints of a run do not fit, at the run or in local staging.

    One checkpoint more than is kept exists while the oldest goes, one while it waits for upload.
    """
    for place, copies in ((url, kept + 2), (tempfile.gettempdir(), 2)):
        free, needed = storage.free_bytes(place), copies * checkpoint + SPARE_BYTES
        if free is not None and free < needed:
            raise BadInput(
                f"{place} has {free / 2**20:,.0f} MiB free; {copies} checkpoints of "
                f"{checkpoint / 2**20:,.0f} MiB need {needed / 2**20:,.0f} MiB. Free some space, "
                "choose another run.root (or TMPDIR), or keep fewer with run.keep_checkpoints."
            )


def check_writable(url: str) -> None:
    """Raise BadInput where the run's folder cannot be written."""
    probe = storage.join(url, "logs", f"write-probe-{os.getpid()}")
    try:
        storage.write_bytes(probe, b"")
        storage.remove(probe)
    except (OSError, StorageError) as error:
        raise BadInput(
            f"the run's folder {url} cannot be written ({error}). Choose another run.root."
        ) from error


def check_checkpoint(recipe: Recipe, manifest: Manifest, url: str) -> Checkpoint | None:
    """The checkpoint that the run goes on from, if it has one.

    Raises CheckpointError where that is of another shape, other data, or another way to cut them.
    """
    store = CheckpointStore(storage.join(url, "checkpoints"))
    latest = store.latest()
    if latest is None:
        return None
    state, digest = read_state(latest.url), manifest.split("train").digest
    changed = frozen_changes(recipe_from_mapping(state["recipe"]), recipe)
    if state["manifest_digest"] != digest:
        changed.append(f"data.shards: {recipe.data.shards} holds other images than before")
    if state["world_size"] != recipe.cluster.workers:
        changed.append(
            f"cluster.workers: {state['world_size']} before, {recipe.cluster.workers} now"
        )
    if changed:
        listed = "".join(f"\n  {line}" for line in changed)
        raise CheckpointError(
            f"run {recipe.run.name!r} has a checkpoint at {latest.images_seen:,} images "
            f"({latest.url}) that this recipe cannot continue:{listed}\n"
            "Give the new run another name (run.name=...), or take the changes back."
        )
    return latest
