"""Guidance for affine flows: one Gaussian out of two, the wanted one and the one it is led away
from (most often the conditional and the null class's).

A block holds for each number of a token a Gaussian N(m, s^2) and a second one N(m', s'^2). A rule
with weight w makes one of the two. Every rule gives the first Gaussian exactly at w = 0, and leaves
two equal ones as they are at any w. With r = s^2 / s'^2:

    starflow   r clipped at 1,  m + w r / (1 + w - w r) (m - m'),  s / sqrt(1 + w - w r)
    linear     m + w (m - m'),  log s + w (log s - log s')
    product    starflow without the clip; where 1 + w - w r <= 0, the first Gaussian

At the edges. `starflow` never widens, and is finite for every weight: the shift moves by at most
w (m - m'), which is what it comes to where the first Gaussian is the wider one (r >= 1; there it is
the linear rule's mean, with s kept). `linear` has no bound in the log scale: exp overflows float32
where it passes 88, and what is drawn then is not finite, which drawing refuses with NumericsError.
`product` is the Gaussian p^(1+w) / p'^w, which has no finite integral where its precision
(1 + w) / s^2 - w / s'^2 is not above zero: there guidance is left out. A precision just above zero
widens without bound; `starflow` is the rule that cannot. For r <= 1 the two are the same.

SimFlow (arXiv 2512.04084) uses a revised rule that is not published in a form we could read. It has
a place and no formula: a function here, a line in RULES and its name in `settings.Sampler`.

Source: `starflow`, STARFlow, arXiv 2506.06276, proposition 2, and its released code; `linear` and
the ramp, TARFlow, arXiv 2412.06329, and its released code; `product`, STARFlow's proposition 2
without its clip.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from system.flow.affine import Affine
from system.flow.affine import Guide
from system.foundation.settings.evaluation import Sampler

Rule = Callable[[float | Tensor, Affine], Affine]  # a weight for all tokens, or for each


def starflow(weight: float | Tensor, both: Affine) -> Affine:
    """The product of Gaussians with the ratio of variances clipped at one.

    `both` has the wanted half first, then the one to lead away from. The spread never grows.
    """
    shift, null_shift, log_scale, null_log_scale = _halves(both)
    gap = 2 * (log_scale - null_log_scale).clamp(max=0)
    return _product(weight, shift, shift - null_shift, log_scale, gap)


def linear(weight: float | Tensor, both: Affine) -> Affine:
    """Shift and log scale, each led on along the line from the other half's."""
    shift, null_shift, log_scale, null_log_scale = _halves(both)
    return Affine(
        shift=shift + weight * (shift - null_shift),
        log_scale=log_scale + weight * (log_scale - null_log_scale),
    )


def product(weight: float | Tensor, both: Affine) -> Affine:
    """The product of Gaussians as it is; the wanted half's own where there is none."""
    shift, null_shift, log_scale, null_log_scale = _halves(both)
    gap = 2 * (log_scale - null_log_scale)
    guided = _product(weight, shift, shift - null_shift, log_scale, gap)
    exists = _precision(weight, gap) > 0  # not so where it is nan, of a ratio that overflows
    return Affine(
        shift=torch.where(exists, guided.shift, shift),
        log_scale=torch.where(exists, guided.log_scale, log_scale),
    )


RULES: dict[str, Rule] = {"starflow": starflow, "linear": linear, "product": product}


def guide(settings: Sampler) -> Guide:
    """What makes one Gaussian of two in a block, as the settings say.

    With the linear ramp the weight of the n-th token that a block changes is n / (their number) of
    the whole; parts that guidance shall not move stay the wanted half's own. The ramp and the parts
    are TARFlow's, and serve every rule here; STARFlow's released code knows neither.
    """
    rule, parts, ramped = (
        RULES[settings.guidance_rule],
        settings.guidance_parts,
        settings.guidance_ramp == "linear",
    )

    def one_of_two(both: Affine, progress: float | Tensor) -> Affine:
        guided = rule(settings.guidance * (progress if ramped else 1.0), both)
        shift, _, log_scale, _ = _halves(both)
        return Affine(
            shift=guided.shift if "b" in parts else shift,
            log_scale=guided.log_scale if "a" in parts else log_scale,
        )

    return one_of_two


def _halves(both: Affine) -> tuple[Tensor, ...]:
    return (*both.shift.chunk(2), *both.log_scale.chunk(2))


def _precision(weight: float | Tensor, gap: Tensor) -> Tensor:
    """1 + w - w r over the first Gaussian's, with log r = gap: exactly one where r is."""
    return 1 - weight * torch.expm1(gap)


def _product(
    weight: float | Tensor, shift: Tensor, apart: Tensor, log_scale: Tensor, gap: Tensor
) -> Affine:
    precision = _precision(weight, gap)
    return Affine(
        shift=shift + weight * gap.exp() / precision * apart,
        log_scale=log_scale - 0.5 * torch.log(precision),
    )
