"""The tensors of ml-starflow's Model: which there are, where each belongs, and what tells of parts
that have no form here.
"""

import math
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from system.interop.attention_blocks import Sizes
from system.interop.attention_blocks import count_layers
from system.interop.attention_blocks import layers
from system.interop.flow_weights import Grid
from system.interop.formats import block_with
from system.interop.formats import shape_of
from system.interop.layout import Fixed
from system.interop.layout import Moved
from system.interop.layout import Reorder
from system.interop.layout import causal_mask
from system.interop.layout import linear
from system.interop.layout import ones
from system.interop.layout import zeros
from system.interop.orders import affine_order
from system.interop.orders import qkv_order
from system.interop.orders import token_order

KIND = "ml_starflow"
STILL_PAIRS = 8  # of a head, for places in a text: a constant of theirs
REASONS = {
    "post_norm": "a norm after attention or perceptron (use_post_norm)",
    "query_norm": "normalised queries (use_qk_norm)",
    "key_norm": "normalised keys (use_qk_norm)",
    "adaLN_modulation": "adaptive norms",
    "learnable_self_denoiser": "a denoiser beside the flow",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What decides which tensors there are, and their shapes."""

    sizes: Sizes
    depths: tuple[int, ...]
    backwards: tuple[bool, ...]  # of each block
    tokens: int
    token_width: int
    grid: Grid
    head_width: int
    columns: int  # of the class token: classes and the null class; 0 without
    places: int  # tokens, and those before them
    has_start: bool
    is_rotary: bool
    has_final_norm: bool


def parts_of(state: Mapping[str, Tensor], seq_order: str, head_width: int) -> Parts:
    """Read from the shapes of the deepest block that has them; what differs is misshapen."""
    depths = count_layers(state)
    blocks = range(len(depths))[::-1]
    deep = f"blocks.{max(blocks, default=0)}"

    def shape(part: str) -> tuple[int, ...]:
        return shape_of(state, f"{block_with(part, state, blocks)}.{part}", KIND)

    token_in = shape("proj_in.weight")
    is_gated = f"{deep}.attn_blocks.0.mlp.gate_proj.weight" in state
    hidden = shape(f"attn_blocks.0.mlp.{'gate_proj' if is_gated else 'main.0'}.weight")
    text, mask, turned = f"{deep}.proj_txt.weight", f"{deep}.attn_mask", "feat_rope.freqs_cos"
    columns = math.prod(shape_of(state, text, KIND)[1:]) if text in state else 0
    tokens, token_width = shape_of(state, "var", KIND)[0], math.prod(token_in[1:])
    odd = 1 if seq_order == "R2L" else 0
    return Parts(
        sizes=Sizes(token_in[0], hidden[0], is_gated),
        depths=depths,
        backwards=tuple(block % 2 == odd for block in range(len(depths))),
        tokens=tokens,
        token_width=token_width,
        grid=Grid(1, 1, token_width),
        head_width=shape_of(state, turned, KIND)[-1] if turned in state else head_width,
        columns=columns,
        places=shape_of(state, mask, KIND)[0] if mask in state else tokens + (columns > 0),
        has_start=f"{deep}.sos_embed" in state,
        is_rotary=f"{deep}.pos_embed" not in state,
        has_final_norm=f"{deep}.final_norm.weight" in state,
    )


def misfits(parts: Parts, state: Mapping[str, Tensor], seq_order: str) -> list[str]:
    """What has no form in our settings, one line each."""
    width, head, before = parts.sizes.width, parts.head_width, parts.places - parts.tokens
    on_grid = head // 2 - (STILL_PAIRS if parts.columns else 0)
    checks = {
        f"head_width {head} does not divide the width {width}, or 4 not it": (
            head < 4 or head % 4 or width % head
        ),
        f"feat_rope.freqs_cos: heads of {head} leave {on_grid} pairs for the grid, expected an "
        "even number of at least 2": parts.is_rotary and (on_grid < 2 or on_grid % 2),
        f"attn_mask: {before} places before the tokens (txt_size) and {parts.columns} columns of "
        "proj_txt (txt_dim); expected one place for the class, or neither": (
            before != (parts.columns > 0)
        ),
        f"seq_order L2R with {len(parts.depths)} blocks turns both the first and the last around; "
        "expected an even number": seq_order == "L2R" and len(parts.depths) % 2,
    }
    problems = [line for line, is_wrong in checks.items() if is_wrong]
    for block, depth in enumerate(parts.depths):
        if depth == 0:
            problems.append(f"blocks.{block}: has no layers")
    return problems + list(_other_layers(state, width))


def _other_layers(state: Mapping[str, Tensor], width: int) -> Iterator[str]:
    """What the tensors of layers say of forms that ours have not, beside being misshapen."""
    norm, qkv = "attn_blocks.0.attention.norm", "attn_blocks.0.attention.qkv"
    rows = state.get(f"blocks.0.{qkv}.weight")
    if rows is not None and rows.ndim and len(rows) != 3 * width:
        yield f"{qkv}: {len(rows)} rows for a width of {width}: grouped queries (num_kv_heads)"
    if f"blocks.0.{qkv}.weight" in state and f"blocks.0.{qkv}.bias" not in state:
        yield f"{qkv}.bias: maps without biases (use_bias is false)"
    if f"blocks.0.{norm}.weight" in state and f"blocks.0.{norm}.bias" not in state:
        yield f"{norm}.bias: norms without a mean (norm_type rms_norm)"


def reason_against(name: str, deep: str) -> str | None:
    """Why a tensor has no form here, where its name tells."""
    if ".proj_txt." in name and not name.startswith(deep):
        return "a condition in a shallow block (cond_top_only is false)"
    return next((reason for part, reason in REASONS.items() if part in name.split(".")), None)


def layout_of(parts: Parts) -> list[Moved | Fixed]:
    entries: list[Moved | Fixed] = []
    for block, depth in enumerate(parts.depths):
        entries += _block(block, depth, parts)
    entries.append(ones("var", (parts.tokens, parts.token_width)))
    if parts.is_rotary:
        turned = (parts.places, parts.head_width)
        entries += [zeros(f"feat_rope.freqs_{part}", turned) for part in ("cos", "sin")]
    return entries


def _block(block: int, depth: int, parts: Parts) -> Iterator[Moved | Fixed]:
    name, width, token = f"blocks.{block}", parts.sizes.width, parts.token_width
    order = token_order(parts.grid.channels, parts.grid.patch)
    yield from linear(
        f"{name}.proj_in", f"{name}.token_in", (width, token), columns=Reorder(order, axis=1)
    )
    if parts.has_start:
        start = Reorder(order)
        yield Moved(f"{name}.sos_embed", f"{name}.start", (1, 1, token), (token,), start)
    if not parts.is_rotary:
        yield Moved(f"{name}.pos_embed", f"{name}.positions", (parts.tokens, width))
    if parts.columns and block == len(parts.depths) - 1:
        yield from linear(f"{name}.proj_txt", "conditioner.token", (width, parts.columns))
    turned = None
    if parts.is_rotary:
        turned = qkv_order(width, parts.head_width, mirrored=parts.backwards[block])
    yield from layers(block, depth, parts.sizes, turned)
    if parts.has_final_norm:
        yield Moved(f"{name}.final_norm.weight", f"{name}.norm_out.offset", (width,))
    both = Reorder(affine_order(parts.grid.channels, parts.grid.patch))
    yield from linear(f"{name}.proj_out", f"{name}.affine_out", (2 * token, width), rows=both)
    yield causal_mask(f"{name}.attn_mask", parts.places)
