"""Weights of apple/ml-starflow, `transformer_flow.Model`, as a flow of ours and back.

What is read: flows of images or their latents, given no condition, or a class as one token before
the others in the deep block (`txt_size` 1, `txt_dim` classes + 1, `cond_top_only`), with rotary or
learned positions, with or without a start token and a final norm, GELU or gated.

Where the same function is written differently, weights are reordered or negated, which is exact:

    pairs of a head that turn    neighbours there, halves of the head here: rows of q and k
    positions, flipped blocks    those of the places there, of the tokens here, so that they run the
                                 other way: the imaginary rows of q and k negated
    a token's numbers            (row, column, channel) there, (channel, row, column) here: columns
                                 of token_in, rows of affine_out, the start token
    the class's token            at the place of the first one, in both

Text, video, a denoiser, language models, norms after layers or on queries and keys, and grouped
queries have no form here: the tensors that tell of them are named.

Source: STARFlow, arXiv 2506.06276; apple/ml-starflow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import Literal

from torch import Tensor

from system.flow.ordering import alternating
from system.foundation.settings import flow as settings
from system.interop.attention_blocks import Sizes
from system.interop.flow_weights import FlowWeights
from system.interop.flow_weights import grid_of
from system.interop.layout import refuse_export
from system.interop.layout import to_ours
from system.interop.layout import to_theirs
from system.interop.ml_starflow_layout import KIND
from system.interop.ml_starflow_layout import STILL_PAIRS
from system.interop.ml_starflow_layout import Parts
from system.interop.ml_starflow_layout import layout_of
from system.interop.ml_starflow_layout import misfits
from system.interop.ml_starflow_layout import parts_of
from system.interop.ml_starflow_layout import reason_against

HEAD_WIDTH = 64
ROPE_BASE = 10_000.0
RATIO = 4.0


@dataclass(frozen=True, slots=True)
class Unsaid:
    """What a state dict of ml-starflow does not tell, by the names of its own arguments."""

    use_softplus: bool  # how a raw scale becomes positive: softplus, or exp
    soft_clip: float  # bound of raw scale and shift; 0 for none
    seq_order: Literal["L2R", "R2L"]  # L2R: the deep block in raster order; R2L: the first block


def load_ml_starflow(
    state: Mapping[str, Tensor],
    unsaid: Unsaid,
    *,
    size: int | None = None,
    channels: int | None = None,
    head_width: int = HEAD_WIDTH,
) -> FlowWeights:
    """The flow in a state dict of ml-starflow, exactly.

    The patch follows from `channels` of the image or latent, or its `size`; `head_width` is looked
    at where positions are learned: rotary ones tell it. Raises CheckpointError listing every tensor
    that is unknown, missing or misshapen, and all else that has no form here.
    """
    parts = parts_of(state, unsaid.seq_order, head_width)
    found = misfits(parts, state, unsaid.seq_order)
    try:
        grid = grid_of(parts.tokens, parts.token_width, size=size, channels=channels)
    except ValueError as problem:
        found.append(str(problem))
    else:
        parts = replace(parts, grid=grid)
    deep = f"blocks.{len(parts.depths) - 1}."
    weights = to_ours(
        layout_of(parts), state, lambda name: reason_against(name, deep), kind=KIND, found=found
    )
    shape = settings.Flow(
        width=parts.sizes.width,
        depths=parts.depths,
        head_width=parts.head_width,
        patch=parts.grid.patch,
        condition=settings.Prefix(rotary_pairs=STILL_PAIRS)
        if parts.columns
        else settings.Unconditional(),
        positions="rotary" if parts.is_rotary else "learned",
        rope_base=ROPE_BASE,
        first="start" if parts.has_start else "kept",
        raster="noise_side" if unsaid.seq_order == "L2R" else "data_side",
        scale="softplus" if unsaid.use_softplus else "exp",
        soft_clip=unsaid.soft_clip,
        norm_out="rms" if parts.has_final_norm else "none",
        perceptron="geglu" if parts.sizes.is_gated else "gelu",
        perceptron_ratio=parts.sizes.hidden / parts.sizes.width,
    )
    classes = parts.columns - 1 if parts.columns else 1
    return FlowWeights(shape, parts.grid.side, parts.grid.channels, classes, weights)


def to_ml_starflow(flow: FlowWeights) -> dict[str, Tensor]:
    """The state dict that ml-starflow loads, exactly: read back it is the same flow, bit for bit.

    Raises CheckpointError listing every setting that it has no form for.
    """
    shape = flow.shape
    refuse_export(_unwritable(shape), KIND)
    columns = flow.classes + 1 if shape.is_conditional else 0
    parts = Parts(
        sizes=Sizes(
            shape.width, round(shape.width * shape.perceptron_ratio), shape.perceptron == "geglu"
        ),
        depths=shape.depths,
        backwards=_backwards(flow),
        tokens=flow.side**2,
        token_width=flow.token_width,
        grid=flow.grid,
        head_width=shape.head_width,
        columns=columns,
        places=flow.side**2 + (columns > 0),
        has_start=shape.first == "start",
        is_rotary=shape.positions == "rotary",
        has_final_norm=shape.norm_out == "rms",
    )
    return to_theirs(layout_of(parts), flow.weights)


def model_arguments(flow: FlowWeights) -> dict[str, Any]:
    """What `transformer_flow.Model` is to be called with, to take the exported state dict."""
    shape = flow.shape
    return {
        "in_channels": flow.channels,
        "img_size": flow.size,
        "patch_size": shape.patch,
        "channels": shape.width,
        "num_blocks": len(shape.depths),
        "layers_per_block": list(shape.depths),
        "head_dim": shape.head_width,
        "rope": shape.positions == "rotary",
        "sos": shape.first == "start",
        "txt_size": int(shape.is_conditional),
        "txt_dim": flow.classes + 1 if shape.is_conditional else 0,
        "cond_top_only": shape.is_conditional,
        "use_softplus": shape.scale == "softplus",
        "use_swiglu": shape.perceptron == "geglu",
        "use_final_norm": shape.norm_out == "rms",
        "soft_clip": shape.soft_clip,
        "seq_order": "L2R" if _backwards(flow)[0] else "R2L",
    }


def _unwritable(shape: settings.Flow) -> list[str]:
    """One line for each setting that ml-starflow has no form for."""
    allowed: dict[str, tuple[object, ...]] = {
        "affine": ("scale_shift",),
        "perceptron": ("gelu", "geglu"),
        "perceptron_ratio": (RATIO,),
    }
    if shape.positions == "rotary":
        allowed["rope_base"] = (ROPE_BASE,)
    problems = [
        f"flow.{key}={getattr(shape, key)}: {KIND} has {' or '.join(str(v) for v in values)} alone"
        for key, values in allowed.items()
        if getattr(shape, key) not in values
    ]
    match shape.condition:
        case settings.Prefix(rotary_pairs=pairs) if shape.positions == "rotary":
            if pairs != STILL_PAIRS:
                problems.append(
                    f"flow.condition.rotary_pairs={pairs}: {KIND} has {STILL_PAIRS} alone"
                )
        case settings.Added() | settings.AdaptiveNorm():
            problems.append(
                f"flow.condition.kind={shape.condition.kind}: {KIND} has prefix or none"
            )
    return problems


def _backwards(flow: FlowWeights) -> tuple[bool, ...]:
    orderings = alternating(len(flow.shape.depths), flow.shape.raster)
    return tuple(ordering.backwards for ordering in orderings)
