"""Which loss reaches which weights, measured from real gradients and written as a page.

    python -m tests.reference.gradient_routes          # writes docs/results/gradient_routes.md

A weight is reached where its gradient is not zero. Models are tiny, in float64, with every weight
at work; the page holds names and cosines of two digits alone, so it is the same everywhere.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch import nn

from system.alignment.strategies import aligned_features
from system.alignment.strategies import places_of
from system.flow.flow import Flow
from system.foundation.recipe import Recipe
from system.foundation.settings import flow as settings
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.data import Data
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Objective
from system.foundation.settings.objective import Teacher
from system.foundation.settings.run import Run
from system.objectives.alignment import alignment_loss
from system.objectives.joint import JointModel
from system.objectives.joint import JointOutput
from system.objectives.routes import ROUTES
from tests.system.conftest import FAMILIES
from tests.system.conftest import stir

PAGE = Path(__file__).parents[2] / "docs" / "results" / "gradient_routes.md"
LOSSES = {
    "reconstruction": "reconstruction",
    "nll": "likelihood",
    "entropy": "entropy",
    "penalty": "penalty on inputs",
}
DEPTHS = (2, 2, 2)
PLACES = {
    "data side (0, 1)": ((0, 1),),
    "middle (1, 1)": ((1, 1),),
    "noise side (2, 1)": ((-1, 1),),
    "several (0, 1) (2, 1)": ((0, 1), (-1, 1)),
}
STRATEGIES = {
    "forward": ("forward", "exact"),
    "detach": ("detach", "exact"),
    "reverse, paper": ("reverse", "paper"),
    "reverse, straight_through": ("reverse", "straight_through"),
    "reverse, exact": ("reverse", "exact"),
}
HALF_STIRRED = 0.05
ENCODER_WEIGHTS = (0.0, 0.5, 1.5)  # beside a weight of 0.5 for the flow


def joint_model(route: str, alignment: FeatureAlignment | None = None) -> JointModel:
    """A tiny model with a learned posterior on a route, the same weights on each."""
    objective = Objective(route=route)
    if alignment is not None:
        objective = objective.model_copy(update={"alignment": alignment})
    recipe = Recipe(
        run=Run(
            name="tiny",
            total_images=64,
            global_batch=8,
            report_every_images=16,
            checkpoint_every_images=32,
        ),
        data=Data(shards="-", image_size=8, image_channels=1, classes=4),
        autoencoder=Convolutional(
            width=8,
            multipliers=(1, 2),
            blocks_per_level=1,
            latent_channels=3,
            posterior=LearnedPosterior(),
            weights="somewhere",
        ),
        flow=settings.Flow(width=16, depths=DEPTHS, head_width=8),
        objective=objective,
    )
    torch.manual_seed(0)
    model = stir(JointModel(recipe).double())
    assert isinstance(model, JointModel)
    return model


def run(model: JointModel) -> JointOutput:
    """One pass on four fixed images, one of them without its label."""
    generator = torch.Generator().manual_seed(0)
    return model(
        torch.randn(4, 1, 8, 8, generator=generator, dtype=torch.float64),
        torch.arange(4),
        torch.randn(4, 3, 4, 4, generator=generator, dtype=torch.float64),
        torch.tensor([False, True, False, False]),
    )


def against_any_tokens(output: JointOutput) -> Tensor:
    """The alignment's loss against fixed tokens, in place of a teacher's."""
    generator = torch.Generator().manual_seed(3)
    shape = output.projected[0].shape
    return alignment_loss(
        output.projected, torch.randn(shape, generator=generator, dtype=torch.float64)
    )


def reached(model: JointModel, loss: Tensor) -> set[str]:
    """The parts of a joint model that a loss reaches; of its flow, which blocks."""
    model.zero_grad(set_to_none=True)
    if loss.requires_grad:
        loss.backward(retain_graph=True)
    parts: dict[str, nn.Module | None] = {
        "encoder": model.autoencoder.encoder,
        "decoder": model.autoencoder.decoder,
        "flow": model.flow,
        "heads": model.heads,
    }
    return {name for name, part in parts.items() if part is not None and is_reached(part)}


def is_reached(part: nn.Module) -> bool:
    """Whether any weight has a gradient that is not zero."""
    return any(w.grad is not None and bool(w.grad.any()) for w in part.parameters())


def reached_in_flow(flow: Flow) -> str:
    """Blocks with a gradient, with ` part` where it ends at a layer; `class` for the vectors."""
    found = []
    for index, block in enumerate(flow.blocks):
        if is_reached(block):
            found.append(str(index) if is_reached(block.affine_out) else f"{index} part")
    if is_reached(flow.conditioner):
        found.append("class")
    return ", ".join(found) or "none"


def tiny_flow(family: str, spread: float) -> Flow:
    """A flow of three blocks in one of the published forms."""
    given = {"width": 16, "depths": DEPTHS, "head_width": 8} | FAMILIES[family]
    torch.manual_seed(0)
    flow = Flow(settings.Flow(**given), side=2, token_width=3, classes=4)
    stirred = stir(flow.double(), spread)
    assert isinstance(stirred, Flow)
    return stirred


def align(flow: Flow, places: tuple[tuple[int, int], ...], strategy: str) -> None:
    """Leave the gradients of an alignment in the flow."""
    name, reverse = STRATEGIES[strategy]
    alignment = FeatureAlignment(places=places, strategy=name, reverse=reverse)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    condition = flow.condition(torch.tensor([1, 2]))
    taps = frozenset(places_of(alignment, len(flow.blocks)))
    features = aligned_features(alignment, flow, flow.trace(tokens, condition, taps), condition)
    wanted = torch.randn(features[0].shape, generator=generator, dtype=torch.float64)
    flow.zero_grad(set_to_none=True)
    alignment_loss(features, wanted).backward()


def direction(flow: Flow) -> Tensor:
    """The gradient of all weights as one vector of length one."""
    whole = torch.cat(
        [
            (torch.zeros_like(weight) if weight.grad is None else weight.grad).flatten()
            for weight in flow.parameters()
        ]
    )
    return whole / whole.norm()


def losses_table() -> Iterator[str]:
    """Every route and loss: the parts reached."""
    yield from _head(["route", *LOSSES.values()])
    for route in ROUTES:
        model = joint_model(route)
        terms = run(model).terms
        yield _row([route, *(_names(reached(model, getattr(terms, loss))) for loss in LOSSES)])


def alignment_table() -> Iterator[str]:
    """Every route that trains a flow, and every strategy: the parts that alignment reaches."""
    forward = [f"forward, encoder_weight {weight:g}" for weight in ENCODER_WEIGHTS]
    yield from _head(["route", *forward, *list(STRATEGIES)[1:]])
    for route, row in ROUTES.items():
        if "flow" not in row.trained:
            continue
        cells = []
        for weight in ENCODER_WEIGHTS:
            if weight and "encoder" not in row.trained:
                cells.append("refused")
            else:
                cells.append(_aligned(route, "forward", weight))
        cells += [_aligned(route, strategy) for strategy in list(STRATEGIES)[1:]]
        yield _row([route, *cells])


def blocks_table() -> Iterator[str]:
    """Every form of the flow, strategy and choice of blocks: what is reached in the flow."""
    yield from _head(["flow", "strategy", *PLACES])
    for family in FAMILIES:
        flow = tiny_flow(family, 2 * HALF_STIRRED)
        for strategy in STRATEGIES:
            cells = []
            for places in PLACES.values():
                align(flow, places, strategy)
                cells.append(reached_in_flow(flow))
            yield _row([family, strategy, *cells])


def cosine_table() -> Iterator[str]:
    """Every form of the flow and choice of blocks: the gradient's cosine with `exact`."""
    others = [strategy for strategy in STRATEGIES if strategy != "reverse, exact"]
    yield from _head(["flow", "place", *others])
    for family in FAMILIES:
        flow = tiny_flow(family, HALF_STIRRED)
        for name, places in PLACES.items():
            align(flow, places, "reverse, exact")
            exact = direction(flow)
            cells = []
            for strategy in others:
                align(flow, places, strategy)
                cells.append(f"{(direction(flow) @ exact).item():.2f}")
            yield _row([family, name, *cells])


