"""Share of samples whose class is found."""

from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor


def accuracy(logits: Float[Tensor, "B K"], label: Int[Tensor, "B"], top: int = 1) -> float:
    """Share of samples whose label is among the `top` largest logits, in [0, 1]."""
    hits = logits.topk(top, dim=1).indices == label[:, None]
    return hits.any(dim=1).double().mean().item()
