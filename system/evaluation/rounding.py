"""From the decoder's pixels in [-1, 1] to 8 bits, by the rules that released evaluations use.

- `half_to_even`: 127.5 (x + 1), rounded to the nearest level. The rule of this project.
- `half_up`: 127.5 x + 128, truncated (SiT).
- `truncate`: (x + 1) / 2 * 255, truncated, in this order (REPA, TARFlow); on average half a level
  darker, and of 256 levels that were 8 bits before it lowers 63 by one.

Source: reference implementations named above; the count is that of float32 arithmetic.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from jaxtyping import UInt8
from torch import Tensor

from system.foundation.errors import NumericsError

Rule = Literal["half_to_even", "half_up", "truncate"]
NAMED = 8  # numbers of broken images that a message lists


def to_uint8(
    image: Float[Tensor, "B C H W"], rule: Rule = "half_to_even", numbers: range | None = None
) -> UInt8[Tensor, "B C H W"]:
    """Images in [-1, 1] as 8 bits on the CPU, clamped.

    `numbers` are those that an error names them by. Raises NumericsError where a pixel is not
    finite.
    """
    refuse_broken(broken(image, numbers or range(len(image))), len(image))
    return quantised(image, rule)


def quantised(image: Float[Tensor, "B C H W"], rule: Rule) -> UInt8[Tensor, "B C H W"]:
    """The same without a look at whether pixels are finite."""
    if rule == "half_to_even":
        level = ((image + 1) * 127.5).round()
    elif rule == "half_up":
        level = image * 127.5 + 128
    else:
        level = (image + 1) / 2 * 255
    return level.clamp(0, 255).to(torch.uint8).cpu()  # conversion truncates


def broken(image: Float[Tensor, "B C H W"], numbers: range) -> list[int]:
    """The numbers of those images that have pixels which are not finite."""
    found = (~torch.isfinite(image)).flatten(1).any(dim=1).tolist()
    return [number for number, bad in zip(numbers, found, strict=True) if bad]


def refuse_broken(numbers: Iterable[int], count: int) -> None:
    """Raise NumericsError where images out of `count` are broken: none is ever made again."""
    numbers = list(numbers)
    if not numbers:
        return
    listed = ", ".join(str(number) for number in numbers[:NAMED])
    more = ", ..." if len(numbers) > NAMED else ""
    raise NumericsError(
        f"found {len(numbers)} of {count} images with pixels that are not finite (numbers {listed}"
        f"{more}); expected none. Either the weights have diverged (see the run's losses and "
        "skipped updates), or guidance_rule=linear has left what float32 holds: take a smaller "
        "guidance, or guidance_rule=starflow"
    )
