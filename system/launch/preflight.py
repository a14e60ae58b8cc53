"""What is checked before anything starts: each check is quick, harms nothing, and says one thing.

All raise an error of the BadInput family, which ends a program with exit code 2, or 4 for data.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path

import torch

from data_pipeline.order.selection import choose
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import check_manifest
from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import Checkpoint
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import read_state
from system.evaluation.measures.reference import standard_of
from system.foundation import storage
from system.foundation.config import recipe_from_mapping
from system.foundation.credentials import credential_in
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import ClusterError
from system.foundation.errors import DataError
from system.foundation.errors import StorageError
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import ReferenceEvaluation
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Lpips
from system.objectives.joint import JointModel
from system.objectives.perceptual import read_trunk
from system.train.changes import changed_data
from system.train.changes import frozen_changes
from system.train.frozen import build_frozen_autoencoder
from system.train.frozen import build_teacher
from system.train.frozen import fitting_features
from system.train.warm_start import check_warm_start

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
    return storage.absolute(storage.join(recipe.run.root, recipe.run.name))


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe, and nothing that a program added to it, with every local path absolute."""
    values = recipe.model_dump(mode="json", include=set(Recipe.model_fields))
    for place, value in places(recipe).items():
        *sections, key = place.split(".")
        section = reduce(getitem, sections, values)
        section[key] = storage.absolute(value)
    return recipe_from_mapping(values)


def places(recipe: Recipe) -> dict[str, str]:
    """Every path or url of a recipe, by its full key."""
    found = {"run.root": recipe.run.root, "data.shards": recipe.data.shards}
    if recipe.data.features is not None:
        found["data.features"] = recipe.data.features
    if recipe.autoencoder.weights is not None:
        found["autoencoder.weights"] = recipe.autoencoder.weights
    if recipe.flow.weights is not None:
        found["flow.weights"] = recipe.flow.weights
    if isinstance(recipe.objective.perceptual, Lpips):
        found["objective.perceptual.trunk"] = recipe.objective.perceptual.trunk
    alignment = recipe.objective.alignment
    if isinstance(alignment, FeatureAlignment) and alignment.teacher.weights is not None:
        found["objective.alignment.teacher.weights"] = alignment.teacher.weights
    evaluation = recipe.evaluation
    if isinstance(evaluation, ReferenceEvaluation):
        found["evaluation.reference"] = evaluation.reference
        found["evaluation.detector"] = evaluation.detector
        if evaluation.lpips is not None:
            found["evaluation.lpips"] = evaluation.lpips
    return found


@contextmanager
def answering_storage() -> Iterator[None]:
    """Before a start, a store that does not answer is the user's to mend: BadInput.

    Later the same StorageError is tried again, since stores fail now and then.
    """
    try:
        yield
    except StorageError as error:
        raise BadInput(
            f"{error}. Nothing was started. Check that the address is right, that this machine "
            "reaches it, and that it may: the folder's permissions, or the store's credentials "
            "(for s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws)."
        ) from error


def check_places(recipe: Recipe, folder: Path) -> None:
    """Raise BadInput for a place that a run cannot use.

    That is memory, which no two processes share, a url with a password in it, which the run's
    folder would tell to all who read it, and a relative path inside Ray's temporary copy of the
    tree. `folder` is the working directory; the copy is deleted with the submitted job.
    """
    for key, value in places(recipe).items():
        if (kind := credential_in(value)) is not None:
            raise BadInput(
                f"{key} is a url with {kind} in it, which recipe, ledger and logs would keep. "
                "Credentials belong into the environment or the files of the store's own tools."
            )
        if "memory" in value.rpartition("://")[0].split("::"):
            raise BadInput(
                f"{key} is {value!r}, but the workers are other processes and do not see this "
                "one's memory. Give a folder, or the url of an object store."
            )
    if "working_dir_files" not in folder.parts:
        return
    for key, value in places(recipe).items():
        if storage.is_local(value) and not storage.local_path(value).is_absolute():
            raise BadInput(
                f"{key} is {value!r}, a relative path, but this job runs in Ray's temporary copy "
                f"of the tree ({folder}), where files of yours are absent and results would be "
                f"lost. Give an absolute path or a url: {key}=/some/shared/place."
            )


def check_data(recipe: Recipe) -> Manifest:
    """The manifest of the recipe's shards.

    Raises DataError where it is absent or damaged, of other data, or nothing of it is selected.
    """
    try:
        manifest = read_manifest(storage.absolute(recipe.data.shards))
    except StorageError as error:
        raise DataError(f"data.shards {recipe.data.shards}: {error}") from error
    check_manifest(manifest, recipe.data)
    choose(manifest.split("train"), recipe.data.selection, recipe.run.seed)
    return manifest


