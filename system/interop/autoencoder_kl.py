"""Autoencoders in the layout of diffusers' AutoencoderKL, in and out: SD-VAE, REPA-E's VAEs.

The two networks are the same; names differ, and three things more. Theirs holds query, key and
value as three linear maps where ours has one convolution. Its encoder tells the logarithm of the
variance, ours that of the standard deviation, so rows of the quant convolution are halved. And it
may go without the 1 by 1 convolutions around the latent, which are then the identity in ours. The
scaling and shift that its config states are our `latent_scale` and `latent_shift`: our latent is
the one that flows and diffusion models are trained on.

    shape, weights = load_autoencoder_kl("weights/sd-vae-ft-ema")
    model = Autoencoder(shape, image_channels=3)
    model.load_state_dict(weights)

Source: AutoencoderKL of diffusers 0.42.1; older files name the parts of their attention otherwise.
"""

import json
import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from system.autoencoder.autoencoder import widen
from system.engine.released import is_released
from system.foundation import storage
from system.foundation.errors import CheckpointError
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import FixedPosterior
from system.interop.autoencoder_kl_config import CLASS
from system.interop.autoencoder_kl_config import Config
from system.interop.autoencoder_kl_config import config_of
from system.interop.autoencoder_kl_config import read_config
from system.interop.autoencoder_kl_config import settings_of
from system.interop.autoencoder_kl_layout import ATTENTION
from system.interop.autoencoder_kl_layout import POST_QUANT
from system.interop.autoencoder_kl_layout import QUANT
from system.interop.autoencoder_kl_layout import kl_layout
from system.interop.autoencoder_kl_layout import own_layout
from system.interop.autoencoder_kl_layout import put_together
from system.interop.autoencoder_kl_layout import take_apart
from system.interop.autoencoder_kl_layout import with_spread
from system.interop.layout import to_ours
from system.interop.layout import to_theirs
from system.interop.weights_file import read_tensors

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLE = "diffusion_pytorch_model.bin"
FILES = {".safetensors", ".bin", ".pt", ".pth", ".ckpt"}

OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_autoencoder_kl(
    source: str | Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> tuple[Convolutional, dict[str, Tensor]]:
    """Settings and weights of ours for an AutoencoderKL; float32, or float64 where that is given.

    `source` is a folder or url with config.json and the weights, a file of weights (safetensors, or
    a pickle of tensors alone), or a state dict. Without a `config` it is the one beside the file.
    Raises CheckpointError listing every key that is unknown, missing or misshapen.
    """
    state: Mapping[str, Any] = {}
    if isinstance(source, str):
        place, state = _read(source)
        config = config if config is not None else _read_config(place)
    elif config is None:
        raise CheckpointError(
            f"a state dict does not say what {CLASS} it is of: give its config (config.json)"
        )
    else:
        state = source
    read = read_config(config)
    shape = settings_of(read)
    state, problems = _as_today(state)
    problems += _add_identities(state, read)
    layout = kl_layout(shape, read.in_channels)
    apart = to_ours(layout, state, _unexplained, kind=CLASS, found=problems)
    return shape, put_together({name: widen(tensor) for name, tensor in apart.items()})


def to_autoencoder_kl(
    shape: Convolutional, weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """config.json and state dict of an autoencoder of ours, given its state dict.

    A fixed spread becomes a log-variance that is the same everywhere; read back it is a learned one
    of the same value. A 1 by 1 convolution that is the identity is left out, as in files that had
    none. Raises CheckpointError for what AutoencoderKL cannot be, or weights of another shape.
    """
    image_channels = _image_channels(weights)
    config = config_of(shape, image_channels)
    own = own_layout(shape, image_channels)
    known = to_ours(own, weights, _unexplained, kind="the autoencoder described", found=[])
    if isinstance(shape.posterior, FixedPosterior):
        known = with_spread(known, math.log(shape.posterior.std))
    state = to_theirs(kl_layout(settings_of(config), image_channels), take_apart(known))
    used = {f"use_{name}": not _is_identity(state, name) for name in (QUANT, POST_QUANT)}
    absent = [name for name in (QUANT, POST_QUANT) if not used[f"use_{name}"]]
    kept = {name: state[name] for name in state if name.partition(".")[0] not in absent}
    return {"_class_name": CLASS} | config.model_dump(mode="json") | used, kept


def save_autoencoder_kl(url: str, shape: Convolutional, weights: Mapping[str, Tensor]) -> None:
    """Write the folder that diffusers' `from_pretrained` reads; raises as `to_autoencoder_kl`."""
    config, state = to_autoencoder_kl(shape, weights)
    storage.write_bytes(storage.join(url, WEIGHTS), safetensors.torch.save(state))
    storage.write_bytes(storage.join(url, CONFIG), (json.dumps(config, indent=2) + "\n").encode())


def is_autoencoder_kl(url: str) -> bool:
    """Whether a folder or url holds an AutoencoderKL: runs of ours have no config.json."""
    return storage.exists(storage.join(url, CONFIG)) and not is_released(url)


def _read(source: str) -> tuple[str, dict[str, Any]]:
    """The folder that a source means, and its tensors."""
    if PurePosixPath(source).suffix in FILES:
        place, file = source.rpartition("/")[0] or ".", source
    else:
        present = [name for name in (WEIGHTS, PICKLE) if storage.exists(storage.join(source, name))]
        if not present:
            raise CheckpointError(
                f"no {CLASS} at {source}: expected {WEIGHTS} or {PICKLE} there, and {CONFIG}"
            )
        place, file = source, storage.join(source, present[0])
    return place, dict(read_tensors(file))


def _read_config(place: str) -> Mapping[str, Any]:
    url = storage.join(place, CONFIG)
    try:
        config = json.loads(storage.read_text(url))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{url} is missing: it says what network the weights are of. Copy it there, or give it"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{url} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{url} holds no mapping")
    return config


def _as_today(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The state with today's names and linear attention, and the names that are there twice."""
    renamed: dict[str, Any] = {}
    problems = []
    for name, value in state.items():
        part, found, rest = name.partition(f".{ATTENTION}.")
        new = name
        if found:
            inner, _, leaf = rest.rpartition(".")
            new = f"{part}{found}{OLD_NAMES.get(inner, inner)}.{leaf}"
            if isinstance(value, Tensor) and value.shape[2:] == (1, 1):
                value = value[:, :, 0, 0]
        if new in renamed:
            problems.append(f"{name}: there already, as {new}")
        renamed[new] = value
    return renamed, problems


def _add_identities(state: dict[str, Any], config: Config) -> list[str]:
    """Put in the 1 by 1 convolutions that the config leaves out; names there that should not be."""
    problems = []
    channels = config.latent_channels
    for name, used, width in (
        (QUANT, config.use_quant_conv, 2 * channels),
        (POST_QUANT, config.use_post_quant_conv, channels),
    ):
        if not used:
            given = [key for key in state if key.partition(".")[0] == name]
            problems += [f"{key}: the config says that there is none" for key in given]
            state[f"{name}.weight"] = torch.eye(width)[:, :, None, None]
            state[f"{name}.bias"] = torch.zeros(width)
    return problems


def _is_identity(state: Mapping[str, Tensor], name: str) -> bool:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return torch.equal(weight[:, :, 0, 0], torch.eye(len(weight)).to(weight)) and not bias.any()


def _image_channels(weights: Mapping[str, Tensor]) -> int:
    name = "encoder.conv_in.weight"
    if name not in weights or weights[name].ndim != 4:
        raise CheckpointError(f"these are no weights of an autoencoder: {name} is not among them")
    return weights[name].shape[1]


def _unexplained(_name: str) -> None:
    return None
