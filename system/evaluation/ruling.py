"""Which of a protocol's numbers rules where one is to be the best: a checkpoint, a sampler."""

RULING = {"dinov2": "evaluation/fd_dinov2"}


def ruling_score(kind: str) -> str:
    """The number of drawn images that decides, the lowest being best, by the kind of evaluation."""
    return RULING.get(kind, "evaluation/gfid")
