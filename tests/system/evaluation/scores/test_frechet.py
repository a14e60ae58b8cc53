"""The vectors are those of the published analyses: closed forms, and one seeded set."""

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet import frechet_distance
from system.evaluation.scores.frechet import frechet_distance_of
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput
from system.foundation.errors import NumericsError


def moments(covariance, mean=None) -> FeatureStatistics:
    """Moments of nobody knows how many samples."""
    covariance = torch.as_tensor(covariance, dtype=torch.float64)
    mean = torch.zeros(len(covariance)) if mean is None else torch.as_tensor(mean)
    return FeatureStatistics(2, mean.double(), covariance)  # count - 1 is 1: scatter is covariance


def rotation(width: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(
        np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]
    )


def seeded_set() -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(12345)
    x = generator.standard_normal((200, 8))
    y = generator.standard_normal((300, 8)) * np.linspace(0.5, 1.5, 8) + 0.25
    return torch.from_numpy(x), torch.from_numpy(y)


def test_identity_with_shifted_mean_at_full_width():
    first, second = moments(torch.eye(2048)), moments(torch.eye(2048), torch.ones(2048))
    assert frechet_distance(first, second) == pytest.approx(2048, rel=1e-12)


def test_isotropic_and_diagonal():
    value = frechet_distance(moments(4 * torch.eye(5)), moments(9 * torch.eye(5)))
    assert value == pytest.approx(5)
    left, right = torch.tensor([1.0, 4, 9]), torch.tensor([4.0, 4, 1])
    shift = torch.tensor([1.0, -1, 2])
    expected = (left.sqrt() - right.sqrt()).square().sum() + shift.square().sum()
    value = frechet_distance(moments(left.diag()), moments(right.diag(), shift))
    assert value == pytest.approx(expected.item(), rel=1e-12)


def test_two_by_two_without_common_axes():
    a, b = [[2, 1], [1, 2]], [[1, 0], [0, 3]]
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(0.5166852264521173, rel=1e-12)
    assert frechet_distance(moments(a), moments(b, [1.0, -2.0])) == pytest.approx(
        5.516685226452117, rel=1e-12
    )


def test_rotated_blocks_of_many_scales():
    generator = np.random.default_rng(7)
    pairs, cross = [], 0.0
    for scale in np.geomspace(1, 1e-4, 16):
        roots = generator.standard_normal((2, 2, 2)) * scale**0.5
        a, b = (torch.from_numpy(r @ r.T) for r in roots)
        pairs.append((a, b))
        cross += float(((a @ b).trace() + 2 * (a.det() * b.det()).sqrt()).sqrt())
    turn = rotation(32, 8)
    first = turn @ torch.block_diag(*(a for a, _ in pairs)) @ turn.T
    second = turn @ torch.block_diag(*(b for _, b in pairs)) @ turn.T
    expected = float(first.trace() + second.trace()) - 2 * cross
    # Eigenvalue forms lose half the digits of the smallest directions: 1e-10 is their tolerance.
    assert frechet_distance(moments(first), moments(second)) == pytest.approx(expected, rel=1e-10)


def test_rank_one():
    u, v = torch.tensor([1.0, 2, 2]), torch.tensor([2.0, 0, 1])
    value = frechet_distance(moments(torch.outer(u, u)), moments(torch.outer(v, v)))
    assert value == pytest.approx(6, abs=1e-6)  # square root of rounding: rank-deficient moments
    # The same as data: two points at +-u/sqrt(2) have covariance u u^T.
    x, y = (torch.stack([w, -w]).double() / 2**0.5 for w in (u, v))
    assert frechet_distance_of(x, y) == pytest.approx(6, rel=1e-12)


def test_fewer_samples_than_features_against_fifty_digits():
    generator = np.random.default_rng(3)
    x, y = generator.standard_normal((6, 10)), generator.standard_normal((7, 10)) * 1.3 + 0.2
    with mpmath.workdps(50):
        centred = []
        for data in (x, y):
            rows = mpmath.matrix(data.tolist())
            for j in range(10):
                mean = mpmath.fsum(rows[i, j] for i in range(rows.rows)) / rows.rows
                for i in range(rows.rows):
                    rows[i, j] -= mean
            centred.append(rows / mpmath.sqrt(rows.rows - 1))
        product = centred[0] * centred[1].T
        trace = sum(mpmath.mnorm(c, "f") ** 2 for c in centred)
        shift = mpmath.fsum(
            (mpmath.fsum(x[:, j].tolist()) / 6 - mpmath.fsum(y[:, j].tolist()) / 7) ** 2
            for j in range(10)
        )
        cross = mpmath.fsum(mpmath.svd_r(product, compute_uv=False))
        exact = float(shift + trace - 2 * cross)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    assert frechet_distance_of(x, y) == pytest.approx(exact, rel=1e-12)
    by_moments = frechet_distance(FeatureStatistics.of(x), FeatureStatistics.of(y))
    assert by_moments == pytest.approx(exact, rel=1e-9)
    assert Factored.of(FeatureStatistics.of(y)).distance_of(x) == pytest.approx(exact, rel=1e-9)


