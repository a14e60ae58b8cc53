"""The model that is measured or drawn from: a committed checkpoint's averaged weights."""

import hashlib
import json
from dataclasses import dataclass
from dataclasses import replace

import torch
from torch import Tensor

from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import read_averaged
from system.engine.checkpoints import read_state
from system.engine.released import is_released
from system.foundation import storage
from system.foundation.config import recipe_from_mapping
from system.foundation.errors import CheckpointError
from system.foundation.errors import RecipeError
from system.foundation.recipe import Recipe
from system.objectives.joint import JointModel

ARCHITECTURE = {"autoencoder", "flow", "data"}
PICTURES = ("image_size", "image_channels", "classes")


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model ready to be measured, in float32, with the recipe it was trained by."""

    recipe: Recipe
    model: JointModel
    images_seen: int
    device: torch.device
    decay: float | None = None  # of the average that these weights are; None for the recipe's first

    @property
    def averaging_decay(self) -> float:
        """The decay of the average that these weights are."""
        return self.recipe.engine.averaging_decay if self.decay is None else self.decay

    @property
    def has_flow(self) -> bool:
        """Whether its flow was trained: an autoencoder alone has none to draw from."""
        return "flow" in self.model.route.trained


def find_checkpoint(url: str) -> str:
    """The checkpoint that `url` means: itself (or released weights), or the newest committed one of
    a run's folder.

    Raises CheckpointError where `url` is none of these.
    """
    if storage.exists(storage.join(url, "state.json")) or is_released(url):
        return url
    store = CheckpointStore(storage.join(url, "checkpoints"))
    found = store.latest()
    if found is None:
        reasons = "".join(f"; {one.checkpoint.url}: {one.reason}" for one in store.passed_over)
        raise CheckpointError(
            f"checkpoint={url}: found no committed checkpoint there{reasons}; expected a run's "
            "folder (with checkpoints/ in it), a checkpoint's own folder (with state.json) or "
            "released weights (model.safetensors and config.json). Has the run committed one yet?"
        )
    return found.url


def read_recipe(checkpoint_url: str) -> Recipe:
    """The recipe of a checkpoint, without its weights. Raises CheckpointError."""
    state = read_state(checkpoint_url)
    try:
        return recipe_from_mapping(state["recipe"])
    except (KeyError, RecipeError) as problem:
        raise CheckpointError(
            f"checkpoint {checkpoint_url} carries no recipe that this code knows: {problem}. "
            "Was it written by another version?"
        ) from problem


def read_subject(
    checkpoint_url: str, device: str = "cpu", *, decay: float | None = None
) -> Subject:
    """A checkpoint's averaged weights as a model, those of one of its decays or of the first.

    Raises CheckpointError if they do not fit, or if there is no such average.
    """
    recipe, weights, images_seen = read_averaged(checkpoint_url, decay=decay)
    return replace(assemble_subject(recipe, weights, images_seen, device=device), decay=decay)


def assemble_subject(
    recipe: Recipe, weights: dict[str, Tensor], images_seen: int, *, device: str = "cpu"
) -> Subject:
    """The recipe's model with these weights. Raises CheckpointError if names or shapes differ."""
    with torch.device("meta"):
        model = JointModel(recipe)
    model.to_empty(device=device)
    try:
        model.load_state_dict(weights)
    except RuntimeError as problem:
        raise CheckpointError(
            f"the checkpoint's averaged weights do not fit the model of its own recipe: {problem}. "
            "Was it written by another version of this code?"
        ) from problem
    model.float().eval().requires_grad_(False)
    return Subject(recipe, model, images_seen, torch.device(device))


def subject_digest(subject: Subject) -> str:
    """32 hexadecimal digits of all that decides what a model gives: weights and architecture."""
    recipe = subject.recipe.model_dump(mode="json", include=ARCHITECTURE)
    recipe["data"] = {key: recipe["data"][key] for key in PICTURES}
    for section in ("autoencoder", "flow"):
        recipe[section].pop("weights", None)  # where they began
    state = hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16)
    for name, value in sorted(subject.model.state_dict().items()):
        state.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        state.update(value.cpu().contiguous().numpy())
    return state.hexdigest()


def read_known(
    checkpoint_url: str, digest: str, device: str = "cpu", *, decay: float | None = None
) -> Subject:
    """A checkpoint's model, as it was when its digest was taken. Raises CheckpointError."""
    subject = read_subject(checkpoint_url, device, decay=decay)
    found = subject_digest(subject)
    if found != digest:
        raise CheckpointError(
            f"checkpoint {checkpoint_url}: found averaged weights with digest {found}, expected "
            f"{digest}: it was written over since it was chosen. Measure it again"
        )
    return subject


def run_of(checkpoint_url: str) -> str | None:
    """The run's folder of a checkpoint that lies in its `checkpoints/`; None for a moved one."""
    run, _, rest = checkpoint_url.rstrip("/").rpartition("/checkpoints/")
    return run if run and "/" not in rest else None
