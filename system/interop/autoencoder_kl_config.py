"""The config.json of diffusers' AutoencoderKL as settings of ours, and back.

Only what the two can both say is taken: a key that would make another network, or that is unknown
here, is refused by name rather than left out.
"""

from collections.abc import Mapping
from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import ValidationError

from system.foundation.errors import CheckpointError
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.interop.differences import listed
from system.layers.convolution import group_norm

CLASS = "AutoencoderKL"
# Of the logarithm of the standard deviation; diffusers clamps that of the variance to -30 and 20.
CLAMPS = {"min_log_std": -15.0, "max_log_std": 10.0}


class Config(Record):
    """The keys of AutoencoderKL with diffusers' own defaults."""

    in_channels: PositiveInt = 3
    out_channels: PositiveInt = 3
    down_block_types: tuple[Literal["DownEncoderBlock2D"], ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[Literal["UpDecoderBlock2D"], ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[PositiveInt, ...] = Field((64,), min_length=1)
    layers_per_block: PositiveInt = 1
    act_fn: Literal["silu", "swish"] = "silu"
    latent_channels: PositiveInt = 4
    norm_num_groups: PositiveInt = 32
    sample_size: int | tuple[int, ...] = 32  # of tiles, which we do not cut
    scaling_factor: PositiveFloat = 0.18215
    shift_factor: float | None = None
    latents_mean: None = None
    latents_std: None = None
    force_upcast: bool = True  # we compute in the type of the weights
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True


def read_config(given: Mapping[str, Any]) -> Config:
    """The config, checked. Raises CheckpointError listing every key that cannot be used."""
    kind = given.get("_class_name", CLASS)
    problems = [] if kind == CLASS else [f"_class_name: {kind}, expected {CLASS}"]
    config = Config()
    try:
        config = Config(**{key: given[key] for key in given if not key.startswith("_")})
    except ValidationError as error:
        problems += [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}, found {each['input']!r:.60}"
            for each in error.errors()
        ]
    else:
        problems += _misfits(config)
    if problems:
        raise CheckpointError(f"the config of this {CLASS} cannot be read:{listed(problems)}")
    return config


def _misfits(config: Config) -> list[str]:
    """What diffusers could build of these keys, and we cannot."""
    channels, misfits = config.block_out_channels, []
    if not len(config.down_block_types) == len(config.up_block_types) == len(channels):
        misfits.append("block_out_channels, down_block_types and up_block_types differ in number")
    if config.in_channels != config.out_channels:
        misfits.append(f"out_channels {config.out_channels} are not in_channels")
    if any(width % channels[0] for width in channels):
        misfits.append(f"block_out_channels {channels} are no multiples of the first")
    groups = {width: group_norm(width).num_groups for width in channels}
    if set(groups.values()) != {config.norm_num_groups}:
        misfits.append(f"norm_num_groups {config.norm_num_groups}; here, by width, {groups}")
    return misfits


def settings_of(config: Config) -> Convolutional:
    """What a recipe's `autoencoder` says for it."""
    width = config.block_out_channels[0]
    return Convolutional(
        width=width,
        multipliers=tuple(channels // width for channels in config.block_out_channels),
        blocks_per_level=config.layers_per_block,
        latent_channels=config.latent_channels,
        attention=config.mid_block_add_attention,
        posterior=LearnedPosterior(**CLAMPS),
        latent_shift=config.shift_factor or 0.0,
        latent_scale=config.scaling_factor,
    )


def config_of(shape: Convolutional, image_channels: int) -> Config:
    """The config of an autoencoder of ours.

    Raises CheckpointError listing what AutoencoderKL cannot be. Noise added to draws is no part of
    the network and goes unsaid.
    """
    levels = len(shape.multipliers)
    widths = tuple(shape.width * multiplier for multiplier in shape.multipliers)
    problems = []
    if shape.multipliers[0] != 1:
        problems.append(f"multipliers begin with {shape.multipliers[0]}, expected 1")
    if shape.normalise != "none":
        problems.append(f"normalise is {shape.normalise}, expected none")
    groups = {width: group_norm(width).num_groups for width in widths}
    if len(set(groups.values())) > 1:
        problems.append(f"group norms have {groups} groups, expected one number for all")
    if isinstance(shape.posterior, LearnedPosterior):
        clamps = shape.posterior.model_dump(include=set(CLAMPS))
        if clamps != CLAMPS:
            problems.append(
                f"posterior has {clamps}, expected {CLAMPS}: state those in the settings that you "
                "give, if no spread of yours reaches its clamps"
            )
    if problems:
        raise CheckpointError(f"this autoencoder cannot be an {CLASS}:{listed(problems)}")
    return Config(
        in_channels=image_channels,
        out_channels=image_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=widths,
        layers_per_block=shape.blocks_per_level,
        latent_channels=shape.latent_channels,
        norm_num_groups=groups[widths[0]],
        scaling_factor=shape.latent_scale,
        shift_factor=shape.latent_shift or None,
        mid_block_add_attention=shape.attention,
    )
