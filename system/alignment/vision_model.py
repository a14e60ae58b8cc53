"""A timm model with its weights, at the size of images it is wanted for."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch import nn

from system.alignment.weights import KEY
from system.alignment.weights import WeightsFile
from system.alignment.weights import create
from system.alignment.weights import fill
from system.alignment.weights import from_hub
from system.foundation.errors import BadInput


def build(
    name: str, side: int | None, file: WeightsFile | None, classes: int = 0, key: str = KEY
) -> tuple[nn.Module, int]:
    """The model, and the side of the images that it looks at: its own where `side` is None.

    Without a file timm's hub is asked. `key` is what an error speaks of. Raises BadInput where the
    weights do not fit, or the model cannot look at images of this size.
    """
    arguments, size = _arguments(name, side, {} if file is None else file.arguments)
    with torch.random.fork_rng(devices=[]):  # timm draws the weights that are then replaced
        if file is None:
            model = from_hub(name, arguments)
        else:
            model = create(name, arguments, classes, key)
            fill(model, file, key)
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", (1,))[0]
    if size % patch:
        raise BadInput(
            f"{key}.image_size {size} is not a multiple of {patch}, the side of a patch of "
            f"{name}; take {max(1, round(size / patch)) * patch}"
        )
    return model, size


def channels_of(model: nn.Module) -> int:
    """Channels of the images it looks at: of its first convolution, which a file may have set."""
    from timm.data import resolve_model_data_config

    first = next((each for each in model.modules() if isinstance(each, nn.Conv2d)), None)
    return resolve_model_data_config(model)["input_size"][0] if first is None else first.in_channels


def per_channel(values: tuple[float, ...], channels: int) -> Float[Tensor, "C 1 1"]:
    """One number a channel: a grey model takes the mean over colours."""
    given = torch.tensor(values, dtype=torch.float32)
    chosen = given if len(given) == channels else given.mean().expand(channels)
    return chosen.reshape(-1, 1, 1).clone()


def _arguments(name: str, side: int | None, given: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """timm's arguments for the model at the size wanted, and that size."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name, allow_unregistered=True)
    own = given.get("img_size") or (config.input_size[-1] if config is not None else 224)
    size = side or own
    if config is not None and config.fixed_input_size:
        return given | {"img_size": size}, size
    return given, size
