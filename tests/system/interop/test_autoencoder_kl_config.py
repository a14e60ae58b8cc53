import pytest

from system.foundation.errors import CheckpointError
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import LearnedPosterior
from system.interop.autoencoder_kl_config import CLAMPS
from system.interop.autoencoder_kl_config import config_of
from system.interop.autoencoder_kl_config import read_config
from system.interop.autoencoder_kl_config import settings_of

# The whole config.json of Stable Diffusion's autoencoder.
STABLE_DIFFUSION = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.4.2",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}


def test_stable_diffusions_autoencoder_is_a_recipe_of_ours() -> None:
    assert settings_of(read_config(STABLE_DIFFUSION)) == Convolutional(
        width=128,
        multipliers=(1, 2, 4, 4),
        blocks_per_level=2,
        latent_channels=4,
        posterior=LearnedPosterior(min_log_std=-15, max_log_std=10),
        latent_scale=0.18215,
    )


def test_the_config_comes_back() -> None:
    config = read_config(STABLE_DIFFUSION | {"shift_factor": 0.0609})
    shape = settings_of(config)
    assert shape.latent_shift == 0.0609
    assert config_of(shape, 3) == config.model_copy(update={"sample_size": 32})


def test_every_key_that_cannot_be_taken_is_named() -> None:
    given = STABLE_DIFFUSION | {
        "_class_name": "VQModel",
        "act_fn": "relu",
        "latents_mean": [0.0] * 4,
        "down_block_types": ["AttnDownEncoderBlock2D"] * 4,
        "surprise": 1,
    }
    with pytest.raises(CheckpointError) as error:
        read_config(given)
    for key in ("_class_name: VQModel", "act_fn", "latents_mean", "down_block_types.0", "surprise"):
        assert key in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"out_channels": 1}, "out_channels 1 are not in_channels"),
        ({"block_out_channels": [128, 192, 512, 512]}, "no multiples of the first"),
        ({"norm_num_groups": 16}, "norm_num_groups 16; here, by width"),
        ({"up_block_types": ["UpDecoderBlock2D"]}, "differ in number"),
    ],
)
def test_networks_that_ours_cannot_be_are_refused(change, said) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_config(STABLE_DIFFUSION | change)


def test_networks_that_theirs_cannot_be_are_refused_with_every_reason() -> None:
    shape = Convolutional(
        width=32,
        multipliers=(2, 1),
        latent_channels=4,
        normalise="batch",
        posterior=LearnedPosterior(),
    )
    with pytest.raises(CheckpointError) as error:
        config_of(shape, 3)
    for reason in ("multipliers begin with 2", "normalise is batch", "group norms", str(CLAMPS)):
        assert reason in str(error.value)
