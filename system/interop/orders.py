"""Orders of rows and columns that differ between ml-starflow and ours: of heads and of patches."""

import torch
from einops import rearrange
from jaxtyping import Int
from torch import Tensor

from system.interop.layout import Reorder


def qkv_order(width: int, head_width: int, *, mirrored: bool) -> Reorder:
    """Rows of queries and keys from neighbouring pairs to halves of a head; values stay.

    `mirrored` negates the second of each pair, of queries and keys: as complex numbers they are
    conjugated, so that they may be turned by positions that run the other way.
    """
    rows = torch.arange(width)
    halves = rearrange(rows, "(n pair two) -> (n two pair)", two=2, pair=head_width // 2)
    sign = torch.ones(width)
    if mirrored:
        sign = rearrange(sign, "(n two pair) -> n two pair", two=2, pair=head_width // 2)
        sign[:, 1] = -1
        sign = sign.flatten()
    return Reorder(
        torch.cat([halves, width + halves, 2 * width + rows]),
        torch.cat([sign, sign, torch.ones(width)]) if mirrored else None,
    )


def token_order(channels: int, patch: int) -> Int[Tensor, "D"]:
    """Where each number of our tokens (channel, row, column) stands in theirs (row, column,
    channel)."""
    numbers = torch.arange(channels * patch**2)
    return rearrange(numbers, "(p q c) -> (c p q)", p=patch, q=patch)


def affine_order(channels: int, patch: int) -> Int[Tensor, "D2"]:
    """The same for what a block puts out: raw scales, then shifts, of all numbers of a token."""
    order = token_order(channels, patch)
    return torch.cat([order, len(order) + order])
