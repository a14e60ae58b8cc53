import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from system.engine.checkpoints import flaw
from system.engine.checkpoints import read_averaged
from system.engine.checkpoints import read_state
from system.engine.released import CONFIG
from system.engine.released import WEIGHTS
from system.engine.released import digest_of
from system.engine.released import is_released
from system.engine.released import read_config
from system.engine.released import read_released
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe

TENSORS = {"flow.a": torch.arange(6.0).reshape(2, 3), "autoencoder.b": torch.tensor(-0.0)}


@pytest.fixture
def release(tmp_path: Path, make_recipe: Callable[..., Recipe]) -> Path:
    """A folder as it is released, with two tensors."""
    data = safetensors.torch.save(TENSORS)
    config = {
        "format": "latent-flows",
        "format_version": 1,
        "images_seen": 640,
        "weights_digest": digest_of(data),
        "recipe": make_recipe().model_dump(mode="json"),
    }
    (tmp_path / WEIGHTS).write_bytes(data)
    (tmp_path / CONFIG).write_text(json.dumps(config))
    return tmp_path


def test_is_read_wherever_a_checkpoint_is(
    release: Path, make_recipe: Callable[..., Recipe]
) -> None:
    assert is_released(str(release))
    for read in (read_released, read_averaged):
        recipe, weights, images_seen = read(str(release))
        assert recipe == make_recipe()
        assert images_seen == 640
        assert weights.keys() == TENSORS.keys()
        assert all(torch.equal(weights[name], TENSORS[name]) for name in TENSORS)
    assert read_state(str(release))["images_seen"] == 640
    assert flaw(str(release)) is None


def test_other_folders_are_none(release: Path) -> None:
    (release / CONFIG).unlink()
    assert not is_released(str(release))
    assert not is_released("/nowhere/at/all")


def test_what_was_cut_short_is_refused(release: Path) -> None:
    with (release / WEIGHTS).open("ab") as file:
        file.write(b"more")
    assert "another digest" in (flaw(str(release)) or "")
    with pytest.raises(CheckpointError, match="cannot be used"):
        read_averaged(str(release))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": None}, "does not say that its format is latent-flows"),
        ({"format_version": 2}, "is of format version 2, this code reads 1"),
    ],
)
def test_other_formats_are_refused(release: Path, change: dict[str, object], said: str) -> None:
    config = json.loads((release / CONFIG).read_text())
    (release / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=said):
        read_config(str(release))


@pytest.mark.parametrize("content", ["[]", "no json"])
def test_a_config_that_is_none_is_refused(release: Path, content: str) -> None:
    (release / CONFIG).write_text(content)
    with pytest.raises(CheckpointError):
        read_released(str(release))


@pytest.mark.parametrize("key", ["recipe", "weights_digest", "images_seen"])
def test_a_config_that_lacks_a_key_is_refused(release: Path, key: str) -> None:
    config = json.loads((release / CONFIG).read_text())
    del config[key]
    (release / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=key):
        read_released(str(release))
