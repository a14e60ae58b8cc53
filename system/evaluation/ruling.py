"""Which of a protocol's numbers rules where one is to be the best: a checkpoint, a sampler."""

from typing import Literal

Ruling = Literal["gfid", "fd_dinov2"]


def ruling_distance(kind: str) -> Ruling:
    """The distance that decides, the lowest being best, by the kind of evaluation."""
    return "fd_dinov2" if kind == "dinov2" else "gfid"


def ruling_score(kind: str) -> str:
    """The same as records name it."""
    return f"evaluation/{ruling_distance(kind)}"
