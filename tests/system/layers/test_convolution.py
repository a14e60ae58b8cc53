import pytest
import torch

from system.layers.convolution import Downsample
from system.layers.convolution import ResidualBlock
from system.layers.convolution import SpatialAttention
from system.layers.convolution import Upsample
from system.layers.convolution import group_norm


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(128, 32), (512, 32), (64, 16), (16, 4), (8, 2), (24, 4), (3, 1), (6, 1)],
)
def test_groups_divide_the_channels_and_hold_at_least_four(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


@pytest.mark.parametrize("channels_out", [8, 12])
def test_a_residual_block_keeps_the_grid_and_adds_to_its_input(channels_out: int) -> None:
    block = ResidualBlock(8, channels_out)
    features = torch.randn(2, 8, 5, 7)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    assert torch.equal(block(features), block.shortcut(features))
    assert block(features).shape == (2, channels_out, 5, 7)


def test_resampling_halves_and_doubles_the_grid() -> None:
    features = torch.randn(2, 8, 6, 4)
    assert Downsample(8)(features).shape == (2, 8, 3, 2)
    assert Upsample(8)(features).shape == (2, 8, 12, 8)


def test_spatial_attention_lets_every_cell_see_every_other() -> None:
    attention = SpatialAttention(8).double()
    features = torch.randn(1, 8, 3, 4, dtype=torch.float64, requires_grad=True)
    attention(features)[0, 0, 0, 0].backward()
    assert features.grad is not None
    assert (features.grad.abs().sum(dim=(0, 1)) > 0).all()