def page() -> str:
    """The whole page."""
    tables = {
        "losses": losses_table(),
        "alignment": alignment_table(),
        "blocks": blocks_table(),
        "cosines": cosine_table(),
    }
    return TEXT.format(**{name: "\n".join(lines) for name, lines in tables.items()})


def aligned_by(strategy: str, encoder_weight: float = 0.0) -> FeatureAlignment:
    """Alignment of the middle block after its first layer, by the strategy of this title."""
    name, reverse = STRATEGIES[strategy]
    return FeatureAlignment(
        teacher=Teacher(width=5),
        weight=0.5,
        encoder_weight=encoder_weight,
        strategy=name,
        reverse=reverse,
        places=((1, 1),),
        head_width=8,
    )


def _aligned(route: str, strategy: str, encoder_weight: float = 0.0) -> str:
    model = joint_model(route, aligned_by(strategy, encoder_weight))
    return _names(reached(model, against_any_tokens(run(model))))


def _names(parts: Iterable[str]) -> str:
    return ", ".join(sorted(parts)) or "none"


def _head(cells: list[str]) -> Iterator[str]:
    yield _row(cells)
    yield _row(["---"] * len(cells))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


TEXT = """# Which loss reaches which weights

Measured from gradients, not copied from the code: `tests/system/objectives/test_routes.py` computes
this page again and fails where it differs. To write it anew:

```sh
python -m tests.reference.gradient_routes
```

Tiny models in float64 whose every weight is at work. A part is reached where the gradient of any of
its weights is not zero; what is not named gets exactly nothing.

## Losses

{losses}

Perceptual and adversarial terms are taken of the decoded image, so they reach what reconstruction
reaches. The posterior's spread is learned here; a fixed one has an entropy without gradient.

## Alignment, by route

Features of block 1 of three, after the first of its two layers; the flow's weight is 0.5. An
encoder_weight equal to it lets the normal pass serve in route `joint`; any other asks for a pass of
its own up to the aligned layer, since one backward pass cannot tell two losses' gradients apart
once they have met in a block. The decoder is never reached.

{alignment}

## Alignment, by strategy, blocks, and form of the flow

Blocks 0, 1, 2 from the data side; a place is (block, layers), with two layers in each block.
`part`: the gradient ends at the aligned layer. `class`: the class's vectors or token (the flow
without classes has none; STARFlow's prefix is in block 2 alone).
`tarflow_shift` is TARFlow's form that keeps volume, without classes; `four_ways` is SimFlow's with
adaptive norms that do not gate, as in ml-starflow's code.

{blocks}

Forward trains the blocks on the data side of a place, reverse those on its noise side, and detach
the block alone. As printed in R-REPA's fast reverse pass (`paper`), the context of the block is
detached and the features are those of the pass over it: what it reaches is what detach reaches.

## How near each is to the true reverse pass

Cosine between the gradient of all weights and that of `exact`, the sequential reverse pass with its
whole history. Weights here are half as far from their start as above: what a context contributes
beside the generated token grows with the distance. In the true reverse pass with only the context
detached, the gradients are those of `straight_through` to rounding
(`tests/system/alignment/test_strategies.py`).

{cosines}
"""

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
