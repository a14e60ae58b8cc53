"""Whether single updates are odd, and when odd ones are a spike: pure functions of what was read.

An update is odd if its loss, or the logarithm of its gradient's norm, lies far above the median of
the updates before it, measured in robust standard deviations (Rousseeuw & Croux 1993): a median
distance that a few odd updates cannot move. A single odd update is left alone, as clipping bounds
what it can do; several in a row say that the weights have taken harm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

import numpy as np

from system.foundation.settings import guards as settings

# Of normally distributed numbers, standard deviations per median distance from the median.
MEDIAN_DISTANCE = 1.4826
# The least deviations that count: a share of the median loss, and e-folds of the gradient's norm.
LEAST_OF_LOSS = 0.01
LEAST_OF_NORM = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """One update that moved the weights: means over all its images, the same on all workers."""

    start: int  # position of its first image
    loss: float
    gradient_norm: float
    terms: frozenset[str] = frozenset()  # what took part in the loss
    odd: str | None = None  # why it is odd, once judged


@dataclass(frozen=True, slots=True)
class Spike:
    """Odd updates in a row, and the positions to go on without."""

    start: int
    stop: int
    reason: str


def judged(before: Sequence[Reading], reading: Reading, spikes: settings.Spikes) -> Reading:
    """A reading with the reason why it is odd, if it is, given those before it."""
    normal = baseline(before, reading.terms, spikes)
    if len(normal) < spikes.least_updates:
        return reading
    odd = _too_high(
        "loss",
        reading.loss,
        np.array([each.loss for each in normal]),
        spikes.loss_deviations,
    ) or _too_high(
        "logarithm of the gradient norm",
        _log(reading.gradient_norm),
        np.array([_log(each.gradient_norm) for each in normal]),
        spikes.gradient_deviations,
    )
    return replace(reading, odd=odd)


def baseline(
    before: Sequence[Reading], terms: frozenset[str], spikes: settings.Spikes
) -> Sequence[Reading]:
    """The readings that say what is normal: the last ones of the same terms, but for odd ones that
    may be a spike's beginning."""
    stop = len(before)
    while stop and before[stop - 1].odd is not None:
        stop -= 1
    start = stop
    while start and stop - start < spikes.window_updates and before[start - 1].terms == terms:
        start -= 1
    return before[start:stop]


def spike_in(
    readings: Sequence[Reading], spikes: settings.Spikes, global_batch: int
) -> Spike | None:
    """The spike that the last of some judged readings complete, if they do."""
    last = readings[-spikes.odd_updates :]
    if len(last) < spikes.odd_updates or any(each.odd is None for each in last):
        return None
    start = max(0, last[0].start - spikes.updates_before * global_batch)
    return Spike(start, last[-1].start + global_batch, f"{last[0].odd}, and so on")


def _too_high(what: str, value: float, normal: np.ndarray, deviations: float) -> str | None:
    middle = float(np.median(normal))
    spread = MEDIAN_DISTANCE * float(np.median(np.abs(normal - middle)))
    least = LEAST_OF_LOSS * abs(middle) if what == "loss" else LEAST_OF_NORM
    spread = max(spread, least, np.finfo(np.float64).tiny)
    if value <= middle + deviations * spread:  # also false of what is no number
        return None
    return (
        f"the {what} was {value:.4g}, {(value - middle) / spread:.1f} robust deviations above the "
        f"median {middle:.4g} of {len(normal)} updates"
    )


def _log(norm: float) -> float:
    return math.log(max(norm, np.finfo(np.float64).tiny))
