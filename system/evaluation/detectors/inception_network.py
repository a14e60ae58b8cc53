"""The network behind Frechet distances: TensorFlow's Inception-v3 of December 2015, ported.

It is not torchvision's: it tells 1008 classes, its average pools leave padding out of their means,
and its last block pools by the maximum. Parameters have torchvision's names, so that the published
port of the weights fits.

Source: Szegedy et al. 2015, arXiv 1512.00567, as TensorFlow's graph `inception-2015-12-05` has it.
Torch-fidelity's table of weights gives the graph's names in torchvision's words.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

SIDE = 299  # pixels
CLASSES = 1008
SPATIAL_CHANNELS = 7


class Layer(NamedTuple):
    """A convolution of a block. Those that halve the grid are not padded, the others are."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


Chain = tuple[tuple[Layer, ...], ...]  # steps in order; the layers of one step stand side by side


class Convolution(nn.Module):
    """Convolution, normalisation, rectifier."""

    def __init__(self, width_in: int, layer: Layer, padding: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            width_in, layer.width, layer.kernel, layer.stride, padding, bias=False
        )
        self.bn = nn.BatchNorm2d(layer.width, eps=1e-3)

    def forward(self, grid: Float[Tensor, "B C H W"]) -> Float[Tensor, "B c h w"]:
        """The grid that it makes."""
        return self.bn(self.conv(grid)).relu_()


class Block(nn.Module):
    """Chains of convolutions beside a pooled branch; their channels are joined in that order."""

    def __init__(self, width_in: int, chains: tuple[Chain, ...], pool: str, pool_width: int):
        super().__init__()
        self.chains, self.pool, self.pool_width = chains, pool, pool_width
        self.width = pool_width or width_in
        for chain in chains:
            width = width_in
            for step in chain:
                for layer in step:
                    self.add_module(layer.name, Convolution(width, layer, _padding(layer)))
                width = sum(layer.width for layer in step)
            self.width += width
        if pool_width:
            self.branch_pool = Convolution(width_in, Layer("branch_pool", pool_width), (0, 0))

    def forward(self, grid: Float[Tensor, "B C H W"]) -> Float[Tensor, "B c h w"]:
        """Joined channels of all branches."""
        found = [self._along(chain, grid) for chain in self.chains]
        pooled = _pooled(grid, self.pool)
        return torch.cat([*found, self.branch_pool(pooled) if self.pool_width else pooled], dim=1)

    def _along(self, chain: Chain, grid: Tensor) -> Tensor:
        for step in chain:
            grid = torch.cat([self.get_submodule(layer.name)(grid) for layer in step], dim=1)
        return grid


def _padding(layer: Layer) -> tuple[int, int]:
    """Half the kernel, so that the grid keeps its size; none where it is halved."""
    return (layer.kernel[0] // 2, layer.kernel[1] // 2) if layer.stride == 1 else (0, 0)


def _pooled(grid: Tensor, pool: str) -> Tensor:
    if pool == "mean":
        return functional.avg_pool2d(grid, 3, stride=1, padding=1, count_include_pad=False)
    if pool == "maximum":
        return functional.max_pool2d(grid, 3, stride=1, padding=1)
    return functional.max_pool2d(grid, 3, stride=2)


def _chain(prefix: str, *layers: tuple[int, tuple[int, int]], last_stride: int = 1) -> Chain:
    """Convolutions one after the other, numbered from 1."""
    strides = [1] * (len(layers) - 1) + [last_stride]
    return tuple(
        (Layer(f"{prefix}_{number}", *layer, stride),)
        for number, (layer, stride) in enumerate(zip(layers, strides, strict=True), start=1)
    )


def _block_35(width_in: int, pool_width: int) -> Block:
    chains = (
        ((Layer("branch1x1", 64),),),
        _chain("branch5x5", (48, (1, 1)), (64, (5, 5))),
        _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
    )
    return Block(width_in, chains, "mean", pool_width)


def _block_35_to_17(width_in: int) -> Block:
    chains = (
        ((Layer("branch3x3", 384, (3, 3), 2),),),
        _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3)), last_stride=2),
    )
    return Block(width_in, chains, "halve", 0)


