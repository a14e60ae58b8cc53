"""Tiny timm models of random weights, as teachers for tests."""

import json
from typing import Any

import timm
import torch

from system.alignment.weights import write_weights
from system.foundation.settings.objective import Teacher

NAME = "vit_tiny_patch16_224"
SHAPE = {"img_size": 8, "patch_size": 2, "embed_dim": 16, "depth": 2, "num_heads": 2}


def write_teacher(
    url: str, *, side: int = 8, channels: int = 1, **keys: Any
) -> tuple[Teacher, torch.nn.Module]:
    """The settings that find a model written to `url`, and the model with its classifier."""
    arguments = SHAPE | {"img_size": side, "in_chans": channels}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(NAME, num_classes=10, **arguments).eval()
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    metadata = {"model": NAME, "model_args": json.dumps(arguments)}
    write_weights(url, model.state_dict(), metadata)
    return Teacher(**({"model": NAME, "weights": url, "width": 16} | keys)), model
