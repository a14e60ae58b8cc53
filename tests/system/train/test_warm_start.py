from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from system.autoencoder.autoencoder import Autoencoder
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import read_averaged
from system.evaluation.subject import read_subject
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import LearnedPosterior
from system.interop.adoption import Adopted
from system.interop.adoption import write_checkpoint
from system.interop.autoencoder_kl import save_autoencoder_kl
from system.interop.hub import write_hub
from system.objectives.joint import JointModel
from system.telemetry.ledger import read_ledger
from system.train.alone import train_alone
from system.train.assemble import build_model
from system.train.warm_start import check_warm_start

SHAPE = {"width": 8, "multipliers": [1, 1], "blocks_per_level": 1, "latent_channels": 2}
CLAMPED = {"kind": "learned", "min_log_std": -15.0, "max_log_std": 10.0}
Start = tuple[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A folder in diffusers' layout, and the same weights as ours."""
    torch.manual_seed(0)
    shape = Convolutional(
        **SHAPE, posterior=LearnedPosterior(min_log_std=-15, max_log_std=10), latent_scale=0.5
    )
    weights = Autoencoder(shape, 1).state_dict()
    folder = str(tmp_path_factory.mktemp("kl") / "vae")
    save_autoencoder_kl(folder, shape, weights)
    return folder, weights


def starting(recipe: Callable[..., Recipe], url: str, route: str, **autoencoder: object) -> Recipe:
    given = SHAPE | {"posterior": CLAMPED, "attention": True, "weights": url} | autoencoder
    return recipe(
        run={"name": "second", "global_batch": 8, "total_images": 32},
        autoencoder=given,
        objective={"route": route},
    )


def test_an_autoencoder_starts_from_diffusers_weights(recipe, start) -> None:
    folder, weights = start
    made = starting(recipe, folder, "frozen")
    check_warm_start(made)
    found = build_model(made).autoencoder.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"multipliers": [1, 1, 1]}, r"autoencoder\.multipliers: \(1, 1\) there, \(1, 1, 1\)"),
        ({"width": 16}, r"autoencoder\.width: 8 there, 16 in the recipe"),
        ({"posterior": {"kind": "fixed"}}, r"autoencoder\.posterior\.kind: learned there, fixed"),
        ({"attention": False}, r"autoencoder\.attention: True there"),
    ],
)
def test_another_shape_is_refused_before_and_at_the_start(recipe, start, change, said) -> None:
    made = starting(recipe, start[0], "frozen", **change)
    for use in (check_warm_start, build_model):
        with pytest.raises(CheckpointError, match=said):
            use(made)


def test_images_of_other_channels_are_refused(recipe, start) -> None:
    made = starting(recipe, start[0], "frozen")
    colour = made.model_copy(update={"data": made.data.model_copy(update={"image_channels": 3})})
    with pytest.raises(CheckpointError, match=r"encoder\.conv_in\.weight is 8x1x3x3, expected 8x3"):
        check_warm_start(colour)


def test_statistics_begin_afresh_where_they_are_gathered_and_nowhere_else(recipe, start) -> None:
    built = build_model(starting(recipe, start[0], "joint", normalise="batch"))
    assert built.autoencoder.state_dict()["batch_statistics.running_var"].tolist() == [1, 1]
    with pytest.raises(CheckpointError, match="a frozen encoder gathers none"):
        check_warm_start(starting(recipe, start[0], "frozen_encoder", normalise="batch"))


def test_a_damaged_folder_is_refused(recipe, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"autoencoder\.weights: no AutoencoderKL at"):
        check_warm_start(starting(recipe, str(tmp_path), "frozen"))


def test_a_recipe_that_starts_from_nothing_passes(recipe) -> None:
    check_warm_start(recipe())


def averaged(folder: str) -> dict[str, Tensor]:
    newest = CheckpointStore(f"{folder}/checkpoints").latest()
    assert newest is not None
    return read_averaged(newest.url)[1]


