"""The transformer layers that ml-tarflow and ml-starflow have in common, in our names."""

import re
from collections.abc import Collection
from collections.abc import Iterator
from dataclasses import dataclass

from system.interop.layout import Moved
from system.interop.layout import Reorder
from system.interop.layout import layer_norm
from system.interop.layout import linear

# A tensor that no block lacks: other names do not make a block.
PLACE = re.compile(r"blocks\.(\d+)\.(?:attn_blocks\.(\d+)|proj_in|proj_out)\.")


@dataclass(frozen=True, slots=True)
class Sizes:
    """What all layers of a flow share."""

    width: int
    hidden: int  # of the perceptrons
    is_gated: bool  # whether these have a gating twin


def count_layers(names: Collection[str]) -> tuple[int, ...]:
    """Layers of each block, 0 where there is none; as many blocks as the highest number says."""
    depths: dict[int, int] = {}
    for name in names:
        if place := PLACE.match(name):
            block, layer = int(place[1]), place[2]
            depths[block] = max(depths.get(block, 0), 0 if layer is None else int(layer) + 1)
    # No model has more blocks or layers than tensors, whatever numbers a name bears.
    blocks = min(max(depths, default=-1) + 1, len(names))
    return tuple(min(depths.get(block, 0), len(names)) for block in range(blocks))


def layers(block: int, depth: int, sizes: Sizes, qkv: Reorder | None) -> Iterator[Moved]:
    """The tensors of a block's layers; `qkv` says where queries, keys and values stand."""
    width, hidden = sizes.width, sizes.hidden
    for index in range(depth):
        theirs = f"blocks.{block}.attn_blocks.{index}"
        ours = f"blocks.{block}.transformer.layers.{index}"
        yield from layer_norm(f"{theirs}.attention.norm", f"{ours}.norms.attention", width)
        yield from linear(
            f"{theirs}.attention.qkv", f"{ours}.attention.qkv", (3 * width, width), rows=qkv
        )
        yield from linear(f"{theirs}.attention.proj", f"{ours}.attention.out", (width, width))
        yield from layer_norm(f"{theirs}.mlp.norm", f"{ours}.norms.perceptron", width)
        narrow = "main.2"
        if sizes.is_gated:
            narrow = "down_proj"
            yield from linear(f"{theirs}.mlp.gate_proj", f"{ours}.perceptron.gate", (hidden, width))
            yield from linear(f"{theirs}.mlp.up_proj", f"{ours}.perceptron.widen", (hidden, width))
        else:
            yield from linear(f"{theirs}.mlp.main.0", f"{ours}.perceptron.widen", (hidden, width))
        yield from linear(f"{theirs}.mlp.{narrow}", f"{ours}.perceptron.narrow", (width, hidden))
