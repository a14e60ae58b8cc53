"""What the flow's density knows of held-out images: bits per dimension, and their classes.

`bits_per_dim` is the cross-entropy E[-log2 p(z | class)] / dims of held-out latents z ~ q(z | x)
under the flow, given the true class: a code length of the latent, of which the posterior's own
noise is a part that no flow can save. It is no likelihood of pixels: it bounds the entropy of the
latents from above, and moves with the scale that the encoder chooses.

`rate_bits_per_dim` takes that noise out: E[log2 q(z | x) - log2 p(z | class)] / dims, the rate of
the evidence bound  -log p(x | class) <= E[-log p(x | z)] + rate.  It bounds from above what the
latent tells of the image beside its class (their conditional mutual information), and so can be
compared between posteriors of other spread. The bound's other term would need a density of pixels
given z, which a decoder trained by absolute difference and discriminators does not state; so no
bits per pixel are given.

Classes: the bound is the same for every class but for log p(z | class), so the mean of it over
posterior draws is the logit of the Bayes classifier (uniform prior), exactly.

Source: SimFlow, arXiv 2512.04084; training-free classification of R-REPA, arXiv 2511.22345.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from system.evaluation.measures.bench import Bench
from system.evaluation.measures.latents import held_out_posteriors
from system.evaluation.measures.latents import latent_noise
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Measurement
from system.evaluation.scores import accuracy
from system.flow.density_classifier import bayes_logits
from system.flow.density_classifier import gradient_logits
from system.flow.flow import Flow
from system.flow.flow import to_tokens
from system.objectives.likelihood import bits_per_dim
from system.objectives.likelihood import entropy_per_dim


def density(bench: Bench) -> list[Measurement]:
    """Held-out bits per dimension and rate; accuracy of the exact and one-gradient classifiers."""
    flow, patch = bench.subject.model.flow, bench.subject.recipe.flow.patch
    settings = bench.settings
    bayes, gradient, entropy = [], [], 0.0
    for index, posterior in held_out_posteriors(bench):
        draws = [
            to_tokens(posterior.sample(latent_noise(bench, index, draw)), patch)
            for draw in range(max(settings.density_samples, settings.gradient_samples))
        ]
        bayes.append(_mean_logits(bayes_logits, flow, draws[: settings.density_samples]))
        gradient.append(_mean_logits(gradient_logits, flow, draws[: settings.gradient_samples]))
        entropy += entropy_per_dim(posterior).item() * len(index) / len(bench.held_out.label)
    return _measurements(bench, torch.cat(bayes).cpu(), torch.cat(gradient).cpu(), entropy)


def _mean_logits(
    classify: Callable[[Flow, Tensor], Tensor], flow: Flow, draws: list[Tensor]
) -> Float[Tensor, "B classes"]:
    """The logits of latents, averaged over posterior draws of the same images."""
    return torch.stack([classify(flow, tokens) for tokens in draws]).mean(dim=0)


def _measurements(
    bench: Bench,
    bayes: Float[Tensor, "N classes"],
    gradient: Float[Tensor, "N classes"],
    entropy_nats: float,
) -> list[Measurement]:
    label = bench.held_out.label
    recipe = bench.subject.recipe
    nll = -bayes.gather(1, label[:, None]).squeeze(1).double()
    bits = bits_per_dim(nll, recipe.tokens * recipe.token_width)
    error = bits.std().item() / math.sqrt(len(bits))
    numbers = {
        "bits_per_dim": bits.mean().item(),
        "rate_bits_per_dim": bits.mean().item() - entropy_nats / math.log(2),
        "bayes_accuracy": accuracy(bayes, label),
        "gradient_accuracy": accuracy(gradient, label),
    }
    settings = bench.settings
    measurements = []
    for name, value in numbers.items():
        is_gradient = name == "gradient_accuracy"
        draws = settings.gradient_samples if is_gradient else settings.density_samples
        measurements.append(
            Measurement(
                name=f"evaluation/{name}",
                value=value,
                standard_error=error if name.endswith("bits_per_dim") else None,
                protocol=bench.density_protocol(name, Latents(draws=draws, seed=settings.seed)),
            )
        )
    return measurements
