"""Weights of apple/ml-tarflow, `transformer_flow.Model`, as a flow of ours and back.

Its form in our settings: classes added, learned positions, the first token kept, the block nearest
the data in raster order, exp scales without a clip, no norm before them, GELU. Names differ, and
the shape of the class table; every number stays as it is.

Source: TARFlow, arXiv 2412.06329; apple/ml-tarflow.
"""

import math
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from system.foundation.settings import flow as settings
from system.interop.attention_blocks import Sizes
from system.interop.attention_blocks import count_layers
from system.interop.attention_blocks import layers
from system.interop.flow_weights import FlowWeights
from system.interop.flow_weights import Grid
from system.interop.flow_weights import grid_of
from system.interop.formats import block_with
from system.interop.formats import shape_of
from system.interop.layout import Fixed
from system.interop.layout import Moved
from system.interop.layout import causal_mask
from system.interop.layout import linear
from system.interop.layout import ones
from system.interop.layout import refuse_export
from system.interop.layout import to_ours
from system.interop.layout import to_theirs

KIND = "ml_tarflow"
HEAD_WIDTH = 64  # its Model builds no other
RATIO = 4.0
FORM: dict[str, Any] = {
    "positions": "learned",
    "first": "kept",
    "raster": "data_side",
    "scale": "exp",
    "soft_clip": 0.0,
    "norm_out": "none",
    "perceptron": "gelu",
}


@dataclass(frozen=True, slots=True)
class _Parts:
    """What decides which tensors there are, and their shapes."""

    sizes: Sizes
    depths: tuple[int, ...]
    tokens: int
    token_width: int
    classes: int  # 0 where classes are not looked at
    shifts_alone: bool


def load_ml_tarflow(
    state: Mapping[str, Tensor],
    *,
    size: int | None = None,
    channels: int | None = None,
    head_width: int = HEAD_WIDTH,
) -> FlowWeights:
    """The flow in a state dict of ml-tarflow, exactly.

    The state dict does not say how large a patch is: give `channels` of the image (or latent), or
    its `size`, or both. Raises CheckpointError listing every tensor that is unknown, missing or
    misshapen, and all else that does not fit.
    """
    parts = _parts_of(state)
    found: list[str] = []
    try:
        grid = grid_of(parts.tokens, parts.token_width, size=size, channels=channels)
    except ValueError as problem:
        found.append(str(problem))
        grid = Grid(1, 1, parts.token_width)
    width = parts.sizes.width
    if head_width < 4 or head_width % 4 or width % head_width:
        found.append(f"head_width {head_width} does not divide the width {width}, or 4 not it")
    if 0 in parts.depths:
        found.append(f"blocks.{parts.depths.index(0)}: has no layers")
    weights = to_ours(_layout(parts), state, lambda name: None, kind=KIND, found=found)
    shape = settings.Flow(
        width=width,
        depths=parts.depths,
        head_width=head_width,
        patch=grid.patch,
        condition=settings.Added() if parts.classes else settings.Unconditional(),
        affine="shift" if parts.shifts_alone else "scale_shift",
        perceptron_ratio=parts.sizes.hidden / width,
        **FORM,
    )
    return FlowWeights(shape, grid.side, grid.channels, parts.classes or 1, weights)


def to_ml_tarflow(flow: FlowWeights) -> dict[str, Tensor]:
    """The state dict that ml-tarflow loads, bit for bit.

    Raises CheckpointError listing every setting that it has no form for.
    """
    shape = flow.shape
    form = FORM | {"head_width": HEAD_WIDTH, "perceptron_ratio": RATIO}
    if shape.affine == "shift":
        del form["scale"]  # there is none
    problems = [
        f"flow.{key}={getattr(shape, key)}: {KIND} has {value} alone"
        for key, value in form.items()
        if getattr(shape, key) != value
    ]
    if shape.condition.kind not in ("added", "none"):
        problems.append(f"flow.condition.kind={shape.condition.kind}: {KIND} has added or none")
    if len(set(shape.depths)) > 1:
        problems.append(f"flow.depths={list(shape.depths)}: {KIND} has blocks of one depth")
    refuse_export(problems, KIND)
    hidden = round(shape.width * shape.perceptron_ratio)
    parts = _Parts(
        sizes=Sizes(shape.width, hidden, is_gated=False),
        depths=shape.depths,
        tokens=flow.side**2,
        token_width=flow.token_width,
        classes=flow.classes if shape.condition.kind == "added" else 0,
        shifts_alone=shape.affine == "shift",
    )
    return to_theirs(_layout(parts), flow.weights)


def model_arguments(flow: FlowWeights) -> dict[str, Any]:
    """What `transformer_flow.Model` is to be called with, to take the exported state dict."""
    return {
        "in_channels": flow.channels,
        "img_size": flow.size,
        "patch_size": flow.shape.patch,
        "channels": flow.shape.width,
        "num_blocks": len(flow.shape.depths),
        "layers_per_block": flow.shape.depths[0],
        "nvp": flow.shape.affine == "scale_shift",
        "num_classes": flow.classes if flow.shape.condition.kind == "added" else 0,
    }


def _parts_of(state: Mapping[str, Tensor]) -> _Parts:
    """Read from the shapes of the first block that has them; what differs is misshapen."""
    depths = count_layers(state)

    def shape(part: str) -> tuple[int, ...]:
        block = block_with(part, state, range(len(depths)))
        return shape_of(state, f"{block}.{part}", KIND)

    token_in = shape("proj_in.weight")
    width, token_width = token_in[0], math.prod(token_in[1:])
    return _Parts(
        sizes=Sizes(width, shape("attn_blocks.0.mlp.main.0.weight")[0], is_gated=False),
        depths=depths,
        tokens=shape("pos_embed")[0],
        token_width=token_width,
        classes=shape("class_embed")[0] if any("class_embed" in name for name in state) else 0,
        shifts_alone=shape("proj_out.weight")[0] == token_width,
    )


def _layout(parts: _Parts) -> list[Moved | Fixed]:
    entries: list[Moved | Fixed] = []
    for block, depth in enumerate(parts.depths):
        entries += _block(block, depth, parts)
    prior = (parts.tokens, parts.token_width)
    if parts.shifts_alone:
        return [*entries, Moved("var", "prior_variance", prior)]
    return [*entries, ones("var", prior)]


def _block(block: int, depth: int, parts: _Parts) -> Iterator[Moved | Fixed]:
    name, width, token = f"blocks.{block}", parts.sizes.width, parts.token_width
    yield from linear(f"{name}.proj_in", f"{name}.token_in", (width, token))
    yield Moved(f"{name}.pos_embed", f"{name}.positions", (parts.tokens, width))
    if parts.classes:
        yield Moved(
            f"{name}.class_embed",
            f"conditioner.vectors.{block}.table",
            (parts.classes, 1, width),
            our_shape=(parts.classes, width),
        )
    yield from layers(block, depth, parts.sizes, None)
    affine = token if parts.shifts_alone else 2 * token
    yield from linear(f"{name}.proj_out", f"{name}.affine_out", (affine, width))
    yield causal_mask(f"{name}.attn_mask", parts.tokens)