def test_a_decoder_learns_to_see_through_noise_on_the_latents_of_a_frozen_encoder(
    recipe, start
) -> None:
    """STARFlow's second stage, from weights of diffusers', and then from the run that this was."""
    noisy = {"posterior": CLAMPED | {"added_noise": 0.3}, "latent_scale": 0.5}
    first = train_alone(starting(recipe, start[0], "frozen_encoder", **noisy))
    reports = [each["values"] for each in read_ledger(first) if each["kind"] == "report"]
    assert all(values["latent/posterior_std"] > 0.3 for values in reports)
    found = averaged(first)
    for name, weight in start[1].items():
        is_encoder = name.startswith("encoder.")
        assert torch.equal(found[f"autoencoder.{name}"], weight) == is_encoder, name

    subject = read_subject(CheckpointStore(f"{first}/checkpoints").latest().url)
    image = torch.rand(1, 1, 8, 8)
    posterior = subject.model.autoencoder.encode(image)
    assert posterior.std.min() >= 0.3

    again = starting(recipe, first, "frozen", **noisy)
    again = again.model_copy(update={"run": again.run.model_copy(update={"name": "third"})})
    check_warm_start(again)
    last = averaged(train_alone(again))
    assert all(torch.equal(last[name], found[name]) for name in found if "autoencoder." in name)


@pytest.fixture(scope="module")
def flow_start(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], str]:
    """Commits random weights of a recipe, and returns the checkpoint's folder."""

    def commit(recipe: Recipe) -> str:
        url = str(tmp_path_factory.mktemp("start") / "checkpoint")
        torch.manual_seed(7)
        weights = JointModel(recipe).state_dict()
        write_checkpoint(Adopted(recipe, weights, 0), url, origin={})
        return url

    return commit


def with_flow(recipe: Callable[..., Recipe], **flow: object) -> Recipe:
    return recipe(flow={"width": 16, "depths": [1, 1], "head_width": 8} | flow)


def test_a_flow_starts_from_a_checkpoints(recipe, flow_start) -> None:
    url = flow_start(with_flow(recipe))
    made = with_flow(recipe, weights=url, label_drop=0.3)
    check_warm_start(made)
    model = build_model(made)
    _, weights, _ = read_averaged(url)
    found = model.flow.state_dict()
    assert all(torch.equal(found[name], weights[f"flow.{name}"]) for name in found)
    drawn = build_model(with_flow(recipe)).state_dict()
    assert torch.equal(  # the rest of the model is drawn as ever
        model.autoencoder.encoder.conv_in.weight, drawn["autoencoder.encoder.conv_in.weight"]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": "softplus"}, r"flow\.scale: exp there, softplus in the recipe"),
        ({"depths": [1, 2]}, r"flow\.depths: \[1, 1\] there, \[1, 2\]"),
        ({"condition": {"kind": "none"}}, r"flow\.condition\.kind: adaptive_norm there, none"),
    ],
)
def test_a_flow_of_another_form_is_refused(recipe, flow_start, change, said) -> None:
    url = flow_start(with_flow(recipe))
    with pytest.raises(CheckpointError, match=said):
        build_model(with_flow(recipe, weights=url, **change))


def test_a_flow_for_other_data_is_refused_by_its_shapes(recipe, flow_start) -> None:
    url = flow_start(with_flow(recipe))
    other = {"classes": 3}
    whole = with_flow(recipe, weights=url)
    made = whole.model_copy(update={"data": whole.data.model_copy(update=other)})
    with pytest.raises(CheckpointError, match=r"misshapen: conditioner\.vectors\.table"):
        build_model(made)


def test_a_flow_that_nothing_trained_is_no_start(recipe, flow_start) -> None:
    url = flow_start(recipe(objective={"route": "autoencoder_only"}))
    with pytest.raises(CheckpointError, match="no flow was trained"):
        build_model(with_flow(recipe, weights=url))


def test_a_start_that_is_absent_or_damaged_is_named_by_its_key(recipe, flow_start) -> None:
    with pytest.raises(CheckpointError, match=r"^flow\.weights: checkpoint=/nowhere"):
        check_warm_start(with_flow(recipe, weights="/nowhere"))
    url = flow_start(with_flow(recipe))
    (Path(url) / "averaged.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"flow\.weights: .* cannot be used"):
        check_warm_start(with_flow(recipe, weights=url))


def test_released_weights_start_both_parts(recipe, flow_start, tmp_path: Path) -> None:
    first = with_flow(recipe)
    released = str(tmp_path / "released")
    write_hub(flow_start(first), released)
    parts = {"weights": released}
    made = with_flow(recipe, **parts).model_copy(
        update={"autoencoder": first.autoencoder.model_copy(update=parts)}
    )
    check_warm_start(made)
    _, weights, _ = read_averaged(released)
    found = build_model(made).state_dict()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
