import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from system.autoencoder.autoencoder import Autoencoder
from system.engine.checkpoints import read_averaged
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_subject
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior
from system.interop.adoption import AutoencoderWeights
from system.interop.adoption import adopt_autoencoder
from system.interop.adoption import adopt_flow
from system.interop.adoption import part_of
from system.interop.adoption import read_autoencoder
from system.interop.adoption import run_name
from system.interop.adoption import write_checkpoint
from system.interop.autoencoder_kl import save_autoencoder_kl
from system.interop.flow_weights import FlowWeights
from system.objectives.joint import JointModel
from tests.golden.cases import STARFLOWS
from tests.golden.cases import TARFLOWS

LATENT_FLOW = STARFLOWS[0].flow()  # of 4 channels, 4 by 4
PIXEL_FLOW = TARFLOWS[0].flow()  # of 3 channels, 8 by 8


def autoencoder(image_channels: int = 3, **changes: Any) -> AutoencoderWeights:
    given = {"posterior": LearnedPosterior(), "latent_channels": 4} | changes
    shape = Convolutional(width=8, multipliers=(1, 1), blocks_per_level=1, **given)
    torch.manual_seed(0)
    return AutoencoderWeights("its-place", shape, Autoencoder(shape, image_channels).state_dict())


def test_a_flow_of_pixels_is_a_whole_model(tmp_path: Path) -> None:
    adopted = adopt_flow(PIXEL_FLOW, name="pixels", autoencoder=None, noise=0.05)
    data = adopted.recipe.data
    assert (data.image_size, data.image_channels, data.classes) == (8, 3, 5)
    assert adopted.recipe.autoencoder.posterior == FixedPosterior(std=0.05)
    url = str(tmp_path / "pixels")
    write_checkpoint(adopted, url, origin={"format": "ml_tarflow"})
    assert find_checkpoint(url) == url
    subject = read_subject(url)
    assert subject.has_flow
    found = subject.model.flow.state_dict()
    assert all(torch.equal(found[name], PIXEL_FLOW.weights[name]) for name in found)
    state = json.loads(Path(url, "state.json").read_text())
    assert state["origin"] == {"format": "ml_tarflow"}
    assert state["images_seen"] == 0


def test_noise_of_none_is_uniform_dequantisation() -> None:
    adopted = adopt_flow(PIXEL_FLOW, name="pixels", autoencoder=None, noise=0.0)
    assert adopted.recipe.autoencoder.posterior.kind == "uniform"


def test_a_flow_of_latents_stands_on_its_autoencoder() -> None:
    given = autoencoder()
    adopted = adopt_flow(LATENT_FLOW, name="latents", autoencoder=given, noise=0.3)
    recipe = adopted.recipe
    assert (recipe.data.image_size, recipe.latent_size, recipe.data.image_channels) == (8, 4, 3)
    assert recipe.autoencoder == given.shape.model_copy(
        update={"weights": "its-place", "posterior": LearnedPosterior(added_noise=0.3)}
    )
    assert recipe.objective.route == "frozen"
    for name, value in given.weights.items():
        assert torch.equal(adopted.weights[f"autoencoder.{name}"], value)


def test_what_does_not_go_together_is_said() -> None:
    def adopt(flow: FlowWeights, given: AutoencoderWeights | None, noise: float | None) -> None:
        adopt_flow(flow, name="x", autoencoder=given, noise=noise)

    with pytest.raises(BadInput, match="4 channels, which are no image's"):
        adopt(LATENT_FLOW, None, 0.3)
    with pytest.raises(BadInput, match="does not say with how much noise"):
        adopt(PIXEL_FLOW, None, None)
    with pytest.raises(BadInput, match=r"4 channels, and the latent .* at its-place has 8"):
        adopt(LATENT_FLOW, autoencoder(latent_channels=8), None)
    two = autoencoder(image_channels=2)
    with pytest.raises(BadInput, match=r"data\.image_channels: Input should be 1 or 3"):
        adopt(LATENT_FLOW, two, None)
    with pytest.raises(BadInput, match=r"data\.image_channels: Input should be 1 or 3"):
        adopt_autoencoder(two, name="two", size=16)
    with pytest.raises(BadInput, match=r"a fixed spread of 0\.5"):
        adopt(LATENT_FLOW, autoencoder(posterior=FixedPosterior(std=0.5)), 0.3)