def _block_17(width_in: int, inner: int) -> Block:
    wide, tall = (1, 7), (7, 1)
    double = ((inner, tall), (inner, wide), (inner, tall), (192, wide))
    chains = (
        ((Layer("branch1x1", 192),),),
        _chain("branch7x7", (inner, (1, 1)), (inner, wide), (192, tall)),
        _chain("branch7x7dbl", (inner, (1, 1)), *double),
    )
    return Block(width_in, chains, "mean", 192)


def _block_17_to_8(width_in: int) -> Block:
    seven = ((192, (1, 1)), (192, (1, 7)), (192, (7, 1)), (192, (3, 3)))
    chains = (
        _chain("branch3x3", (192, (1, 1)), (320, (3, 3)), last_stride=2),
        _chain("branch7x7x3", *seven, last_stride=2),
    )
    return Block(width_in, chains, "halve", 0)


def _block_8(width_in: int, pool: str) -> Block:
    def fork(prefix: str) -> tuple[Layer, Layer]:
        return Layer(f"{prefix}a", 384, (1, 3)), Layer(f"{prefix}b", 384, (3, 1))

    double = _chain("branch3x3dbl", (448, (1, 1)), (384, (3, 3)))
    chains = (
        ((Layer("branch1x1", 320),),),
        (*_chain("branch3x3", (384, (1, 1))), fork("branch3x3_2")),
        (*double, fork("branch3x3dbl_3")),
    )
    return Block(width_in, chains, pool, 192)


class InceptionNetwork(nn.Module):
    """The network itself, its weights not yet filled in."""

    def __init__(self) -> None:
        super().__init__()
        three = (3, 3)
        self.Conv2d_1a_3x3 = Convolution(3, Layer("1a", 32, three, 2), (0, 0))
        self.Conv2d_2a_3x3 = Convolution(32, Layer("2a", 32, three), (0, 0))
        self.Conv2d_2b_3x3 = Convolution(32, Layer("2b", 64, three), (1, 1))
        self.Conv2d_3b_1x1 = Convolution(64, Layer("3b", 80), (0, 0))
        self.Conv2d_4a_3x3 = Convolution(80, Layer("4a", 192, three), (0, 0))
        self.Mixed_5b = _block_35(192, 32)
        self.Mixed_5c = _block_35(256, 64)
        self.Mixed_5d = _block_35(288, 64)
        self.Mixed_6a = _block_35_to_17(288)
        self.Mixed_6b = _block_17(768, 128)
        self.Mixed_6c = _block_17(768, 160)
        self.Mixed_6d = _block_17(768, 160)
        self.Mixed_6e = _block_17(768, 192)
        self.Mixed_7a = _block_17_to_8(768)
        self.Mixed_7b = _block_8(1280, "mean")
        self.Mixed_7c = _block_8(2048, "maximum")
        self.fc = nn.Linear(2048, CLASSES)

    def forward(
        self, image: Float[Tensor, "B 3 299 299"]
    ) -> tuple[Float[Tensor, "B 2048"], Float[Tensor, "B 2023"], Float[Tensor, "B 1008"]]:
        """Features, spatial features, and logits without bias, of images in [-1, 1)."""
        grid = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(image)))
        grid = functional.max_pool2d(grid, 3, stride=2)
        grid = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(grid))
        grid = functional.max_pool2d(grid, 3, stride=2)
        for block in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d):
            grid = block(grid)
        for block in (self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d):
            grid = block(grid)
        spatial = rearrange(grid[:, :SPATIAL_CHANNELS], "b c h w -> b (h w c)")
        for block in (self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c):
            grid = block(grid)
        features = grid.mean(dim=(2, 3))
        return features, spatial, functional.linear(features, self.fc.weight)
