import numpy as np
import pytest

from system.foundation.settings.guards import Spikes
from system.train.guards.spikes import Reading
from system.train.guards.spikes import Spike
from system.train.guards.spikes import baseline
from system.train.guards.spikes import judged
from system.train.guards.spikes import spike_in

SPIKES = Spikes(window_updates=32, least_updates=8, odd_updates=2)
TERMS = frozenset({"loss/total"})


def normal(count: int, level: float = 2.0, noise: float = 0.1, seed: int = 0) -> list[Reading]:
    drawn = np.random.default_rng(seed).normal(size=(count, 2))
    return [
        Reading(8 * n, level + noise * float(a), 0.5 * float(np.exp(0.2 * b)), TERMS)
        for n, (a, b) in enumerate(drawn)
    ]


@pytest.mark.parametrize(
    ("loss", "gradient_norm", "odd"),
    [
        (2.0, 0.5, None),
        (2.4, 0.5, None),
        (0.0, 1e-6, None),  # too good is for other guards
        (4.0, 0.5, "the loss was 4"),
        (2.0, 50.0, "the logarithm of the gradient norm was 3.912"),
        (float("nan"), 0.5, "the loss was nan"),
        (float("inf"), 0.5, "the loss was inf"),
        (2.0, float("inf"), "the logarithm of the gradient norm was inf"),
    ],
)
def test_an_update_is_odd_far_above_the_median(loss, gradient_norm, odd) -> None:
    found = judged(normal(32), Reading(256, loss, gradient_norm, TERMS), SPIKES).odd
    assert found is None if odd is None else (found is not None and found.startswith(odd))


def test_a_constant_loss_has_a_deviation_of_one_percent() -> None:
    still = [Reading(8 * n, 2.0, 0.5, TERMS) for n in range(16)]
    assert judged(still, Reading(128, 2.19, 0.5, TERMS), SPIKES).odd is None
    assert judged(still, Reading(128, 2.21, 0.5, TERMS), SPIKES).odd is not None


def test_a_loss_below_zero_is_judged_alike() -> None:
    below = normal(16, level=-3.0)
    assert judged(below, Reading(128, -2.7, 0.5, TERMS), SPIKES).odd is None
    assert judged(below, Reading(128, -1.0, 0.5, TERMS), SPIKES).odd is not None


def test_nothing_is_odd_before_enough_is_known_of_the_same_terms() -> None:
    odd = Reading(800, 100.0, 0.5, TERMS)
    assert judged(normal(7), odd, SPIKES).odd is None
    assert judged(normal(8), odd, SPIKES).odd is not None
    other = Reading(800, 100.0, 0.5, TERMS | {"loss/critic"})
    assert judged(normal(64), other, SPIKES).odd is None


def test_the_baseline_is_the_last_window_without_what_may_be_a_spike() -> None:
    readings = normal(40)
    odd = Reading(320, 9.0, 9.0, TERMS, odd="so")
    assert baseline([*readings, odd, odd], TERMS, SPIKES) == readings[8:]
    assert baseline([], TERMS, SPIKES) == []


def test_a_few_odd_updates_do_not_hide_the_next() -> None:
    readings = normal(30)
    for n in (3, 9, 20):
        readings[n] = Reading(8 * n, 500.0, 80.0, TERMS, odd="so")
    assert judged(readings, Reading(240, 4.0, 0.5, TERMS), SPIKES).odd is not None


@pytest.mark.parametrize(
    ("marks", "before", "expected"),
    [
        ("....", 0, None),
        ("...x", 0, None),
        (".x.x", 0, None),
        ("..xx", 0, (16, 32)),
        ("..xx", 1, (8, 32)),
        ("..xx", 9, (0, 32)),
        (".xxx", 0, (16, 32)),  # the last two: it was told of after two already
        ("x", 0, None),
        ("", 0, None),
    ],
)
def test_odd_updates_in_a_row_are_a_spike(marks, before, expected) -> None:
    settings = SPIKES.model_copy(update={"updates_before": before})
    readings = [
        Reading(8 * n, 2.0, 0.5, TERMS, odd="so" if mark == "x" else None)
        for n, mark in enumerate(marks)
    ]
    found = spike_in(readings, settings, 8)
    assert found == (None if expected is None else Spike(*expected, "so, and so on"))


def test_ordinary_noise_is_no_spike_in_two_thousand_updates() -> None:
    # Heavy tails, as real batches have: Student's t of three degrees.
    drawn = np.random.default_rng(1).standard_t(3, size=(2000, 2))
    settings, readings, odd = Spikes(), list[Reading](), 0
    for n, (a, b) in enumerate(drawn):
        reading = Reading(8 * n, 2 + 0.1 * float(a), float(np.exp(0.2 * b)), TERMS)
        readings.append(judged(readings[-300:], reading, settings))
        odd += readings[-1].odd is not None
        assert spike_in(readings, settings, 8) is None
    assert odd < 20
