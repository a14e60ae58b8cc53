"""Real digits, the detector trained on them, and a committed checkpoint of a very small model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.split import read_split
from system.engine.checkpoints import name_of
from system.engine.checkpoints import upload
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.detectors.choice import digits_choice
from system.evaluation.detectors.digits import DigitsDetector
from system.evaluation.detectors.digits import digits_detector
from system.evaluation.detectors.digits import digits_url
from system.evaluation.labelled import Labelled
from system.evaluation.measures.bench import DigitsBench
from system.evaluation.measures.digits import detectors_folder
from system.evaluation.studio import Studio
from system.evaluation.subject import Subject
from system.evaluation.subject import assemble_subject
from system.foundation import streams
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.objectives.joint import JointModel

ROOT = Path(__file__).parents[3]
IMAGES_SEEN = 2560
TINY = (
    "autoencoder.width=8",
    "autoencoder.latent_channels=2",
    "flow.width=16",
    "flow.depths=[1, 1]",
    "flow.head_width=8",
    "evaluation.density_samples=2",
    "evaluation.gradient_samples=3",
)


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """The folder of all runs: the detector is trained once for them."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def recipe(root) -> Recipe:
    shards = root.parent / "evaluation-shards"
    pack(resolve(ROOT / "configs/pack_digits.yaml", [f"out={shards}"], PackRecipe).recipe)
    settings = [f"data.shards={shards}", f"run.root={root}", *TINY]
    return resolve(ROOT / "configs/simflow_digits.yaml", settings).recipe


@pytest.fixture(scope="session")
def train(recipe) -> Labelled:
    split = read_split(read_manifest(recipe.data.shards).split("train"), recipe.data)
    return Labelled(split.image, split.label)


@pytest.fixture(scope="session")
def held_out(recipe) -> Labelled:
    split = read_split(read_manifest(recipe.data.shards).split("held_out"), recipe.data)
    return Labelled(split.image, split.label)


@pytest.fixture(scope="session")
def detector(recipe, train, root) -> DigitsDetector:
    digest = read_manifest(recipe.data.shards).digest
    return digits_detector(
        train, classes=10, data_digest=digest, folder=detectors_folder(str(root / "any"))
    )


def random_weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    """Weights that differ from class to class and from place to place: nothing is left at zero."""
    weights = JointModel(recipe).state_dict()
    for place, name in enumerate(sorted(weights)):
        draw = streams.normal(0, "test/weights", [place], tuple(weights[name].shape))[0]
        weights[name] = 0.1 * draw + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return weights


@pytest.fixture(scope="session")
def subject(recipe) -> Subject:
    return assemble_subject(recipe, random_weights(recipe), IMAGES_SEEN)


@pytest.fixture(scope="session")
def bench(recipe, subject, detector, train, held_out, root, checkpoint) -> DigitsBench:
    few = Labelled(held_out.image[:60], held_out.label[:60])
    manifest_digest = read_manifest(recipe.data.shards).digest
    return DigitsBench(
        subject=subject,
        settings=recipe.evaluation,
        detector=detector,
        choice=digits_choice(digits_url(detectors_folder(str(root / "any")), manifest_digest)),
        held_out=few,
        data_digest="digest",
        checkpoint=checkpoint,
        studio=Studio(AloneCrew(), str(root / "units")),
        train=train,
    )


def committed(run: Path, local: Path, recipe: Recipe, weights: dict[str, torch.Tensor]) -> str:
    """Commit a checkpoint of these weights to a run, by way of a local folder; its url."""
    local.mkdir(exist_ok=True)
    save_file(weights, local / "averaged.safetensors")
    state = {"images_seen": IMAGES_SEEN, "recipe": recipe.model_dump(mode="json")}
    (local / "state.json").write_text(json.dumps(state))
    url = run / "checkpoints" / name_of(IMAGES_SEEN, 1)
    upload(local, str(url), 0, 1)
    return str(url)


@pytest.fixture(scope="session")
def checkpoint(root, recipe, tmp_path_factory) -> str:
    """Where the subject's weights lie."""
    local = tmp_path_factory.mktemp("local")
    return committed(root / "any", local, recipe, random_weights(recipe))


@pytest.fixture
def commit(root, tmp_path):
    """Commits a checkpoint of a recipe with random weights, and returns its url."""

    def write(recipe: Recipe, weights: dict[str, torch.Tensor] | None = None) -> str:
        given = weights or random_weights(recipe)
        return committed(root / tmp_path.name, tmp_path / "local", recipe, given)

    return write
