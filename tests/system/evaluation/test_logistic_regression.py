import numpy as np
import pytest
import torch
from sklearn import linear_model

from system.evaluation.linear_probe import LinearProbe
from system.evaluation.logistic_regression import regress
from system.evaluation.logistic_regression import regression_probe
from system.evaluation.probe_classifiers import LogisticRegression
from system.evaluation.scores.accuracy import accuracy
from system.foundation import streams

PENALTIES = LogisticRegression().penalties


def blobs(count: int, apart: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Four overlapping clouds in six dimensions of unlike scale, float32 as features are."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 4
    centres = torch.randn(4, 6, generator=torch.Generator().manual_seed(9))
    features = apart * centres[label] + torch.randn(count, 6, generator=generator)
    return features * torch.tensor([1.0, 10.0, 0.1, 1.0, 1.0, 3.0]) + 5, label


def trained(features: torch.Tensor, label: torch.Tensor, classes: int = 4) -> LinearProbe:
    return regression_probe(features, label, classes=classes, seed=0, way=LogisticRegression())


def penalty_of(probe: LinearProbe) -> float:
    return probe.chosen["penalty"]


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_a_fit_is_that_of_scikit_learn(penalty: float) -> None:
    features, label = blobs(200, 1.0)
    blank = LinearProbe.blank(features, 4)
    found = regress(features, label, penalty, blank)
    scaled = ((features.double() - blank.centre) / blank.width).numpy()
    # Its C weighs the sum of the losses over samples, against half the squared weights.
    reference = linear_model.LogisticRegression(
        C=1 / (len(label) * penalty), tol=1e-10, max_iter=10_000
    )
    reference.fit(scaled, label.numpy())

    def objective(log_prob: np.ndarray, weight: np.ndarray) -> float:
        fit = -log_prob[np.arange(len(label)), label.numpy()].mean()
        return fit + penalty / 2 * np.square(weight).sum()

    ours = objective(found.logits(features).log_softmax(dim=1).numpy(), found.weight.numpy())
    theirs = objective(reference.predict_log_proba(scaled), reference.coef_)
    assert ours == pytest.approx(theirs, abs=1e-8)  # where the slope is about 1e-6


def test_features_may_be_moved_and_scaled() -> None:
    features, label = blobs(80, 1.0)
    probes = [trained(each, label) for each in (features, 64 * features - 8)]
    assert penalty_of(probes[0]) == penalty_of(probes[1])
    # Powers of two and whole numbers: no rounding, but for the eps under the variance's root.
    torch.testing.assert_close(
        probes[0].logits(features), probes[1].logits(64 * features - 8), rtol=0, atol=1e-2
    )


def test_the_penalty_is_what_does_best_on_a_fifth_of_the_training_images() -> None:
    features, label = blobs(200, 0.5)
    noise = torch.randn(200, 20, generator=torch.Generator().manual_seed(3))
    features = torch.cat([features, noise], dim=1)
    order = torch.from_numpy(streams.generator(0, "probe/held_back").permutation(200))
    held_back, used = order[:40], order[40:]
    scores = {}
    for penalty in PENALTIES:
        alone = regress(features[used], label[used], penalty, LinearProbe.blank(features[used], 4))
        scores[penalty] = accuracy(alone.logits(features[held_back]), label[held_back])
    found = trained(features, label)
    assert len(set(scores.values())) > 1
    assert penalty_of(found) == max(scores, key=lambda penalty: (scores[penalty], penalty))
    whole = regress(features, label, penalty_of(found), LinearProbe.blank(features, 4))
    assert torch.equal(found.weight, whole.weight)


def test_of_penalties_that_do_equally_well_the_strongest_is_taken() -> None:
    features, label = blobs(120, 30.0)
    assert penalty_of(trained(features, label)) == max(PENALTIES)


def test_it_generalises_as_well_as_the_clouds_allow() -> None:
    features, label = blobs(400, 1.0)
    fresh, fresh_label = blobs(400, 1.0, seed=1)
    probe = trained(features, label)
    found = accuracy(probe.logits(fresh), fresh_label)
    assert found > 0.8
    assert found <= 1


def test_it_is_a_function_of_its_input() -> None:
    features, label = blobs(60, 1.0)
    with torch.no_grad():
        first = trained(features, label)
    second = trained(features, label)
    assert torch.equal(first.weight, second.weight)
    assert not first.weight.requires_grad


def test_numbers_that_never_change_and_classes_that_are_missing_do_no_harm() -> None:
    features, label = blobs(60, 1.0)
    features[:, 2] = 7.0
    probe = trained(features, label, classes=6)
    logits = probe.logits(features)
    assert logits.isfinite().all()
    assert set(np.unique(logits.argmax(dim=1).numpy())) <= set(range(4))