def test_few_samples_against_a_full_reference_with_fifty_digits():
    generator = np.random.default_rng(4)
    x = generator.standard_normal((6, 10)) * 1.2
    root = generator.standard_normal((10, 10)) * np.geomspace(1, 1e-2, 10)
    with mpmath.workdps(50):
        factor, rows = mpmath.matrix(root.tolist()), mpmath.matrix(x.tolist())
        means = [mpmath.fsum(rows[i, j] for i in range(6)) / 6 for j in range(10)]
        for i in range(6):
            for j in range(10):
                rows[i, j] = (rows[i, j] - means[j]) / mpmath.sqrt(5)
        cross = mpmath.fsum(mpmath.svd_r(rows * factor, compute_uv=False))
        squares = mpmath.mnorm(rows, "f") ** 2 + mpmath.mnorm(factor, "f") ** 2
        exact = float(squares + mpmath.fsum(m**2 for m in means) - 2 * cross)
    root = torch.from_numpy(root)
    reference = Factored.of(
        FeatureStatistics(10**4, torch.zeros(10).double(), root @ root.T * 9999)
    )
    x = torch.from_numpy(x)
    assert reference.distance_of(x) == pytest.approx(exact, rel=1e-11)
    assert reference.distance(FeatureStatistics.of(x)) == pytest.approx(exact, rel=1e-9)


def test_other_programs_find_the_same_of_the_same_features():
    x, y = seeded_set()
    value = frechet_distance_of(x, y)
    theirs = fid_statistics_to_metric(*map(fid_features_to_statistics, (x, y)), verbose=False)
    assert value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)
    covariances = [np.cov(one.numpy(), rowvar=False) for one in (x, y)]
    shift = (x.mean(dim=0) - y.mean(dim=0)).square().sum().item()
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    slow = shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root.real)
    assert value == pytest.approx(slow, rel=1e-9)
    metric = FrechetInceptionDistance(feature=Itself(), input_img_size=(1, 1, 8)).set_dtype(
        torch.float64
    )
    metric.update(x[:, None, None], real=True)
    metric.update(y[:, None, None], real=False)
    assert value == pytest.approx(metric.compute().item(), rel=1e-9)


class Itself(torch.nn.Module):
    """Features that are the pixels."""

    num_features = 8

    def forward(self, image):
        return image.flatten(1).double()


def test_a_factored_reference_is_that_reference():
    x, y = (FeatureStatistics.of(one) for one in seeded_set())
    reference = Factored.of(x)
    torch.testing.assert_close(reference.factor @ reference.factor.T, x.covariance)
    assert reference.distance(y) == frechet_distance(x, y)
    assert reference.distance(x) == pytest.approx(0, abs=1e-12)


def test_features_of_another_width_are_refused():
    with pytest.raises(BadInput, match="width 3 and a reference of width 8"):
        Factored.of(FeatureStatistics.of(seeded_set()[0])).distance(moments(torch.eye(3)))


def test_seeded_set_has_the_recorded_distance():
    x, y = seeded_set()
    assert x[0, :3].tolist() == pytest.approx([-1.42382504, 1.26372846, -0.87066174], abs=1e-8)
    assert frechet_distance_of(x, y) == pytest.approx(1.323454864641, abs=1e-11)
    value = frechet_distance(FeatureStatistics.of(x), FeatureStatistics.of(y))
    assert value == pytest.approx(1.323454864641, abs=1e-11)


def test_invariances():
    x, y = seeded_set()
    value = frechet_distance_of(x, y)
    turn, shift = rotation(8, 1), torch.arange(8.0)
    moved = frechet_distance_of(x @ turn + shift, y @ turn + shift)
    assert moved == pytest.approx(value, rel=1e-10)
    assert frechet_distance_of(y, x) == pytest.approx(value, rel=1e-12)
    assert frechet_distance_of(3 * x, 3 * y) == pytest.approx(9 * value, rel=1e-12)
    assert frechet_distance_of(x, x) == pytest.approx(0, abs=1e-12)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    assert frechet_distance_of(x[:, order], y[:, order]) == pytest.approx(value, rel=1e-12)
    assert abs(frechet_distance_of(x, y[:, order]) - value) > 1e-3


def test_independent_blocks_add():
    a, b = [[2, 1], [1, 2]], [[1, 0], [0, 3]]
    double = [torch.block_diag(*(torch.tensor(m, dtype=torch.float64),) * 2) for m in (a, b)]
    whole = frechet_distance(moments(double[0]), moments(double[1]))
    assert whole == pytest.approx(2 * 0.5166852264521173, rel=1e-12)


def test_a_matrix_that_is_no_covariance_is_refused():
    with pytest.raises(NumericsError, match="no covariance"):
        frechet_distance(moments([[1.0, 0], [0, -0.5]]), moments(torch.eye(2)))
