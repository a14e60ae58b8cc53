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
| decoder_only     | decoder                | none               | STARFlow, its decoder's stage   |

Perceptual and adversarial terms reach what reconstruction reaches.

Alignment reaches its heads, the blocks that its strategy says (`alignment.strategies`), and never
the decoder. The encoder it reaches as far as `encoder_weight` says, whatever the route does with
the likelihood: REPA-E has 1.5 for the encoder beside 0.5 for the flow, and keeps the likelihood
from the encoder (route `detached`). docs/results/gradient_routes.md has it all, measured.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from system.foundation.settings.objective import FeatureAlignment

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
    "decoder_only": Route(frozenset({"decoder"}), frozenset()),
}


def encoder_share(route: Route, alignment: FeatureAlignment) -> float | None:
    """The factor on the alignment's gradient where it leaves the flow for the encoder.

    None where the features of the normal pass, or of one that never leads there, do as asked. Where
    they do not, the likelihood and the alignment need passes of their own: one backward pass cannot
    tell their gradients apart once they have met in a block.

    Source: REPA-E, arXiv 2504.10483, whose code updates the autoencoder in a step of its own.
    """
    if alignment.strategy != "forward" or "encoder" not in route.trained:
        return None
    wanted = alignment.encoder_weight / alignment.weight if alignment.weight else 0.0
    given = 1.0 if "encoder" in route.likelihood else 0.0
    return None if wanted == given else wanted


def freeze_untrained(route: Route, parts: dict[Part, nn.Module]) -> None:
    """Switch gradients off for the parts that no loss of `route` reaches."""
    for part, module in parts.items():
        module.requires_grad_(part in route.trained)
