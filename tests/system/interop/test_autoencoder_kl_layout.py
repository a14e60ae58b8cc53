import torch

from system.autoencoder.autoencoder import Autoencoder
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.foundation.settings.autoencoder import LearnedPosterior
from system.interop.autoencoder_kl_layout import kl_layout
from system.interop.autoencoder_kl_layout import own_layout
from system.interop.autoencoder_kl_layout import put_together
from system.interop.autoencoder_kl_layout import take_apart
from system.interop.autoencoder_kl_layout import with_spread

SHAPE = Convolutional(
    width=8,
    multipliers=(1, 2),
    blocks_per_level=1,
    latent_channels=2,
    posterior=LearnedPosterior(),
)


def weights(**changes: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Autoencoder(SHAPE.model_copy(update=changes), 1).state_dict()


def test_what_is_taken_apart_comes_together_exactly() -> None:
    whole = weights()
    apart = take_apart(whole)
    assert apart["encoder.middle.1.key.weight"].shape == (16, 16)
    again = put_together(apart)
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_only_the_rows_of_the_spread_are_doubled() -> None:
    whole = weights()["encoder.to_posterior.bias"]
    apart = take_apart({"encoder.to_posterior.bias": whole})["encoder.to_posterior.bias"]
    assert torch.equal(apart, whole * torch.tensor([1, 1, 2, 2]))


def test_every_weight_has_one_place_in_either_layout() -> None:
    whole = weights()
    assert [entry.name for entry in own_layout(SHAPE, 1)] == list(whole)
    layout = kl_layout(SHAPE, 1)
    assert {entry.to for entry in layout} == take_apart(whole).keys()
    assert len({entry.name for entry in layout}) == len(layout)
    names = {entry.name for entry in layout}
    assert "decoder.up_blocks.0.resnets.1.conv2.weight" in names
    assert "encoder.down_blocks.1.resnets.0.conv_shortcut.bias" in names


def test_a_fixed_spread_fills_the_rows_of_a_learned_one() -> None:
    fixed = weights(posterior=FixedPosterior())
    padded = with_spread(fixed, -0.5)
    assert {name: tensor.shape for name, tensor in padded.items()} == {
        name: tensor.shape for name, tensor in weights().items()
    }
    assert padded["encoder.to_posterior.bias"][2:].tolist() == [-0.5, -0.5]
