import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from data_pipeline.sources.source import ImageFolder
from data_pipeline.stream.split import read_split
from system.alignment.teacher import Teacher
from system.alignment.training import TeacherTraining
from system.alignment.training import _augmented
from system.alignment.training import train_teacher
from system.alignment.weights import read_weights
from system.foundation.config import resolve
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings import objective as settings
from system.foundation.settings.data import Data

ROOT = Path(__file__).parents[3]
QUICK = {"width": 16, "depth": 1, "heads": 2, "epochs": 1, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return read_manifest(out)


def quick(manifest: Manifest, folder: Path, **keys: Any) -> TeacherTraining:
    given = {"shards": manifest.url, "out": f"{folder}/small.safetensors"} | QUICK
    return TeacherTraining(**(given | keys))


def weights(training: TeacherTraining) -> dict[str, torch.Tensor]:
    name = settings.Teacher(model="vit_tiny_patch16_224")
    return read_weights(name, training.out).tensors


def test_it_learns_and_says_how_well(digits: Manifest, tmp_path: Path) -> None:
    """A few passes of a tiny model are enough to leave chance (0.1) behind."""
    training = quick(digits, tmp_path, epochs=6, batch=32, noise=0.1)
    trained = train_teacher(training)
    assert trained.accuracy > 0.3
    assert f"{trained.accuracy:.1%} of held-out images right" in trained.summary()
    name = settings.Teacher(model="vit_tiny_patch16_224")
    said = read_weights(name, training.out).metadata
    assert said["data_digest"] == digits.digest
    assert float(said["held_out_accuracy"]) == pytest.approx(trained.accuracy, abs=1e-4)
    assert json.loads(said["training"])["seed"] == 0


def test_its_accuracy_is_that_of_images_it_never_saw(digits: Manifest, tmp_path: Path) -> None:
    """By its own file: the held-out split alone, through timm again."""
    training = quick(digits, tmp_path)
    trained = train_teacher(training)
    file = read_weights(settings.Teacher(model="vit_tiny_patch16_224"), training.out)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10, **file.arguments).eval()
    model.load_state_dict(file.tensors)
    data = Data(shards=digits.url, image_size=8, image_channels=1, classes=10, crop="none")
    held_out = read_split(digits.split("held_out"), data)
    with torch.no_grad():
        guessed = model(held_out.image.float() / 127.5 - 1).argmax(dim=1)
    assert (guessed == held_out.label).float().mean().item() == pytest.approx(trained.accuracy)


def test_weights_are_a_function_of_data_and_settings(digits: Manifest, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    found = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        training = quick(digits, tmp_path / name, seed=seed)
        train_teacher(training)
        found.append(weights(training))
    one, same, other = found
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.rand(1), expected)  # the global generator was left alone


def test_a_recipe_takes_it_up_by_the_overlay_beside_it(digits: Manifest, tmp_path: Path) -> None:
    trained = train_teacher(quick(digits, tmp_path))
    overlays = [str(ROOT / "configs" / "variants" / "align_reverse.yaml"), trained.overlay]
    recipe = resolve(ROOT / "configs" / "simflow_digits.yaml", overlays).recipe
    assert isinstance(recipe, Recipe)
    alignment = recipe.objective.alignment
    assert isinstance(alignment, settings.FeatureAlignment)
    assert alignment.teacher.weights == trained.weights
    teacher = Teacher(alignment.teacher, side=4, image_channels=1)
    assert teacher.model.num_prefix_tokens == 0
    tokens = teacher(torch.zeros(2, 1, 8, 8))
    assert tokens.shape == (2, 16, 16)
    # Normed: each token has the norm's own spread, before its gain.
    assert teacher.model.norm.weight.shape == (16,)


def test_images_move_by_parts_of_a_pixel_and_keep_their_edges() -> None:
    ramp = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)
    still = TeacherTraining(shift=0, noise=0)
    generator = np.random.default_rng(0)
    torch.testing.assert_close(_augmented(ramp, still, generator), ramp)
    moved = _augmented(ramp.repeat(64, 1, 1, 1), TeacherTraining(shift=0.5, noise=0), generator)
    steps = (moved - ramp)[:, 0, 4, 4] * 3.5  # a pixel is two sevenths
    assert steps.abs().max() <= 0.5
    assert steps.max() > 0.4
    assert steps.min() < -0.4
    assert moved.min() >= -1.001
    assert moved.max() <= 1.001
    mirrored = _augmented(
        ramp.repeat(64, 1, 1, 1), TeacherTraining(shift=0, noise=0, flip=True), generator
    )
    share = (mirrored[:, 0, 0, 0] > 0).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.25)


def test_colour_images_are_seen_in_colour(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for number in range(24):
        folder = tmp_path / "images" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (16, 16, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    out = str(tmp_path / "colour")
    source = ImageFolder(url=str(tmp_path / "images"))
    pack(PackRecipe(source=source, out=out, channels=3, held_out_fraction=0.25))
    training = quick(read_manifest(out), tmp_path, patch=4, crop="adm", image_size=16)
    train_teacher(training)
    assert weights(training)["patch_embed.proj.weight"].shape == (16, 3, 4, 4)


def test_a_patch_that_does_not_divide_is_refused(digits: Manifest, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="patch=3 does not divide images of side 8"):
        train_teacher(quick(digits, tmp_path, patch=3))


@pytest.mark.slow
def test_the_digits_teacher_is_as_good_as_its_program_says(
    digits: Manifest, tmp_path: Path
) -> None:
    trained = train_teacher(
        TeacherTraining(shards=digits.url, out=f"{tmp_path}/digits.safetensors")
    )
    assert trained.accuracy >= 0.97
