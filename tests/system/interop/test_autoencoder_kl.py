import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from diffusers import AutoencoderKL

from system.autoencoder.autoencoder import Autoencoder
from system.foundation import storage
from system.foundation.errors import CheckpointError
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.interop.autoencoder_kl import is_autoencoder_kl
from system.interop.autoencoder_kl import load_autoencoder_kl
from system.interop.autoencoder_kl import save_autoencoder_kl
from system.interop.autoencoder_kl import to_autoencoder_kl

SMALL = {
    "block_out_channels": [16, 16],
    "layers_per_block": 2,
    "latent_channels": 3,
    "norm_num_groups": 4,
}
# Three resolutions of two widths, thirty-two groups, no attention, no maps around the latent.
BARE = {
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [128, 128, 256],
    "layers_per_block": 1,
    "latent_channels": 2,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "mid_block_add_attention": False,
}
ATTENTION = ".mid_block.attentions.0."


def theirs(config: dict) -> AutoencoderKL:
    """Diffusers' own network with random weights, none of them zero."""
    torch.manual_seed(0)
    levels = len(config["block_out_channels"])
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        **config,
    )
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
            assert weight.all()
    return network.eval()


def settings(network: AutoencoderKL) -> dict:
    """What its config.json holds."""
    return json.loads(network.to_json_string())


def ours(shape: Convolutional, weights: dict, channels: int) -> Autoencoder:
    model = Autoencoder(shape, channels).to(next(iter(weights.values())).dtype)
    model.load_state_dict(weights)
    return model.eval()


def largest(difference: torch.Tensor, of: torch.Tensor) -> float:
    return (difference.abs().max() / of.abs().max()).item()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("config", [SMALL, BARE], ids=["small", "bare"])
@torch.no_grad()
def test_images_and_latents_are_diffusers_own(config, dtype, bound) -> None:
    """Largest difference over largest value."""
    network = theirs(config).to(dtype)
    shape, weights = load_autoencoder_kl(network.state_dict(), settings(network))
    channels = network.config.in_channels
    model = ours(shape, weights, channels)
    image = torch.rand(2, channels, 16, 8, dtype=dtype) * 2 - 1
    found, expected = model.encode(image), network.encode(image).latent_dist
    scale, shift = network.config.scaling_factor, network.config.shift_factor or 0
    mean, std = (expected.mean - shift) * scale, expected.std * scale
    assert found.mean.dtype == dtype
    assert largest(found.mean - mean, mean) <= bound
    assert largest(found.std - std, std) <= bound
    decoded = network.decode(expected.mean).sample
    assert largest(model.decode(mean) - decoded, decoded) <= bound


@pytest.mark.parametrize("config", [SMALL, BARE], ids=["small", "bare"])
def test_round_trips_are_exact(config) -> None:
    network = theirs(config)
    shape, weights = load_autoencoder_kl(network.state_dict(), settings(network))
    written, state = to_autoencoder_kl(shape, weights)
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[name], each) for name, each in network.state_dict().items())
    assert all(written[key] == settings(network)[key] for key in written)
    again, ours_again = load_autoencoder_kl(state, written)
    assert again == shape
    assert all(torch.equal(ours_again[name], each) for name, each in weights.items())


def test_older_names_and_attention_as_convolutions_are_read_alike() -> None:
    network = theirs(SMALL)
    state = network.state_dict()
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    aged = {}
    for name, tensor in state.items():
        inner, _, leaf = name.partition(ATTENTION)[2].rpartition(".")
        if inner in older:
            name = name.replace(inner, older[inner])
            tensor = tensor[:, :, None, None] if leaf == "weight" else tensor
        aged[name] = tensor
    assert aged.keys() != state.keys()
    _, expected = load_autoencoder_kl(state, settings(network))
    _, found = load_autoencoder_kl(aged, settings(network))
    assert all(torch.equal(found[name], each) for name, each in expected.items())


def test_half_precision_is_read_as_float32() -> None:
    network = theirs(SMALL).half()
    _, weights = load_autoencoder_kl(network.state_dict(), settings(network))
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_every_key_that_does_not_fit_is_named() -> None:
    network = theirs(SMALL)
    state = dict(network.state_dict())
    del state["quant_conv.bias"], state["encoder.conv_in.weight"]
    state["decoder.conv_out.bias"] = torch.zeros(5)
    state["loss.logvar"] = torch.zeros(())
    state[f"encoder{ATTENTION}query.bias"] = torch.zeros(16)
    state["epoch"] = 3
    with pytest.raises(CheckpointError) as error:
        load_autoencoder_kl(state, settings(network))
    for name in (
        "quant_conv.bias",
        "encoder.conv_in.weight",
        "decoder.conv_out.bias",
        "loss.logvar",
        f"encoder{ATTENTION}query.bias",
        "epoch",
    ):
        assert name in str(error.value)


