"""A teacher's weights: read from any url, put into a timm model, with nothing left out in silence.

A file that jobs/train_teacher.py wrote says in its metadata which timm model it is of, and with
which arguments; files of others (timm's hub, Meta's, OpenAI's) need the recipe's word for it.
"""

import difflib
import io
import json
import sys
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch import nn

from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings import objective as settings

KEY = "objective.alignment.teacher"
MODEL, ARGUMENTS = "model", "model_args"  # keys of the metadata
UNREADABLE = (
    SafetensorError,
    UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    UnicodeDecodeError,
)


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Named tensors, and what the file says about itself."""

    url: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def arguments(self) -> dict[str, Any]:
        """What timm needs to build the model, beyond its name."""
        return dict(json.loads(self.metadata.get(ARGUMENTS, "{}")))


def read_weights(teacher: settings.Teacher, url: str) -> WeightsFile:
    """The weights file of a teacher.

    Raises BadInput where it is absent, holds no weights, or says that it is of another model.
    """
    if not storage.exists(url):
        raise BadInput(
            f"{KEY}.weights: no file at {url}; expected the weights of {teacher.model} "
            f"(safetensors, or torch's .pth). {_sources(teacher.model)}"
        )
    return decoded(url, storage.read_bytes(url), teacher.model)


def decoded(url: str, data: bytes, model: str, key: str = KEY) -> WeightsFile:
    """The weights of a model, out of the bytes of a file. `key` is what an error speaks of.

    Raises BadInput where these are no weights, or say that they are of another model.
    """
    try:
        found = _decoded(url, data)
    except UNREADABLE as error:
        raise BadInput(
            f"{key}.weights: {url} is no file of weights, or a damaged one ({_said(error)}); "
            f"expected those of {model}, as safetensors or as torch saves tensors. Fetch "
            "it again"
        ) from error
    said_model = found.metadata.get(MODEL, model)
    if said_model != model:
        raise BadInput(
            f"{key}.weights: {url} holds a {said_model}, but {key}.model is {model}; "
            f"set {key}.model={said_model}, or give another file"
        )
    return found


def blank(teacher: settings.Teacher) -> WeightsFile:
    """Weights of a teacher as timm draws them: what counts a teacher where no file of it is.

    Raises BadInput for a name that timm does not know.
    """
    drawn = create(teacher.model, {})
    return WeightsFile("", {**drawn.state_dict()}, {})


def write_weights(url: str, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a weights file whole, with its metadata."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    storage.write_bytes(url, safetensors.torch.save(whole, metadata))


def create(name: str, arguments: dict[str, Any], classes: int = 0, key: str = KEY) -> nn.Module:
    """A timm model, its weights drawn; 0 classes for none. Raises BadInput for unknown names."""
    import timm  # here and below: it takes seconds of every start, also of those without a teacher

    check_name(name, key)
    return timm.create_model(name, pretrained=False, num_classes=classes, **arguments)


def fill(model: nn.Module, file: WeightsFile, key: str = KEY) -> None:
    """Put a file's tensors into a timm model, as timm itself would translate their names.

    Position embeddings are resampled to the model's grid. What the file has beyond the model (a
    classifier, a decoder) stays out. Raises BadInput where the model misses anything.
    """
    translate = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        tensors = file.tensors if translate is None else translate(file.tensors, model)
        missing = model.load_state_dict(tensors, strict=False).missing_keys
    except (RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise BadInput(
            f"{key}.weights: the tensors in {file.url} do not fit {key}.model: {_said(error)}. "
            "Is it the file of another model?"
        ) from error
    if missing:
        raise BadInput(
            f"{key}.weights: {file.url} lacks {', '.join(missing[:3])} ({len(missing)} of "
            f"{len(model.state_dict())} tensors); expected all that {key}.model has. Is it the "
            "file of another model?"
        )


def from_hub(name: str, arguments: dict[str, Any]) -> nn.Module:
    """A timm model with the weights that timm's hub has for it. Raises BadInput without them."""
    import timm

    check_name(name)
    try:
        return timm.create_model(name, pretrained=True, num_classes=0, **arguments)
    except Exception as error:  # the hub's client, its transport and its cache have their own
        raise BadInput(
            f"{KEY}.weights is null, and timm's hub gave no weights of {name} ({_said(error)}); "
            f"expected them there or in the hub's cache ($HF_HOME). {_sources(name)}"
        ) from error


def check_name(name: str, key: str = KEY) -> None:
    """Raises BadInput for a name that timm does not know."""
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise BadInput(
            f"{key}.model is {name!r}, which timm {timm.__version__} does not know{hint}. "
            "`python -c 'import timm; print(timm.list_models())'` prints all"
        )


def _decoded(url: str, data: bytes) -> WeightsFile:
    if url.endswith(".safetensors"):
        return WeightsFile(url, safetensors.torch.load(data), _metadata(data))
    found = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}")
    return WeightsFile(url, found, {})


def _metadata(data: bytes) -> dict[str, str]:
    """The header of safetensors: its length in eight bytes, then JSON."""
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length]).get("__metadata__", {}))


def _said(error: Exception) -> str:
    """The first two lines of what an error says, as one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__


def _sources(name: str) -> str:
    """What to do about weights that are not there."""
    import timm

    config = timm.get_pretrained_cfg(name, allow_unregistered=True) if timm.is_model(name) else None
    places = [place for place in (config and config.url, _hub_page(config)) if place]
    fetch = f"Fetch them from {' or '.join(places)}, " if places else "Find them elsewhere, "
    return (
        f"{fetch}and set {KEY}.weights to where they lie; jobs/train_teacher.py trains small ones"
    )


def _hub_page(config: Any) -> str | None:
    found = config is not None and config.hf_hub_id
    return f"https://huggingface.co/{config.hf_hub_id}" if found else None
