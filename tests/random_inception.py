"""Weights of the Inception network that look like trained ones, drawn from a seed."""

from pathlib import Path

import torch
from torch import Tensor

from system.evaluation.detectors.inception_network import InceptionNetwork


def random_inception(seed: int) -> dict[str, Tensor]:
    """He's normal start and normalisations that are not neutral: activations keep their size."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in InceptionNetwork().state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            continue  # the published file has none either
        draw = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            weights[name] = draw * (2 / shape[1:].numel()) ** 0.5
        elif name.endswith(("running_var", "bn.weight")):
            weights[name] = (0.2 * draw).exp()
        else:
            weights[name] = 0.2 * draw
    return weights


def write_random_inception(path: Path, seed: int = 0) -> str:
    """Write such weights as the published file is written; its path."""
    torch.save(random_inception(seed), path)
    return str(path)