def test_a_recipe_gives_what_weights_do_not_tell(make_recipe: Callable[..., Recipe]) -> None:
    start_from = make_recipe()
    adopted = adopt_flow(
        PIXEL_FLOW, name="unused", autoencoder=None, noise=0.05, start_from=start_from
    )
    assert adopted.recipe.run == start_from.run
    assert adopted.recipe.engine == start_from.engine
    assert adopted.recipe.data.shards == start_from.data.shards
    assert adopted.recipe.data.image_size == 8
    assert adopted.recipe.flow == PIXEL_FLOW.shape


def test_classes_that_weights_do_not_tell_are_the_recipes(
    make_recipe: Callable[..., Recipe],
) -> None:
    """Or nothing but images of one class could measure them."""
    flow, start_from = TARFLOWS[2].flow(), make_recipe()
    assert not flow.shape.is_conditional
    adopted = adopt_flow(flow, name="x", autoencoder=None, noise=0.1, start_from=start_from)
    assert adopted.recipe.data.classes == start_from.data.classes == 4
    adopted = adopt_autoencoder(autoencoder(), name="x", size=16, start_from=start_from)
    assert adopted.recipe.data.classes == 4
    assert JointModel(adopted.recipe).load_state_dict(adopted.weights)


def test_an_autoencoder_alone_has_no_flow_to_draw_from(tmp_path: Path) -> None:
    given = autoencoder()
    adopted = adopt_autoencoder(given, name="alone", size=16)
    url = str(tmp_path / "alone")
    write_checkpoint(adopted, url, origin={})
    subject = read_subject(url)
    assert not subject.has_flow
    found = subject.model.autoencoder.state_dict()
    assert all(torch.equal(found[name], given.weights[name]) for name in found)
    with pytest.raises(BadInput, match="17"):
        adopt_autoencoder(given, name="alone", size=17)


def test_a_checkpoint_is_not_written_over(tmp_path: Path) -> None:
    adopted = adopt_flow(PIXEL_FLOW, name="pixels", autoencoder=None, noise=0.05)
    write_checkpoint(adopted, str(tmp_path / "x"), origin={})
    with pytest.raises(BadInput, match="has a checkpoint already"):
        write_checkpoint(adopted, str(tmp_path / "x"), origin={})


def test_an_autoencoder_is_found_in_whatever_holds_one(tmp_path: Path, run: str) -> None:
    given = autoencoder(posterior=LearnedPosterior(min_log_std=-15, max_log_std=10))
    folder = str(tmp_path / "kl")
    save_autoencoder_kl(folder, given.shape, given.weights)
    found = read_autoencoder(folder)
    assert found.image_channels == 3
    assert found.weights.keys() == given.weights.keys()
    recipe, weights, _ = read_averaged(find_checkpoint(run))
    found = read_autoencoder(run)
    assert found.shape == recipe.autoencoder
    assert found.weights.keys() == part_of(weights, "autoencoder.").keys()
    pixels = str(tmp_path / "pixels")
    write_checkpoint(
        adopt_flow(PIXEL_FLOW, name="pixels", autoencoder=None, noise=0.05), pixels, origin={}
    )
    with pytest.raises(CheckpointError, match="it has no autoencoder"):
        read_autoencoder(pixels)


@pytest.mark.parametrize(
    ("url", "name"),
    [("runs/a b", "a-b"), ("s3://bucket/x/", "x"), ("...", "imported"), ("-a", "a")],
)
def test_a_run_is_named_after_its_folder(url: str, name: str) -> None:
    assert run_name(url) == name
