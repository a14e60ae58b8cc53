"""The freeze rule: a loss that only passes through a module must find its weights frozen.

Two engines share a graph when the decoder's adversarial loss runs through the discriminator. Left
trainable, the discriminator would collect the decoder's gradients: ZeRO-1 lets that happen in
silence, ZeRO-2 and ZeRO-3 fail an assertion.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within, gradients flow through `module` but not into its weights."""
    thawed = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in thawed:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in thawed:
            weight.requires_grad_(True)
