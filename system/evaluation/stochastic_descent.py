"""A linear probe trained by stochastic gradients, as MAE's, its rate chosen on training data.

A batch norm without affine map (statistics of each batch while training, running ones after), then
weights and biases, from N(0, 0.01) cut at two spreads, and zero. Momentum or LARS without weight
decay; the rate rises linearly and falls by a half cosine, and is given for a batch of 256. Every
epoch has an order of its own, a function of (seed, epoch); what is left of it after whole batches
is left out. Of rates and lengths that do equally well the smallest are taken.

MAE's LARS scales each step by 0.001 |W| / |gradient|: it takes batches and rates as large as MAE's
(16,384 and 0.1 per 256) to get anywhere in 90 epochs, so that small data want momentum.

Source: He et al. 2021, MAE, arXiv 2111.06377, appendix A.1; LARS: You et al. 2017, arXiv
1708.03888.
"""

import math
from itertools import product

import torch
from jaxtyping import Float
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from system.evaluation.linear_probe import EPS
from system.evaluation.linear_probe import LinearProbe
from system.evaluation.linear_probe import choose
from system.evaluation.probe_classifiers import StochasticDescent
from system.foundation import streams

BATCH_OF_RATES = 256
START_SPREAD = 0.01
TRUST = 0.001  # LARS's coefficient
RUNNING = 0.1  # share of a batch in the running statistics


def descent_probe(
    features: Float[Tensor, "N F"],
    label: Int[Tensor, "N"],
    *,
    classes: int,
    seed: int,
    way: StochasticDescent,
) -> LinearProbe:
    """The probe of these training features; `seed` draws its start, its orders, and which images
    rate and length are chosen on. Raises NumericsError where every rate diverges."""

    def fit(
        used: Tensor, told: Tensor, candidate: tuple[float, int], blank: LinearProbe
    ) -> LinearProbe:
        rate, epochs = candidate
        return descend(used, told, rate=rate, epochs=epochs, way=way, seed=seed, classes=classes)

    probe, _ = choose(
        fit,
        [*product(way.rates, way.epochs)],
        features,
        label,
        classes=classes,
        held_back=way.held_back,
        seed=seed,
    )
    return probe


@torch.no_grad()
def descend(
    features: Float[Tensor, "N F"],
    label: Int[Tensor, "N"],
    *,
    rate: float,
    epochs: int,
    way: StochasticDescent,
    seed: int,
    classes: int,
) -> LinearProbe:
    """The probe after so many epochs at this rate (for a batch of 256)."""
    count, width = features.shape
    batch = min(way.batch, count)
    steps = count // batch
    weight, bias = _start(classes, width, seed), torch.zeros(classes)
    moved = torch.zeros_like(weight), torch.zeros_like(bias)
    running = torch.zeros(width), torch.ones(width)
    for epoch in range(epochs):
        order = torch.from_numpy(streams.generator(seed, "probe/order", epoch).permutation(count))
        for step, chosen in enumerate(order[: steps * batch].split(batch)):
            scaled = _normed(features[chosen].float(), running)
            error = (scaled @ weight.T + bias).softmax(dim=1)
            error = (error - functional.one_hot(label[chosen], classes)) / batch
            now = batch / BATCH_OF_RATES * rate
            now *= schedule((epoch + step / steps) / epochs, way.warmup)
            for value, gradient, before in zip(
                (weight, bias), (error.T @ scaled, error.sum(dim=0)), moved, strict=True
            ):
                if way.optimiser == "lars" and value.ndim > 1:
                    gradient = trusted(value, gradient)
                before.mul_(way.momentum).add_(gradient)
                value.sub_(now * before)
    centre, spread = running[0].double(), (running[1].double() + EPS).sqrt()
    told = {"learning_rate": rate, "epochs": float(epochs)}
    return LinearProbe(centre, spread, weight.double(), bias.double(), told)


def schedule(progress: float, warmup: float) -> float:
    """The rate's share of its peak: a line up during warm-up, then half a cosine down to zero."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def trusted(value: Float[Tensor, "..."], gradient: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The gradient brought to a thousandth of the value's norm; as it is where either is zero."""
    length, slope = value.norm(), gradient.norm()
    return gradient * (TRUST * length / slope) if length > 0 and slope > 0 else gradient


def _normed(batch: Float[Tensor, "B F"], running: tuple[Tensor, Tensor]) -> Float[Tensor, "B F"]:
    """The batch by its own statistics; the running ones follow it (variance without its bias)."""
    variance, mean = torch.var_mean(batch, dim=0, correction=0)
    unbiased = variance * (len(batch) / max(1, len(batch) - 1))
    running[0].lerp_(mean, RUNNING)
    running[1].lerp_(unbiased, RUNNING)
    return (batch - mean) / (variance + EPS).sqrt()


def _start(classes: int, width: int, seed: int) -> Float[Tensor, "classes F"]:
    """Normal with spread 0.01, drawn within two spreads: by the inverse of its distribution."""
    share = torch.from_numpy(streams.generator(seed, "probe/start").random((classes, width)))
    lowest = 0.5 * math.erfc(2 / math.sqrt(2))
    return START_SPREAD * torch.special.ndtri(lowest + (1 - 2 * lowest) * share).float()
