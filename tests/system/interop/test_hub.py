import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from system.engine.checkpoints import read_averaged
from system.evaluation.protocol import write_evaluation
from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_recipe
from system.evaluation.subject import read_subject
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Pixels
from system.interop.adoption import Adopted
from system.interop.adoption import read_autoencoder
from system.interop.adoption import write_checkpoint
from system.interop.hub import read_hub
from system.interop.hub import write_hub
from tests.system.interop.conftest import IMAGES_SEEN
from tests.system.interop.conftest import evaluation
from tests.system.interop.conftest import weights_of


def test_round_trips_keep_every_bit(run: str, tmp_path: Path) -> None:
    recipe, weights, _ = read_averaged(find_checkpoint(run))
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    write_hub(run, first)
    write_hub(first, second)
    for folder in (first, second):
        again, found = read_hub(folder)
        assert again == recipe
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], weights[name]) for name in weights)
    first_file, second_file = (Path(f, "model.safetensors").read_bytes() for f in (first, second))
    assert first_file == second_file


def test_the_folder_can_be_any_url(run: str) -> None:
    urls = write_hub(run, "memory://hub/tiny")
    assert urls == [
        f"memory://hub/tiny/{name}" for name in ("model.safetensors", "README.md", "config.json")
    ]
    assert read_hub("memory://hub/tiny")[0] == read_recipe(find_checkpoint(run))


def test_a_release_stands_where_a_checkpoint_does(run: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "released")
    write_hub(run, folder)
    assert find_checkpoint(folder) == folder
    assert read_recipe(folder) == read_recipe(find_checkpoint(run))
    assert read_subject(folder).images_seen == IMAGES_SEEN
    assert read_autoencoder(folder).url == folder


def test_a_release_draws_what_its_run_draws(run: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "released")
    write_hub(run, folder)
    drawn = []
    for checkpoint in (run, folder):
        out = str(tmp_path / "drawn" / Path(checkpoint).name)
        sample_to_folder(Sampling(checkpoint=checkpoint, out=out, count=4))
        drawn.append(Path(out, "samples.npz").read_bytes())
    assert drawn[0] == drawn[1]


def test_config_and_card_say_what_it_is(run: str, tmp_path: Path) -> None:
    folder = tmp_path / "released"
    write_hub(run, str(folder), licence="apache-2.0")
    config = json.loads((folder / "config.json").read_text())
    assert config["images_seen"] == IMAGES_SEEN
    assert config["averaging_decay"] == 0.9999
    assert Recipe.model_validate(config["recipe"]) == read_recipe(str(folder))
    card = (folder / "README.md").read_text()
    for part in (
        "license: apache-2.0",
        "| images seen | 640 |",
        config["weights_digest"],
        config["autoencoder_digest"],
        "| gfid | 4.5 | 0.25 |",
    ):
        assert part in card
    assert "Measured at" not in card


def test_numbers_of_another_moment_say_so(run: str, tmp_path: Path) -> None:
    for path in (Path(run) / "eval").iterdir():
        path.unlink()
    write_evaluation(evaluation(100, 9.0), run)
    write_evaluation(evaluation(320, 8.0), run)
    write_hub(run, str(tmp_path / "released"))
    card = (tmp_path / "released" / "README.md").read_text()
    assert "Measured at 320 images seen, not at the 640 of these weights." in card
    assert "| gfid | 8 |" in card


def test_numbers_of_several_presets_stand_side_by_side(run: str, tmp_path: Path) -> None:
    theirs = evaluation(640, 2.5).model_copy(update={"preset": "adm_50k"})
    write_evaluation(theirs, run)
    write_hub(run, str(tmp_path / "released"))
    card = (tmp_path / "released" / "README.md").read_text()
    assert "| gfid | 2.5 | 0.25 |" in card
    assert "| gfid (digits) | 4.5 | 0.25 |" in card


def test_autoencoders_are_told_apart_by_their_digest(
    run: str, tmp_path: Path, make_recipe: Callable[..., Recipe]
) -> None:
    def digest(name: str, recipe: Recipe, weights: dict[str, torch.Tensor]) -> str | None:
        write_checkpoint(Adopted(recipe, weights, 1), str(tmp_path / name), origin={})
        write_hub(str(tmp_path / name), str(tmp_path / "out" / name))
        config = json.loads((tmp_path / "out" / name / "config.json").read_text())
        assert config["manifest_digest"] is None
        return config["autoencoder_digest"]

    recipe, weights, _ = read_averaged(find_checkpoint(run))
    same = digest("same", recipe, weights)
    flow = {name: v + 1 if name.startswith("flow.") else v for name, v in weights.items()}
    other = {name: v + 1 if name.startswith("auto") else v for name, v in weights.items()}
    assert digest("flow", recipe, flow) == same
    assert digest("other", recipe, other) != same
    pixels = make_recipe(autoencoder=Pixels(), objective={"route": "frozen"})
    assert digest("pixels", pixels, weights_of(pixels)) is None


def test_what_is_no_checkpoint_is_not_released(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="released weights"):
        write_hub(str(tmp_path), str(tmp_path / "out"))
    with pytest.raises(CheckpointError):
        read_hub(str(tmp_path))
