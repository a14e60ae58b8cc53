"""Which code base wrote a set of tensors, told from their names, for messages."""

from collections.abc import Iterable
from collections.abc import Mapping

from torch import Tensor

from system.foundation.errors import CheckpointError

MARKS = {
    "ml_starflow": ("blocks.0.sos_embed", "feat_rope.freqs_cos", "blocks.0.final_norm.weight"),
    "ml_tarflow": ("blocks.0.attn_blocks.0.attention.qkv.weight",),
    "autoencoder_kl": ("encoder.conv_in.weight", "decoder.conv_out.weight"),
    "latent_flows": ("autoencoder.encoder.conv_in.weight", "flow.blocks.0.token_in.weight"),
}
WRAPPERS = ("module.", "_orig_mod.", "model.", "state_dict.")


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


def shape_of(state: Mapping[str, Tensor], name: str, kind: str) -> tuple[int, ...]:
    """The shape of the tensor that tells how large a model is.

    Raises CheckpointError, saying what the tensors look like, where there is no such tensor.
    """
    found = state.get(name)
    if not isinstance(found, Tensor) or found.ndim == 0:
        raise CheckpointError(
            f"expected weights of {kind}, which have a tensor {name}; found {len(state)} tensors "
            f"without it, and {looks_like(state)}"
        )
    return tuple(found.shape)
