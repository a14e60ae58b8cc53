import pytest
import torch

from system.evaluation.linear_probe import LinearProbe
from system.evaluation.linear_probe import choose
from system.foundation import streams
from system.foundation.errors import NumericsError

LABEL = torch.arange(40) % 2
FEATURES = torch.stack([LABEL.float(), 100 * torch.ones(40)], dim=1)


def says(correct: float) -> LinearProbe:
    """Right of a label with weight 1, wrong with -1, all alike with 0."""
    weight = torch.zeros(2, 2, dtype=torch.float64)
    weight[1, 0] = correct
    zero = torch.zeros(2, dtype=torch.float64)
    return LinearProbe(zero, zero + 1, weight, torch.tensor([0.5, 0.0]).double() * correct)


def chosen(*candidates: float, seed: int = 0) -> tuple[float, list[tuple[int, float]]]:
    """The candidate that is taken, and each fit with the number of its images."""
    fits = []

    def fit(features, label, candidate, start):
        fits.append((len(label), candidate))
        return says(candidate)

    _, best = choose(fit, candidates, FEATURES, LABEL, classes=2, held_back=0.2, seed=seed)
    return best, fits


def test_what_does_best_on_the_share_held_back_is_taken_and_fitted_on_all():
    best, fits = chosen(-1.0, 1.0, -2.0)
    assert best == 1.0
    assert fits == [(32, -1.0), (32, 1.0), (32, -2.0), (40, 1.0)]


def test_of_equals_the_first_is_taken():
    assert chosen(-1.0, 2.0, 1.0)[0] == 2.0


def test_what_is_not_finite_is_never_taken():
    assert chosen(float("nan"), -1.0)[0] == -1.0
    with pytest.raises(NumericsError, match="smaller learning rates"):
        chosen(float("nan"))


def test_the_seed_says_what_is_held_back():
    seen = []

    def fit(features, label, candidate, start):
        seen.append(features[:, 0])
        return says(1.0)

    numbered = torch.stack([torch.arange(40.0), LABEL.float()], dim=1)
    choose(fit, (1.0,), numbered, LABEL, classes=2, held_back=0.25, seed=3)
    order = streams.generator(3, "probe/held_back").permutation(40)
    assert seen[0].tolist() == order[10:].tolist()


def test_a_blank_probe_knows_mean_and_spread():
    blank = LinearProbe.blank(FEATURES, 3)
    scaled = blank.scaled(FEATURES)
    assert scaled.mean(dim=0).tolist() == pytest.approx([0, 0])
    assert scaled[:, 0].var(correction=0).item() == pytest.approx(1, abs=1e-5)  # the eps of 1e-6
    assert blank.logits(FEATURES).eq(0).all()
