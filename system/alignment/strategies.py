"""The pass that aligned features are taken from decides which blocks the alignment trains.

A place is a block and a number of its layers. What reaches the weights of a block from a place in
block t, apart from the class's vectors, which every pass reads:

| strategy                    | data side of t | block t     | noise side of t | encoder        |
| --------------------------- | -------------- | ----------- | --------------- | -------------- |
| forward                     | all            | up to layer | none            | encoder_weight |
| detach                      | none           | up to layer | none            | none           |
| reverse, `paper`            | none           | up to layer | none            | none           |
| reverse, `straight_through` | none           | all         | all             | none           |
| reverse, `exact`            | none           | all         | all             | none           |

**Forward** takes what the normal pass, from data to noise, computes anyway. **Detach** asks block t
again about its input without history. **Reverse** walks from the noise: the value that enters block
t is what the blocks behind it generate.

A true reverse is sequential. The pseudo-reverse uses that its value is known: with the block's
cached input as context, all tokens are undone in one causal pass,

    z[t-1]_d = shift_t(cache_<d) + scale_t(cache_<d) * z[t]_d,        z[last] = the noise, detached,

equal to the cache in value, with the history of every block behind. As printed, the features are
those of this very pass, whose context is detached: they reach what detach reaches, and nothing else
(`paper`). With `straight_through` the transformer reads z[t-1] itself. With `exact` the context
keeps its history too, token by token: for tiny flows and for comparison.

All of these but the true reverse compute again what the normal pass has computed. With shared
passes (`alignment.passes`) the normal pass serves for them, and gradients go where the table says.

Source: R-REPA, arXiv 2511.22345, section 3 and its fast reverse pass; REPA-E, arXiv 2504.10483.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from system.alignment.shared_pass import SharedPass
from system.flow.block import Block
from system.flow.flow import Flow
from system.flow.flow import Trace
from system.foundation.settings.objective import FeatureAlignment
from system.layers.embedding import Rotary
from system.layers.steering import Steering

Place = tuple[int, int]  # block from the data side, layers
Features = dict[Place, Float[Tensor, "B T E"]]
# From the noise down to a block: each block on the way, with its input.
Walk = Callable[
    [Flow, Trace, Sequence[Steering], int], Iterator[tuple[int, Float[Tensor, "B T D"]]]
]


def places_of(alignment: FeatureAlignment, blocks: int) -> tuple[Place, ...]:
    """The places of the settings, blocks counted from the data side."""
    return tuple((block % blocks, layers) for block, layers in alignment.places)


def aligned_features(
    alignment: FeatureAlignment,
    flow: Flow,
    trace: Trace,
    condition: Float[Tensor, "B V"],
) -> tuple[Float[Tensor, "B T E"], ...]:
    """The features of every place of the settings, in raster order, by the settings' strategy.

    `trace` is the normal pass under `condition`; for the forward strategy it has the places tapped.
    """
    places = places_of(alignment, len(flow.blocks))
    if alignment.strategy == "forward":
        found = trace.features
    elif alignment.strategy == "detach" or alignment.reverse == "paper":
        found = detached_features(flow, trace, condition, places)
    else:
        walk = pseudo_reverse if alignment.reverse == "straight_through" else true_reverse
        found = reverse_features(walk, flow, trace, condition, places)
    return tuple(found[place] for place in places)


def shared_passes(alignment: FeatureAlignment, blocks: int) -> dict[int, SharedPass]:
    """A pass for each block that the settings want to be passed once for all that is asked of it;
    none where passes are separate, or where the normal pass is all that is needed."""
    if alignment.passes == "separate" or alignment.strategy == "forward":
        return {}
    places = places_of(alignment, blocks)
    asked = {block for block, _ in places}
    if _walks(alignment):  # all blocks on the way are asked for what they do to tokens
        asked |= set(range(min(asked), blocks))
    return {index: SharedPass(_taps(places, index)) for index in asked}


def shared_features(
    alignment: FeatureAlignment,
    passes: Mapping[int, SharedPass],
    blocks: int,
    noise: Float[Tensor, "B T D"],
) -> tuple[Float[Tensor, "B T E"], ...]:
    """`aligned_features` by `passes` that the normal pass, which ended in `noise`, went through."""
    found: Features = {}
    data = noise.detach()
    for index in sorted(passes, reverse=True):
        passed = passes[index]
        features = passed.features
        if _walks(alignment):
            data = data * torch.exp(passed.affine.log_scale) + passed.affine.shift
            features = passed.features_of(data)
        found |= {(index, layers): each for layers, each in features.items()}
    return tuple(found[place] for place in places_of(alignment, blocks))


def forward_features(
    flow: Flow,
    tokens: Float[Tensor, "B T D"],
    condition: Float[Tensor, "B V"],
    places: Sequence[Place],
) -> Features:
    """Features of a forward pass of its own, which goes no deeper than the deepest place."""
    found: Features = {}
    steerings, rotary = flow.steer(condition), flow.rotary(tokens)
    deepest = max(block for block, _ in places)
    for index in range(deepest):
        taps = _taps(places, index)
        passed = flow.blocks[index].trace(tokens, steerings[index], rotary, taps)
        found |= {(index, layers): passed.features[layers] for layers in taps}
        tokens = passed.noise
    return found | _features(flow, deepest, tokens, steerings, places)


def detached_features(
    flow: Flow, trace: Trace, condition: Float[Tensor, "B V"], places: Sequence[Place]
) -> Features:
    """Features of each block by itself, asked about its input of the normal pass."""
    found: Features = {}
    steerings = flow.steer(condition)
    for index in sorted({block for block, _ in places}):
        found |= _features(flow, index, trace.inputs[index].detach(), steerings, places)
    return found


def reverse_features(
    walk: Walk,
    flow: Flow,
    trace: Trace,
    condition: Float[Tensor, "B V"],
    places: Sequence[Place],
) -> Features:
    """Features of each block, asked about what a walk from the noise makes of its input."""
    found: Features = {}
    steerings = flow.steer(condition)
    for index, data in walk(flow, trace, steerings, min(block for block, _ in places)):
        found |= _features(flow, index, data, steerings, places)
    return found


def pseudo_reverse(
    flow: Flow, trace: Trace, steerings: Sequence[Steering], lowest: int
) -> Iterator[tuple[int, Float[Tensor, "B T D"]]]:
    """Blocks from the noise down to `lowest`, each with its input as the blocks behind make it."""
    data, rotary = trace.noise.detach(), flow.rotary(trace.noise)
    for index in reversed(range(lowest, len(flow.blocks))):
        affine = flow.blocks[index].affine(trace.inputs[index].detach(), steerings[index], rotary)
        data = data * torch.exp(affine.log_scale) + affine.shift
        yield index, data


def true_reverse(
    flow: Flow, trace: Trace, steerings: Sequence[Steering], lowest: int
) -> Iterator[tuple[int, Float[Tensor, "B T D"]]]:
    """The same, generated token by token, each with the whole history of those before it."""
    data, rotary = trace.noise.detach(), flow.rotary(trace.noise)
    for index in reversed(range(lowest, len(flow.blocks))):
        block = flow.blocks[index]
        assert isinstance(block, Block)
        data = _generate(block, data, steerings[index], rotary)
        yield index, data


def scale_gradient(tokens: Float[Tensor, "B T D"], factor: float) -> Float[Tensor, "B T D"]:
    """The same values; what flows back to their history is multiplied by `factor`."""
    still = tokens.detach()
    return still + factor * (tokens - still) if factor else still


def _generate(
    block: Block, noise: Float[Tensor, "B T D"], steering: Steering, rotary: Rotary | None
) -> Float[Tensor, "B T D"]:
    """The block's inverse with gradients: as many whole passes as there are tokens."""
    noise = block.ordering(noise)
    known = noise[:, :0]
    for here in range(noise.shape[1]):
        # What stands behind this token is not looked at.
        context = block.ordering(torch.cat([known, noise[:, here:]], dim=1))
        affine = block.affine(context, steering, rotary)
        shift, log_scale = (
            block.ordering(part)[:, here : here + 1] for part in (affine.shift, affine.log_scale)
        )
        token = noise[:, here : here + 1] * torch.exp(log_scale) + shift
        known = torch.cat([known, token], dim=1)
    return block.ordering(known)


def _features(
    flow: Flow,
    index: int,
    data: Float[Tensor, "B T D"],
    steerings: Sequence[Steering],
    places: Sequence[Place],
) -> Features:
    """The features of block `index` at its places, given its input; none where it has none."""
    taps = _taps(places, index)
    if not taps:
        return {}
    found = flow.blocks[index].features(data, steerings[index], flow.rotary(data), taps)
    return {(index, layers): features for layers, features in found.items()}


def _walks(alignment: FeatureAlignment) -> bool:
    """Whether blocks are asked about what those behind them generate."""
    return alignment.strategy == "reverse" and alignment.reverse != "paper"


def _taps(places: Sequence[Place], index: int) -> set[int]:
    return {layers for block, layers in places if block == index}
