import pytest
import torch
from einops import rearrange

from system.flow.flow import to_tokens
from system.interop.orders import affine_order
from system.interop.orders import qkv_order
from system.interop.orders import token_order
from system.layers.embedding import axial_rotary


@pytest.mark.parametrize(("channels", "patch"), [(3, 2), (4, 1), (1, 3)])
def test_numbers_of_a_token_change_places_as_channels_move(channels: int, patch: int) -> None:
    image = torch.arange(channels * patch**2 * 4.0).reshape(1, channels, 2 * patch, 2 * patch)
    channels_last = rearrange(image, "b c (h p) (w q) -> b (h w) (p q c)", p=patch, q=patch)
    order = token_order(channels, patch)
    assert torch.equal(channels_last[..., order], to_tokens(image, patch))
    both = affine_order(channels, patch)
    twice = torch.cat([channels_last, 100 + channels_last], dim=-1)
    ours = torch.cat([to_tokens(image, patch), 100 + to_tokens(image, patch)], dim=-1)
    assert torch.equal(twice[..., both], ours)


@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_queries_meet_turned_keys_as_they_did(mirrored: bool) -> None:
    """Logits of neighbouring pairs at each place, and of halves at each token."""
    side, heads, width = 3, 2, 16
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3 * width, side**2, generator=generator, dtype=torch.float64)
    order = qkv_order(width, width // heads, mirrored=mirrored)
    rotary = axial_rotary(side, width // heads // 2, 10_000.0, dtype=torch.float64)
    place = rotary[torch.arange(side**2).flip(0)] if mirrored else rotary

    def logits(rows: torch.Tensor, turn) -> torch.Tensor:
        query, key, _ = rearrange(rows, "(three n k) t -> three n t k", three=3, n=heads)
        return turn(query) @ turn(key).transpose(-1, -2)

    def neighbours(values: torch.Tensor) -> torch.Tensor:
        turn = torch.complex(rotary.cos, rotary.sin)
        pairs = rearrange(values, "... (pair two) -> ... pair two", two=2).contiguous()
        return torch.view_as_real(torch.view_as_complex(pairs) * turn).flatten(-2)

    theirs = logits(rows, neighbours)
    ours = logits(order.ours(rows), lambda values: place.turn(values[None])[0])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert torch.equal(order.ours(rows)[2 * width :], rows[2 * width :])
