"""Where each tensor of diffusers' AutoencoderKL is in an autoencoder of ours.

Taken apart, our weights are theirs under other names: query, key and value by themselves, linear
maps without the axes of a convolution, and the posterior's last rows doubled, since theirs tell the
logarithm of the variance and ours that of the standard deviation. Halving and doubling are exact in
binary numbers.
"""

from collections.abc import Iterator
from collections.abc import Mapping

import torch
from torch import Tensor

from system.autoencoder.autoencoder import Autoencoder
from system.foundation.settings.autoencoder import Convolutional
from system.interop.layout import Moved

ATTENTION = "mid_block.attentions.0"
QUANT, POST_QUANT = "quant_conv", "post_quant_conv"
POSTERIOR = "encoder.to_posterior"
PARTS = ("query", "key", "value")


def own_layout(shape: Convolutional, image_channels: int) -> list[Moved]:
    """Every weight of ours under its own name."""
    sizes = _on_meta(shape, image_channels)
    return [Moved(name, name, tuple(tensor.shape)) for name, tensor in sizes.items()]


def kl_layout(shape: Convolutional, image_channels: int) -> list[Moved]:
    """Every tensor of theirs, and which of ours, taken apart, it is."""
    theirs = dict(_modules(shape))
    moves = []
    for name, tensor in take_apart(_on_meta(shape, image_channels)).items():
        module, _, leaf = name.rpartition(".")
        moves.append(Moved(f"{theirs[module]}.{leaf}", name, tuple(tensor.shape)))
    return moves


def take_apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights as they stand in theirs."""
    apart: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        module, _, leaf = name.rpartition(".")
        place, _, last = module.rpartition(".")
        if last == "qkv":
            pieces = _linear(tensor).chunk(3)
            apart |= {
                f"{place}.{part}.{leaf}": piece for part, piece in zip(PARTS, pieces, strict=True)
            }
        elif place.endswith("middle.1") and last == "out":
            apart[name] = _linear(tensor)
        elif module == POSTERIOR:
            apart[name] = _with_spread_times(2.0, tensor)
        else:
            apart[name] = tensor
    return apart


def put_together(apart: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `take_apart`."""
    weights: dict[str, Tensor] = {}
    for name, tensor in apart.items():
        module, _, leaf = name.rpartition(".")
        place, _, last = module.rpartition(".")
        if last == PARTS[0]:
            pieces = torch.cat([apart[f"{place}.{part}.{leaf}"] for part in PARTS])
            weights[f"{place}.qkv.{leaf}"] = _convolution(pieces)
        elif place.endswith("middle.1") and last == "out":
            weights[name] = _convolution(tensor)
        elif module == POSTERIOR:
            weights[name] = _with_spread_times(0.5, tensor)
        elif last not in PARTS:
            weights[name] = tensor
    return weights


def with_spread(weights: Mapping[str, Tensor], log_std: float) -> dict[str, Tensor]:
    """The weights of a fixed posterior as those of a learned one that is the same everywhere."""
    padded = dict(weights)
    for module in ("encoder.conv_out", POSTERIOR):
        weight, bias = padded[f"{module}.weight"], padded[f"{module}.bias"]
        padded[f"{module}.weight"] = torch.cat([weight, torch.zeros_like(weight)])
        padded[f"{module}.bias"] = torch.cat([bias, torch.zeros_like(bias)])
    weight = padded[f"{POSTERIOR}.weight"]
    padded[f"{POSTERIOR}.weight"] = torch.cat([weight, torch.zeros_like(weight)], dim=1)
    mean = padded[f"{POSTERIOR}.bias"].chunk(2)[0]
    padded[f"{POSTERIOR}.bias"] = torch.cat([mean, torch.full_like(mean, log_std)])
    return padded


def _with_spread_times(factor: float, tensor: Tensor) -> Tensor:
    mean, log_spread = tensor.chunk(2)
    return torch.cat([mean, factor * log_spread])


def _linear(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[:2])


def _convolution(tensor: Tensor) -> Tensor:
    return tensor[:, :, None, None] if tensor.ndim == 2 else tensor


def _on_meta(shape: Convolutional, image_channels: int) -> dict[str, Tensor]:
    with torch.device("meta"):
        return Autoencoder(shape, image_channels).state_dict()


def _modules(shape: Convolutional) -> Iterator[tuple[str, str]]:
    """Pairs of a module of ours, attention taken apart, and its name in theirs."""
    yield "encoder.to_posterior", QUANT
    yield "decoder.from_latent", POST_QUANT
    for part, blocks, sampler, count in (
        ("encoder", "down_blocks", "downsamplers", shape.blocks_per_level),
        ("decoder", "up_blocks", "upsamplers", shape.blocks_per_level + 1),
    ):
        yield f"{part}.conv_in", f"{part}.conv_in"
        yield f"{part}.norm_out", f"{part}.conv_norm_out"
        yield f"{part}.conv_out", f"{part}.conv_out"
        yield from _residual(f"{part}.middle.0", f"{part}.mid_block.resnets.0")
        last = 2 if shape.attention else 1
        yield from _residual(f"{part}.middle.{last}", f"{part}.mid_block.resnets.1")
        if shape.attention:
            yield f"{part}.middle.1.norm", f"{part}.{ATTENTION}.group_norm"
            for ours, name in (("query", "to_q"), ("key", "to_k"), ("value", "to_v")):
                yield f"{part}.middle.1.{ours}", f"{part}.{ATTENTION}.{name}"
            yield f"{part}.middle.1.out", f"{part}.{ATTENTION}.to_out.0"
        for level in range(len(shape.multipliers)):
            first = level * (count + 1)
            for block in range(count):
                there = f"{part}.{blocks}.{level}.resnets.{block}"
                yield from _residual(f"{part}.levels.{first + block}", there)
            there = f"{part}.{blocks}.{level}.{sampler}.0.conv"
            yield f"{part}.levels.{first + count}.conv", there


def _residual(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for name in ("norm1", "conv1", "norm2", "conv2"):
        yield f"{ours}.{name}", f"{theirs}.{name}"
    yield f"{ours}.shortcut", f"{theirs}.conv_shortcut"
