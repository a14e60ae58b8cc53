"""One file of named tensors at any url: safetensors, or what torch saves, read as tensors alone."""

import io
from collections.abc import Mapping
from pathlib import PurePosixPath
from pickle import UnpicklingError

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from system.foundation import storage
from system.foundation.errors import CheckpointError

SAFE = ".safetensors"
PICKLES = (".pth", ".pt", ".bin", ".ckpt")
# Whatever torch's reader of pickles meets in a file that is none.
UNREADABLE = (
    SafetensorError,
    UnpicklingError,
    RuntimeError,
    EOFError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
)
WRAPPERS = ("state_dict", "model")


def read_tensors(url: str) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    A file that holds them one level down, under `state_dict` or `model`, is as good. Raises
    CheckpointError where there is no such file, or it holds something else.
    """
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError as error:
        raise CheckpointError(f"no weights at {url}: there is no such file") from error
    try:
        found = _decoded(url, data)
    except UNREADABLE as error:
        raise CheckpointError(
            f"{url} cannot be read ({_reason(error)}): "
            "expected tensors by name, as safetensors or as torch saves them"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping) or not any(isinstance(v, Tensor) for v in found.values()):
        raise CheckpointError(f"{url} holds a {type(found).__name__}, expected tensors by name")
    if strange := [name for name in found if not isinstance(name, str)]:
        raise CheckpointError(
            f"{url} holds tensors by {type(strange[0]).__name__}, such as {strange[0]!r}, as an "
            "optimiser's state does; expected tensors by name"
        )
    return dict(found)


def write_tensors(url: str, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name: as safetensors, or as torch saves them, by the ending of `url`.

    Raises CheckpointError for another ending.
    """
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    ending = PurePosixPath(url).suffix
    if ending == SAFE:
        storage.write_bytes(url, safetensors.torch.save(whole))
        return
    if ending not in PICKLES:
        raise CheckpointError(f"{url} ends neither in {SAFE} nor in {' or '.join(PICKLES)}")
    buffer = io.BytesIO()
    torch.save(whole, buffer)
    storage.write_bytes(url, buffer.getvalue())


def _reason(error: Exception) -> str:
    """What is wrong, in one line. What torch says of pickles is advice to trust them."""
    if isinstance(error, UnpicklingError):
        return "no pickle, or one of more than tensors, which could run programs as it is read"
    return str(error).splitlines()[0] if str(error) else repr(error)


def _decoded(url: str, data: bytes) -> object:
    if PurePosixPath(url).suffix == SAFE:
        return safetensors.torch.load(data)
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
