"""A peer's own model with the weights of a flow of ours, to be timed beside it.

    with opened(folder) as peer:
        model = peer.model(weights_of(flow, channels=3))
        assert peer.farthest(model, flow, image, label) < 1e-5

The peer's code is read from a checkout outside of the tree, and is no part of it: ml-tarflow
(TARFlow, arXiv 2412.06329) or ml-starflow (STARFlow, arXiv 2506.06276), told apart by what their
`Model` is called with. Flows whose form a peer does not have are refused by `system.interop`.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor
from torch import nn

from system.flow.flow import Flow
from system.flow.flow import to_latent
from system.flow.flow import to_tokens
from system.foundation.errors import BadInput
from system.foundation.settings import flow as settings
from system.interop import ml_starflow
from system.interop import ml_tarflow
from system.interop.flow_weights import FlowWeights
from tests.golden.peers import flat
from tests.golden.peers import peer_module

Kind = Literal["ml_tarflow", "ml_starflow"]
ARGUMENTS = {
    "ml_tarflow": ml_tarflow.model_arguments,
    "ml_starflow": ml_starflow.model_arguments,
}
WRITE = {"ml_tarflow": ml_tarflow.to_ml_tarflow, "ml_starflow": ml_starflow.to_ml_starflow}
OF_STARFLOW = "soft_clip"  # an argument that ml-tarflow's Model does not have


@dataclass(frozen=True)
class Peer:
    """A peer's code."""

    kind: Kind
    module: ModuleType

    def model(self, whole: FlowWeights) -> nn.Module:
        """The peer's model with exactly these weights; float32, for training or drawing."""
        model: nn.Module = self.module.Model(**ARGUMENTS[self.kind](whole))
        model.load_state_dict(WRITE[self.kind](whole))
        return model

    def condition(self, whole: FlowWeights, label: Int[Tensor, "B"]) -> Tensor | None:
        """Labels as the peer's model takes them: as they are, or one-hot with the null class last
        (`B 1 V`); None where the flow looks at no class."""
        if not whole.shape.is_conditional:
            return None
        if self.kind == "ml_tarflow":
            return label
        every = torch.eye(whole.classes + 1, device=label.device)
        return every[label][:, None]

    def forward(
        self, model: nn.Module, image: Float[Tensor, "B C H W"], condition: Tensor | None
    ) -> tuple[Float[Tensor, "B C H W"], Float[Tensor, "B"]]:
        """Noise, laid out as the image, and log-determinants in nats."""
        if self.kind == "ml_tarflow":
            noise, _, log_det = model(image, condition)
            return model.unpatchify(noise), log_det * noise[0].numel()  # theirs is a mean
        noise, _, _, log_dets = model(image, condition)
        return noise, sum(each.sum(dim=(1, 2)) for each in map(flat, log_dets))

    @torch.no_grad()
    def farthest(
        self,
        model: nn.Module,
        flow: Flow,
        image: Float[Tensor, "B C H W"],
        label: Int[Tensor, "B"],
    ) -> float:
        """How far apart the two are about the same images: the largest difference in noise and
        log-determinants, each over the largest number in it."""
        patch = flow.shape.patch
        noise, log_det = flow(to_tokens(image, patch), flow.condition(label))
        whole = weights_of(flow, image.shape[1])
        other, other_log_det = self.forward(model, image, self.condition(whole, label))
        pairs = ((to_latent(noise, patch, whole.size), other), (log_det, other_log_det))
        return max(float((one - two).abs().max() / one.abs().max()) for one, two in pairs)


@contextmanager
def opened(folder: Path) -> Iterator[Peer]:
    """The peer in a checkout. Its modules can be imported meanwhile, and are gone afterwards.

    Raises BadInput for another program's `transformer_flow.py`.
    """
    with peer_module(str(folder.resolve())) as module:
        if not hasattr(module, "Model"):
            raise BadInput(
                f"--against {folder}: its transformer_flow.py has no class Model; expected a "
                "checkout of ml-tarflow or ml-starflow"
            )
        arguments = inspect.signature(module.Model.__init__).parameters
        kind: Kind = "ml_starflow" if OF_STARFLOW in arguments else "ml_tarflow"
        yield Peer(kind, module)


def weights_of(flow: Flow, channels: int) -> FlowWeights:
    """A flow of images or latents of so many channels, as it crosses between code bases."""
    weights = {name: weight.detach().clone() for name, weight in flow.state_dict().items()}
    return FlowWeights(flow.shape, flow.side, channels, flow.classes, weights)


def drawn_flow(
    shape: settings.Flow, *, side: int, channels: int, classes: int, seed: int = 0
) -> Flow:
    """A flow with random weights that moves its tokens, but not so far that the way back diverges.

    A fresh one leaves everything as it is: what would be compared were zeros.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = Flow(shape, side=side, token_width=channels * shape.patch**2, classes=classes)
        for block in flow.blocks:
            out = block.affine_out
            nn.init.normal_(out.weight, std=0.15 / out.in_features**0.5)
            nn.init.normal_(out.bias, std=0.1)
    return flow
