"""The stack of blocks: shallow ones near the data, a deep one near the noise.

Source: deep-shallow design of STARFlow, arXiv 2506.06276, section 3.
"""

import math
from collections.abc import Mapping
from collections.abc import Set
from dataclasses import dataclass
from types import MappingProxyType

import torch
from einops import rearrange
from jaxtyping import Bool
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.flow.block import Block
from system.flow.block import Pass
from system.flow.conditioning import build_conditioner
from system.flow.ordering import alternating
from system.foundation.settings import flow as settings
from system.layers.embedding import Rotary
from system.layers.embedding import axial_rotary
from system.layers.running import mean_over_workers
from system.layers.steering import Steering

LOG_TWO_PI = math.log(2 * math.pi)
PRIOR_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Trace:
    """One pass from data to noise, with what each block was given and what its layers said."""

    noise: Float[Tensor, "B T D"]
    log_det: Float[Tensor, "B"]  # of the whole map, nats
    inputs: tuple[Float[Tensor, "B T D"], ...]  # of each block, from the data side
    features: dict[tuple[int, int], Float[Tensor, "B T E"]]  # by (block, layers)


class Flow(nn.Module):
    """An invertible map from tokens to Gaussian noise, given a class.

    `tokens` in raster order on a `side` by `side` grid, `token_width` numbers each. The class comes
    as a `condition`: a mixture over classes (see `conditioning`).
    """

    prior_variance: Float[Tensor, "T D"] | None

    def __init__(self, shape: settings.Flow, *, side: int, token_width: int, classes: int) -> None:
        super().__init__()
        self.shape = shape
        self.side = side
        self.token_width = token_width
        self.classes = classes
        self.conditioner = build_conditioner(shape, classes)
        orderings = alternating(len(shape.depths), shape.raster)
        self.blocks = nn.ModuleList(
            Block(shape, depth, tokens=side**2, token_width=token_width, ordering=ordering)
            for depth, ordering in zip(shape.depths, orderings, strict=True)
        )
        for place in shape.checkpointed_blocks:
            self.blocks[place].transformer.recompute = True
        # A map that keeps volume cannot reach a unit variance: the prior takes the noise's own.
        has_own_prior = shape.affine == "shift"
        prior = torch.ones(side**2, token_width) if has_own_prior else None
        self.register_buffer("prior_variance", prior)

    def condition(
        self, label: Int[Tensor, "B"], drop: Bool[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B V"]:
        """The mixture that each label is; the null class where `drop`."""
        chosen = functional.one_hot(label, self.conditioner.columns).to(self._mixture_type())
        if drop is None:
            return chosen
        return torch.where(drop[:, None], self.null_condition(len(label)), chosen)

    def null_condition(self, count: int) -> Float[Tensor, "B V"]:
        """The null class, `count` times."""
        device = next(self.parameters()).device
        like = torch.empty(0, dtype=self._mixture_type(), device=device)
        return self.conditioner.null(like).expand(count, -1)

    def mixture(self, logits: Float[Tensor, "B classes"]) -> Float[Tensor, "B V"]:
        """The mixture that a softmax of logits gives."""
        return functional.pad(logits.softmax(dim=1), (0, self.conditioner.columns - self.classes))

    def steer(self, condition: Float[Tensor, "B V"]) -> tuple[Steering, ...]:
        """What the condition does to each block, from the data side."""
        return self.conditioner(condition)

    def forward(
        self, tokens: Float[Tensor, "B T D"], condition: Float[Tensor, "B V"]
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B"]]:
        """Data to noise, and the log-determinant of the whole map in nats."""
        trace = self.trace(tokens, condition)
        return trace.noise, trace.log_det

    def trace(
        self,
        tokens: Float[Tensor, "B T D"],
        condition: Float[Tensor, "B V"],
        places: Set[tuple[int, int]] = frozenset(),
        passes: Mapping[int, Pass] = MappingProxyType({}),
    ) -> Trace:
        """`forward`, with every block's input and the features at `places`, pairs (block, layers)
        with blocks counted from the data side. `passes` go through their blocks in place of
        `Block.trace`."""
        rotary = self.rotary(tokens)
        log_det = tokens.new_zeros(len(tokens))
        inputs: list[Tensor] = []
        features: dict[tuple[int, int], Tensor] = {}
        for index, (block, steering) in enumerate(
            zip(self.blocks, self.steer(condition), strict=True)
        ):
            taps = {layers for at, layers in places if at == index}
            assert isinstance(block, Block)
            through = passes.get(index, Block.trace)
            passed = through(block, tokens, steering, rotary, taps)
            inputs.append(tokens)
            features |= {(index, layers): passed.features[layers] for layers in taps}
            tokens, log_det = passed.noise, log_det + passed.log_det
        return Trace(tokens, log_det, tuple(inputs), features)

    def inverse(
        self, noise: Float[Tensor, "B T D"], condition: Float[Tensor, "B V"]
    ) -> Float[Tensor, "B T D"]:
        """Noise to data: the exact inverse of `forward`."""
        rotary = self.rotary(noise)
        for block, steering in zip(
            reversed(self.blocks), reversed(self.steer(condition)), strict=True
        ):
            noise = block.inverse(noise, steering, rotary)
        return noise

    def log_prob(
        self, tokens: Float[Tensor, "B T D"], condition: Float[Tensor, "B V"]
    ) -> Float[Tensor, "B"]:
        """log p(tokens | class) in nats, constants kept: change of variables to the prior."""
        noise, log_det = self(tokens, condition)
        return self.prior_log_prob(noise) + log_det

    def prior_log_prob(self, noise: Float[Tensor, "B T D"]) -> Float[Tensor, "B"]:
        """The log-density of the prior in nats: standard normal, or with the tracked variance."""
        if self.prior_variance is None:
            return standard_normal_log_prob(noise)
        variance = self.prior_variance.to(noise.dtype)
        return standard_normal_log_prob(noise / variance.sqrt()) - 0.5 * variance.log().sum()

    def to_prior(self, noise: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Standard normal noise as a draw from the prior."""
        if self.prior_variance is None:
            return noise
        return noise * self.prior_variance.to(noise.dtype).sqrt()

    @torch.no_grad()
    def track_prior(self, noise: Float[Tensor, "B T D"], share: float = 1.0) -> None:
        """Draw the prior's variance towards that of `noise`, over all workers; none without one.

        `share` is the pass's part of an update's images: an update that is cut into several passes
        moves the variance as far as a whole one does.

        Source: TARFlow, arXiv 2412.06329, released code: a running mean with weight 0.1.
        """
        if self.prior_variance is None:
            return
        second_moment = mean_over_workers(noise.square().mean(dim=0))
        rate = 1 - (1 - PRIOR_RATE) ** share
        moved = self.prior_variance.lerp(second_moment.to(self.prior_variance.dtype), rate)
        # A pass that is not finite moves no weight; nor may it spoil the prior for good. Chosen on
        # the device: the host must not wait for it.
        sound = second_moment.isfinite().all()
        self.prior_variance.copy_(torch.where(sound, moved, self.prior_variance))

    def rotary(self, like: Tensor) -> Rotary | None:
        """Positions of the token grid, on `like`'s device and in float32 or its wider type."""
        if self.shape.positions == "learned":
            return None
        condition = self.shape.condition
        still = condition.rotary_pairs if isinstance(condition, settings.Prefix) else 0
        pairs = self.shape.head_width // 2 - still
        return axial_rotary(
            self.side,
            pairs,
            self.shape.rope_base,
            still_pairs=still,
            dtype=torch.promote_types(like.dtype, torch.float32),
            device=like.device,
        )

    def _mixture_type(self) -> torch.dtype:
        return torch.promote_types(next(self.parameters()).dtype, torch.float32)


def standard_normal_log_prob(noise: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """log N(noise; 0, I) in nats, summed over the dimensions of a sample."""
    flat = noise.flatten(1)
    return -0.5 * (flat.square().sum(dim=1) + flat.shape[1] * LOG_TWO_PI)


def to_tokens(latent: Float[Tensor, "B C h w"], patch: int) -> Float[Tensor, "B T D"]:
    """Squares of `patch` by `patch` cells in raster order, channels first inside a token."""
    return rearrange(latent, "b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)


def to_latent(tokens: Float[Tensor, "B T D"], patch: int, size: int) -> Float[Tensor, "B C h w"]:
    """The inverse of `to_tokens` for a grid of `size` by `size` cells."""
    return rearrange(
        tokens, "b (h w) (c p q) -> b c (h p) (w q)", p=patch, q=patch, h=size // patch
    )
