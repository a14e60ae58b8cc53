"""Which loss reaches which weights, for each published way to train the two together.

Every stop-gradient of the joint objective follows from one row of `ROUTES`. The tests print this
table from measured gradients and compare.

| route            | reconstruction reaches | likelihood reaches | as in                           |
| ---------------- | ---------------------- | ------------------ | ------------------------------- |
| joint            | encoder, decoder       | encoder, flow      | SimFlow, end to end             |
| detached         | encoder, decoder       | flow               | REPA-E's rule for its prior     |
| frozen_encoder   | decoder                | flow               | STARFlow, decoder fine-tuned    |
| frozen           | none                   | flow               | STARFlow, latent TARFlow        |
| autoencoder_only | encoder, decoder       | encoder            | autoencoder with prior N(0, I)  |

Perceptual and adversarial terms reach what reconstruction reaches.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

Part = Literal["encoder", "decoder", "flow"]


@dataclass(frozen=True, slots=True)
class Route:
    """The parts that each loss reaches."""

    reconstruction: frozenset[Part]
    likelihood: frozenset[Part]

    @property
    def trained(self) -> frozenset[Part]:
        """The parts that any loss reaches; the others are frozen."""
        return self.reconstruction | self.likelihood


ROUTES: dict[str, Route] = {
    "joint": Route(frozenset({"encoder", "decoder"}), frozenset({"encoder", "flow"})),
    "detached": Route(frozenset({"encoder", "decoder"}), frozenset({"flow"})),
    "frozen_encoder": Route(frozenset({"decoder"}), frozenset({"flow"})),
    "frozen": Route(frozenset(), frozenset({"flow"})),
    "autoencoder_only": Route(frozenset({"encoder", "decoder"}), frozenset({"encoder"})),
}


def freeze_untrained(route: Route, parts: dict[Part, nn.Module]) -> None:
    """Switch gradients off for the parts that no loss of `route` reaches."""
    for part, module in parts.items():
        module.requires_grad_(part in route.trained)
