"""Passes of flows and of the joint model, eager and compiled, compared in a fresh interpreter.

There nothing checks shapes: the checks that tests wrap around functions are no code that compiles.
`aot_eager` traces forward and backward as `inductor` does, and then runs the same kernels.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch import nn

from system.autoencoder.autoencoder import Autoencoder
from system.flow.flow import Flow
from system.foundation.recipe import Recipe
from system.foundation.settings import flow as settings
from system.foundation.settings.autoencoder import Convolutional
from system.objectives.joint import JointModel
from system.train.compilation import compile_parts
from tests.system.conftest import FAMILIES
from tests.system.conftest import stir

BACKEND = "aot_eager"
SIDE, TOKEN_WIDTH, CLASSES = 4, 3, 5


def farthest(work: Callable[[], Tensor], other: Callable[[], Tensor], module: nn.Module) -> float:
    """How far apart two ways to a loss are, in it and in every gradient, relative."""
    sides = []
    for way in (work, other):
        module.zero_grad()
        loss = way()
        loss.backward()
        gradients = [w.grad.clone() for w in module.parameters() if w.grad is not None]
        sides.append([loss.detach(), *gradients])
    assert len(sides[0]) == len(sides[1]) > 1
    scale = max(float(each.abs().max()) for each in sides[0])
    return max(float((a - b).abs().max()) for a, b in zip(*sides, strict=True)) / scale


def flow(name: str, *, checkpointed: bool = False) -> float:
    """A family's flow as one graph, with or without recomputed activations."""
    return _flow(FAMILIES[name], checkpointed=checkpointed)


def _flow(form: dict[str, object], *, checkpointed: bool) -> float:
    torch._dynamo.reset()
    shape = settings.Flow(
        **{"width": 16, "depths": (1,), "head_width": 8, "checkpoint_activations": checkpointed}
        | form
    )
    made = stir(Flow(shape, side=SIDE, token_width=TOKEN_WIDTH, classes=CLASSES))
    tokens = torch.randn(2, SIDE**2, TOKEN_WIDTH, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([1, 3])

    def loss() -> Tensor:
        return -made.log_prob(tokens, made.condition(label)).mean()

    return farthest(loss, torch.compile(loss, fullgraph=True, backend=BACKEND), made)


def autoencoder() -> float:
    """The autoencoder as one graph, with attention in its middle."""
    torch._dynamo.reset()
    shape = Convolutional(
        width=8, multipliers=(1, 2), blocks_per_level=1, latent_channels=2, attention=True
    )
    model = Autoencoder(shape, 3)
    image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def loss() -> Tensor:
        return (model.decode(model.encode(image).mean) - image).abs().mean()

    return farthest(loss, torch.compile(loss, fullgraph=True, backend=BACKEND), model)


def joint(recipe: Recipe) -> tuple[float, int]:
    """The joint model with compiled parts beside itself, and how many graphs there were."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    eager, made = JointModel(recipe), JointModel(recipe)
    stir(eager)
    made.load_state_dict(eager.state_dict())
    compile_parts(made, BACKEND)
    data, side = recipe.data, recipe.latent_size
    draws = torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(2, data.image_channels, *(data.image_size,) * 2, generator=draws),
        torch.tensor([0, 1]),
        torch.randn(2, recipe.latent_channels, side, side, generator=draws),
        torch.tensor([False, True]),
    )
    losses = []
    for model in (eager, made):
        loss = model(*inputs).terms.total(recipe.objective)
        loss.backward()
        losses.append(loss)
    pairs = zip(eager.parameters(), made.parameters(), strict=True)
    apart = [losses[0] - losses[1], *[one.grad - other.grad for one, other in pairs]]
    assert not torch._dynamo.utils.counters["graph_break"]
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    return max(float(each.detach().abs().max()) for each in apart), graphs
