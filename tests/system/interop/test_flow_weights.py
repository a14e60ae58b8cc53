import pytest
import torch

from system.flow.flow import Flow
from system.foundation.settings import flow as settings
from system.interop.flow_weights import FlowWeights
from system.interop.flow_weights import Grid
from system.interop.flow_weights import grid_of

SHAPE = settings.Flow(width=16, depths=(1,), head_width=8, patch=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_builds_the_flow_that_it_was(dtype: torch.dtype) -> None:
    flow = Flow(SHAPE, side=3, token_width=8, classes=5).to(dtype)
    weights = FlowWeights(SHAPE, 3, 2, 5, flow.state_dict())
    assert (weights.size, weights.token_width) == (6, 8)
    assert weights.grid == Grid(side=3, patch=2, channels=2)
    built = weights.build()
    assert built.classes == 5
    for name, value in flow.state_dict().items():
        assert torch.equal(built.state_dict()[name], value)
        assert built.state_dict()[name].dtype == dtype


def test_weights_of_several_types_are_none_of_them_rounded() -> None:
    state = Flow(SHAPE, side=3, token_width=8, classes=5).state_dict()
    first = next(iter(state))
    state[first] = state[first].bfloat16()
    built = FlowWeights(SHAPE, 3, 2, 5, state).build().state_dict()
    assert all(torch.equal(built[name], state[name].float()) for name in state)


@pytest.mark.parametrize(
    ("size", "channels"), [(8, None), (None, 3), (8, 3)], ids=["size", "channels", "both"]
)
def test_a_patch_follows_from_size_or_channels(size: int | None, channels: int | None) -> None:
    assert grid_of(16, 12, size=size, channels=channels) == Grid(side=4, patch=2, channels=3)


@pytest.mark.parametrize(
    ("tokens", "size", "channels", "said"),
    [
        (15, 8, 3, "do not fill a square"),
        (16, None, None, "give channels"),
        (16, 6, None, "do not fit size 6"),
        (16, 2, None, "do not fit size 2"),
        (16, 16, None, "do not fit size 16"),
        (16, None, 4, "do not fit channels 4"),
        (16, None, 13, "do not fit channels 13"),
        (16, None, 0, "do not fit channels 0"),
        (16, None, -3, "do not fit channels -3"),
        (16, 8, 12, "do not fit size 8 and channels 12"),
        (16, 0, None, "do not fit size 0"),
    ],
)
def test_what_does_not_fit_is_said(
    tokens: int, size: int | None, channels: int | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        grid_of(tokens, 12, size=size, channels=channels)
