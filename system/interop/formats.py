"""Which code base wrote a set of tensors, told from their names, for messages."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TypeGuard

from torch import Tensor

from system.foundation.errors import CheckpointError

MARKS = {
    "ml_starflow": ("blocks.0.sos_embed", "feat_rope.freqs_cos", "blocks.0.final_norm.weight"),
    "ml_tarflow": ("blocks.0.attn_blocks.0.attention.qkv.weight",),
    "autoencoder_kl": ("encoder.conv_in.weight", "decoder.conv_out.weight"),
    "latent_flows": ("autoencoder.encoder.conv_in.weight", "flow.blocks.0.token_in.weight"),
}
WRAPPERS = ("module.", "_orig_mod.", "module._orig_mod.", "model.", "state_dict.")


def looks_like(names: Iterable[str]) -> str:
    """What tensors of these names seem to be, in words that end a sentence."""
    present = set(names)
    for kind, marks in MARKS.items():
        if any(mark in present for mark in marks):
            return f"they look like {kind}"
    for wrapper in WRAPPERS:
        bare = {name.removeprefix(wrapper) for name in present if name.startswith(wrapper)}
        if any(mark in bare for marks in MARKS.values() for mark in marks):
            return f"their names all begin with {wrapper!r}: give the tensors of the module within"
    return f"they look like none of {', '.join(MARKS)}"


def block_with(part: str, state: Mapping[str, Tensor], blocks: Sequence[int]) -> str:
    """The first of `blocks` with a tensor `part` that tells a shape, by its name; else the first.

    What is wrong in one block is then found beside all else, by the shapes of another.
    """
    names = [f"blocks.{block}" for block in blocks] or ["blocks.0"]
    return next((name for name in names if _tells(state.get(f"{name}.{part}"))), names[0])


def shape_of(state: Mapping[str, Tensor], name: str, kind: str) -> tuple[int, ...]:
    """The shape of the tensor that tells how large a model is.

    Raises CheckpointError, saying what the tensors look like, where there is no such tensor.
    """
    found = state.get(name)
    if not _tells(found):
        raise CheckpointError(
            f"expected weights of {kind}, which have a tensor {name}; found {len(state)} tensors "
            f"without it, and {looks_like(state)}"
        )
    return tuple(found.shape)


def _tells(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.ndim > 0