def check_inputs(recipe: Recipe) -> None:
    """Raise BadInput where weights that training starts from are absent or of no use, or what
    evaluations need does not fit."""
    check_warm_start(recipe)
    if isinstance(recipe.evaluation, ReferenceEvaluation):
        standard_of(recipe.evaluation, recipe.data.image_size)
    perceptual = recipe.objective.perceptual
    if isinstance(perceptual, Lpips):
        read_trunk(perceptual.trunk)
    build_teacher(recipe, torch.device("cpu"))


def check_features(recipe: Recipe, manifest: Manifest) -> None:
    """Raise DataError where the recipe's features are of other images or other weights."""
    if recipe.data.features is not None:
        fitting_features(recipe, manifest.split("train"), build_frozen_autoencoder(recipe))


def check_cluster(recipe: Recipe, resources: Resources, *, uses_gpus: bool) -> None:
    """Raise ClusterError where training and evaluation together need more than there is."""
    cluster, fewest = recipe.cluster, recipe.world_sizes[0]
    if cluster.capacity == "on_demand":
        return
    evaluates = recipe.evaluation.kind != "none"
    wanted = {
        "CPUs": (
            fewest * cluster.cpus_per_worker,
            evaluates * cluster.evaluation_parts * cluster.evaluation_cpus,
            resources.cpus,
        ),
        "GPUs": (
            float(fewest * uses_gpus),
            evaluates * cluster.evaluation_parts * cluster.evaluation_gpus,
            resources.gpus,
        ),
    }
    for name, (training, evaluation, there) in wanted.items():
        if training + evaluation > there:
            raise ClusterError(
                f"the cluster has {there:g} {name}; {fewest} workers need {training:g} "
                f"and the evaluation {evaluation:g}. Set cluster.workers, cluster.min_workers, "
                "cluster.cpus_per_worker, cluster.evaluation_workers, cluster.evaluation_cpus or "
                "cluster.evaluation_gpus lower, or add nodes."
            )


def check_device(recipe: Recipe, resources: Resources) -> str:
    """The kind of device the workers compute on. Raises ClusterError for absent GPUs."""
    device = recipe.cluster.device
    if recipe.cluster.capacity == "on_demand":
        if device == "auto":
            raise ClusterError(
                "cluster.device is auto and cluster.capacity on_demand: nobody knows yet what the "
                "cluster's nodes will have. Set cluster.device to cuda or cpu."
            )
        return device
    if device == "auto":
        return "cuda" if resources.gpus >= recipe.world_sizes[0] else "cpu"
    if device == "cuda" and resources.gpus == 0:
        raise ClusterError(
            "cluster.device is cuda, but the cluster has no GPU. Use cluster.device=cpu or auto."
        )
    return device


def checkpoint_bytes(recipe: Recipe) -> int:
    """About the size of one checkpoint."""
    with torch.device("meta"):
        model = JointModel(recipe)
    per_parameter = CHECKPOINT_BYTES_PER_PARAMETER + 8 * len(recipe.engine.further_decays)
    return per_parameter * sum(p.numel() for p in model.parameters())


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
    """Raise BadInput where the run's folder cannot be written. What it makes it takes away."""
    probe = storage.join(url, "logs", f"write-probe-{os.getpid()}")
    made = absent_folders(probe)
    try:
        storage.write_bytes(probe, b"")
        storage.remove(probe)
    except (OSError, StorageError) as error:
        raise BadInput(
            f"the run's folder {url} cannot be written ({error}). Choose another run.root."
        ) from error
    finally:
        for folder in made:
            with suppress(OSError):  # another process has put something there
                folder.rmdir()


def absent_folders(url: str) -> list[Path]:
    """The folders above a local file that are not there yet, innermost first."""
    if not storage.is_local(url):
        return []
    return [folder for folder in storage.local_path(url).parents if not os.path.lexists(folder)]


def check_checkpoint(recipe: Recipe, manifest: Manifest, url: str) -> Checkpoint | None:
    """The checkpoint that the run goes on from, if it has one.

    Raises CheckpointError where that is of another shape or of other data.
    """
    store = CheckpointStore(storage.join(url, "checkpoints"))
    latest = store.newest_or_refuse()
    if latest is None:
        return None
    state = read_state(latest.url)
    changed = frozen_changes(recipe_from_mapping(state["recipe"]), recipe)
    if recipe.data.on_changed_manifest == "refuse":
        changed += changed_data(state, manifest.split("train"))
    if changed:
        listed = "".join(f"\n  {line}" for line in changed)
        raise CheckpointError(
            f"run {recipe.run.name!r} has a checkpoint at {latest.images_seen:,} images "
            f"({latest.url}) that this recipe cannot continue:{listed}\n"
            "Give the new run another name (run.name=...), or take the changes back."
        )
    return latest
