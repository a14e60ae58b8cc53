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
bits per pixel are given. Of a flow on pixels with uniform noise the rate is a bound on them, and
given as `pixel_bits_per_dim` too: see `code_lengths`. Single images: `held_out_lengths`.

Classes: the bound is the same for every class but for log p(z | class), so the mean of it over
posterior draws is the logit of the Bayes classifier (uniform prior), exactly. Top-5 accuracy is
given beside top-1 where there are more than five classes. Of more than a hundred classes the exact
classifier, which asks for each of them, is left out. A flow without classes has its bits and rate
measured, and nothing said of classes.

Source: SimFlow, arXiv 2512.04084; training-free classification of R-REPA, arXiv 2511.22345.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from jaxtyping import Float64
from jaxtyping import Int
from torch import Tensor

from system.evaluation.code_lengths import bounds_pixels
from system.evaluation.code_lengths import entropy_bits
from system.evaluation.measures.bench import Bench
from system.evaluation.measures.latents import held_out_posteriors
from system.evaluation.measures.latents import latent_noise
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Measurement
from system.evaluation.scores.accuracy import accuracy
from system.flow.density_classifier import bayes_logits
from system.flow.density_classifier import gradient_logits
from system.flow.flow import Flow
from system.flow.flow import to_tokens
from system.foundation.errors import NumericsError
from system.objectives.likelihood import bits_per_dim

TOP = 5
MOST_CLASSES = 100  # that the exact classifier asks for

Ask = Callable[[Flow, Tensor, Tensor], Tensor]  # the flow, tokens, and their true labels


def density(bench: Bench) -> list[Measurement]:
    """Held-out bits per dimension and rate; accuracy of the exact and one-gradient classifiers."""
    flow, settings = bench.subject.model.flow, bench.settings
    label = bench.held_out.label
    if not flow.shape.is_conditional:
        log_prob, entropy = _over_held_out(bench, _of_no_class, settings.density_samples)
        return _lengths(bench, log_prob.squeeze(1), entropy)
    gradient, _ = _over_held_out(bench, _by_gradient, settings.gradient_samples)
    by_gradient = _accuracies(bench, "gradient", gradient, settings.gradient_samples)
    if flow.classes > MOST_CLASSES:
        log_prob, entropy = _over_held_out(bench, _of_true_class, settings.density_samples)
        return [*_lengths(bench, log_prob.squeeze(1), entropy), *by_gradient]
    bayes, entropy = _over_held_out(bench, _by_bayes, settings.density_samples)
    return [
        *_lengths(bench, bayes.gather(1, label[:, None]).squeeze(1), entropy),
        *_accuracies(bench, "bayes", bayes, settings.density_samples),
        *by_gradient,
    ]


def _of_no_class(
    flow: Flow, tokens: Float[Tensor, "B T D"], label: Int[Tensor, "B"]
) -> Float[Tensor, "B 1"]:
    return flow.log_prob(tokens, flow.null_condition(len(label)))[:, None]


def _of_true_class(
    flow: Flow, tokens: Float[Tensor, "B T D"], label: Int[Tensor, "B"]
) -> Float[Tensor, "B 1"]:
    return flow.log_prob(tokens, flow.condition(label.to(tokens.device)))[:, None]


def _by_bayes(
    flow: Flow, tokens: Float[Tensor, "B T D"], _: Int[Tensor, "B"]
) -> Float[Tensor, "B K"]:
    return bayes_logits(flow, tokens)


def _by_gradient(
    flow: Flow, tokens: Float[Tensor, "B T D"], _: Int[Tensor, "B"]
) -> Float[Tensor, "B K"]:
    return gradient_logits(flow, tokens)


@torch.no_grad()
def _over_held_out(
    bench: Bench, ask: Ask, draws: int
) -> tuple[Float[Tensor, "N K"], Float64[Tensor, "N"]]:
    """What the flow is asked of the held-out latents, as a mean over posterior draws of an image,
    and the posteriors' entropies in bits per dimension. Raises NumericsError where an answer is not
    finite: the largest of such is no class, and their mean no length."""
    flow, patch = bench.subject.model.flow, bench.subject.recipe.flow.patch
    answers, entropies = [], []
    for index, posterior in held_out_posteriors(bench):
        label = bench.held_out.label[index.start : index.stop]
        drawn = [
            ask(flow, to_tokens(posterior.sample(latent_noise(bench, index, draw)), patch), label)
            for draw in range(draws)
        ]
        answers.append(torch.stack(drawn).mean(dim=0))
        entropies.append(entropy_bits(posterior))
    answer = torch.cat(answers).cpu()
    broken = int((~answer.isfinite()).any(dim=1).sum())
    if broken:
        raise NumericsError(
            f"found {broken} of {len(answer)} held-out images whose log-density (or its gradient) "
            "is not finite; expected none. The weights have most likely diverged: see the run's "
            "losses and skipped updates, and evaluate an earlier checkpoint"
        )
    return answer, torch.cat(entropies).cpu()


def _lengths(
    bench: Bench, log_prob: Float[Tensor, "N"], entropy: Float64[Tensor, "N"]
) -> list[Measurement]:
    """Code lengths of the latents, with and without the posterior's own noise; of pixels, where
    the latter is a bound on them."""
    recipe, settings = bench.subject.recipe, bench.settings
    bits = bits_per_dim(-log_prob.double(), recipe.tokens * recipe.token_width)
    values = {"bits_per_dim": bits, "rate_bits_per_dim": bits - entropy}
    if bounds_pixels(recipe.autoencoder):
        values["pixel_bits_per_dim"] = bits - entropy
    latents = Latents(draws=settings.density_samples, seed=settings.seed)
    return [
        Measurement(
            name=f"evaluation/{name}",
            value=each.mean().item(),
            standard_error=each.std().item() / math.sqrt(len(each)),
            protocol=bench.density_protocol(name, latents),
        )
        for name, each in values.items()
    ]


def _accuracies(
    bench: Bench, classifier: str, logits: Float[Tensor, "N classes"], draws: int
) -> list[Measurement]:
    """Top-1, and top-5 where that says something."""
    label, latents = bench.held_out.label, Latents(draws=draws, seed=bench.settings.seed)
    names = {f"{classifier}_accuracy": 1}
    if logits.shape[1] > TOP:
        names[f"{classifier}_top{TOP}_accuracy"] = TOP
    return [
        Measurement(
            name=f"evaluation/{name}",
            value=accuracy(logits, label, top),
            protocol=bench.density_protocol(name, latents),
        )
        for name, top in names.items()
    ]