def test_a_map_that_the_config_rules_out_is_not_ignored() -> None:
    network = theirs(SMALL)
    given = settings(network) | {"use_quant_conv": False}
    with pytest.raises(CheckpointError, match=r"quant_conv\.weight: the config says"):
        load_autoencoder_kl(network.state_dict(), given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What diffusers saves."""
    theirs(SMALL).save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def test_folders_files_and_pickles_hold_the_same(folder: Path) -> None:
    shape, weights = load_autoencoder_kl(str(folder))
    file = folder / "diffusion_pytorch_model.safetensors"
    torch.save(safetensors.torch.load_file(file), folder / "weights.pt")
    torch.save(safetensors.torch.load_file(file), folder / "diffusion_pytorch_model.bin")
    for source in (file, folder / "weights.pt", folder / "diffusion_pytorch_model.bin"):
        found = load_autoencoder_kl(str(source))
        assert found[0] == shape
        assert all(torch.equal(found[1][name], each) for name, each in weights.items())
    file.unlink()
    assert load_autoencoder_kl(str(folder))[1].keys() == weights.keys()


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://autoencoder-kl"
    storage.remove("memory://autoencoder-kl")


def test_what_is_saved_at_a_url_diffusers_reads(folder, memory, tmp_path) -> None:
    shape, weights = load_autoencoder_kl(str(folder))
    assert is_autoencoder_kl(str(folder))
    assert not is_autoencoder_kl(memory)
    save_autoencoder_kl(memory, shape, weights)
    assert is_autoencoder_kl(memory)
    for name in storage.list_names(memory):
        storage.copy_in(storage.join(memory, name), tmp_path / "copy" / name)
    read = AutoencoderKL.from_pretrained(tmp_path / "copy")
    expected = AutoencoderKL.from_pretrained(folder).state_dict()
    assert all(torch.equal(each, expected[name]) for name, each in read.state_dict().items())


@torch.no_grad()
def test_a_fixed_spread_becomes_a_constant_one() -> None:
    torch.manual_seed(0)
    shape = Convolutional(
        width=16,
        multipliers=(1, 1),
        blocks_per_level=1,
        latent_channels=3,
        posterior=FixedPosterior(std=0.5),
    )
    model = Autoencoder(shape, 1).eval()
    config, state = to_autoencoder_kl(shape, model.state_dict())
    network = AutoencoderKL.from_config(config).eval()
    network.load_state_dict(state)
    image = torch.rand(2, 1, 8, 8)
    found, expected = network.encode(image).latent_dist, model.encode(image)
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std, torch.full_like(found.mean, 0.5))
    learned, weights = load_autoencoder_kl(state, config)
    again = ours(learned, weights, 1).encode(image)
    torch.testing.assert_close(again.mean, expected.mean, atol=1e-5, rtol=0)


def test_weights_of_another_shape_are_not_written() -> None:
    shape, weights = load_autoencoder_kl(theirs(SMALL).state_dict(), settings(theirs(SMALL)))
    wider = shape.model_copy(update={"blocks_per_level": 1})
    with pytest.raises(CheckpointError, match=r"encoder\.levels\.4"):
        to_autoencoder_kl(wider, weights)
    with pytest.raises(CheckpointError, match=r"encoder\.conv_in\.weight is not among them"):
        to_autoencoder_kl(shape, {})


def test_a_state_dict_needs_its_config() -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_autoencoder_kl({})


class Program:
    """Unpickling this would run something."""

    def __reduce__(self):
        return (print, ("ran",))


def test_places_that_hold_no_weights_are_refused(folder, tmp_path, capsys) -> None:
    with pytest.raises(CheckpointError, match="no AutoencoderKL at"):
        load_autoencoder_kl(str(tmp_path))
    with pytest.raises(CheckpointError, match="there is no such file"):
        load_autoencoder_kl(str(folder / "absent.safetensors"))
    program = io.BytesIO()
    torch.save({"weight": Program()}, program)
    plain = io.BytesIO()
    torch.save([1], plain)
    for name, content in {
        "cut.safetensors": b"1234",
        "cut.bin": b"1234",
        "program.pt": program.getvalue(),
        "list.pt": plain.getvalue(),
    }.items():
        (folder / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"cannot be read|holds a list"):
            load_autoencoder_kl(str(folder / name))
    assert capsys.readouterr().out == ""
    (folder / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="holds no mapping"):
        load_autoencoder_kl(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is no JSON"):
        load_autoencoder_kl(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="is missing: it says"):
        load_autoencoder_kl(str(folder))
