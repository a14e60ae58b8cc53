import numpy as np
import pytest
import torch

from system.evaluation.reference.adm import read_adm
from system.evaluation.scores.frechet import frechet_distance
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput
from system.foundation.errors import DataError

FEATURES = np.random.default_rng(0).normal(size=(50, 6))
MOMENTS = {
    "mu": FEATURES.mean(axis=0),
    "sigma": np.cov(FEATURES, rowvar=False),
    "mu_s": FEATURES[:, :4].mean(axis=0),
    "sigma_s": np.cov(FEATURES[:, :4], rowvar=False),
}
PIXELS = np.random.default_rng(1).integers(0, 256, (7, 16, 12, 3), np.uint8)


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "reference.npz", **arrays)
        return str(tmp_path / "reference.npz")

    return write


def test_moments_are_those_of_the_file(save):
    reference = read_adm(save(**MOMENTS, arr_0=PIXELS))
    assert np.array_equal(reference.moments.mean.numpy(), MOMENTS["mu"])
    assert np.array_equal(reference.moments.covariance.numpy(), MOMENTS["sigma"])
    assert np.array_equal(reference.spatial.covariance.numpy(), MOMENTS["sigma_s"])
    assert reference.size == (16, 12)
    assert not reference.knows_count
    real = FeatureStatistics.of(torch.from_numpy(FEATURES))
    other = FeatureStatistics.of(torch.from_numpy(FEATURES[:30] + 1))
    found, expected = (frechet_distance(each, other) for each in (reference.moments, real))
    assert found == pytest.approx(expected, rel=1e-12)  # both in float64


@pytest.mark.parametrize("names", [("mu", "sigma"), ("mu_s", "sigma_s")])
def test_any_part_may_be_there(save, names):
    reference = read_adm(save(**{name: MOMENTS[name] for name in names}))
    assert (reference.moments is not None) == ("mu" in names)
    assert (reference.spatial is not None) == ("mu_s" in names)
    assert reference.shown is None
    assert reference.size is None


def test_the_digest_is_of_the_content(save):
    whole = read_adm(save(**MOMENTS, arr_0=PIXELS)).digest
    assert read_adm(save(arr_0=PIXELS, arr_1=np.arange(7), **MOMENTS)).digest == whole
    other = PIXELS.copy()
    other[0, 0, 0, 0] ^= 1
    changed = (
        {**MOMENTS, "arr_0": other},
        {**MOMENTS, "arr_0": PIXELS, "mu": MOMENTS["mu"] + 1e-12},
        MOMENTS,
    )
    digests = {read_adm(save(**arrays)).digest for arrays in changed}
    assert len(digests | {whole}) == 4


def with_change(name, change):
    array = MOMENTS[name].copy()
    change(array)
    return {**MOMENTS, name: array}


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"mu": MOMENTS["mu"]}, "holds mu without sigma"),
        ({**MOMENTS, "mu": MOMENTS["mu"][:5]}, r"mu \[5\] and sigma \[6, 6\]; expected shapes"),
        ({**MOMENTS, "sigma": MOMENTS["sigma"][:, :5]}, "expected shapes"),
        ({**MOMENTS, "mu": MOMENTS["mu"].astype(np.float16)}, "mu is float16"),
        ({**MOMENTS, "mu": np.arange(6)}, "mu is int64"),
        (with_change("mu", lambda a: a.__setitem__(2, np.nan)), "mu has values that are not fin"),
        (with_change("sigma", lambda a: a.__setitem__((2, 3), np.inf)), "sigma has values"),
        (with_change("sigma", lambda a: a.__setitem__((2, 3), 9.0)), "sigma is not symmetric"),
        (with_change("sigma", lambda a: a.__setitem__((2, 2), -1.0)), "negative variance"),
        ({**MOMENTS, "arr_0": PIXELS / 255}, "arr_0 is float64"),
    ],
)
def test_unsound_moments_are_refused(save, arrays, problem):
    with pytest.raises(DataError, match=problem):
        read_adm(save(**arrays))


def test_images_alone_are_no_reference_yet(save):
    with pytest.raises(BadInput, match=r"holds arr_0; expected moments.*archive=.*reference\.npz"):
        read_adm(save(arr_0=PIXELS))
    with pytest.raises(BadInput, match="holds features; expected moments"):
        read_adm(save(features=FEATURES))


def test_damage_is_found(save):
    url = save(**MOMENTS)
    with open(url, "r+b") as file:
        file.seek(300)
        file.write(b"\xff\xff")
    with pytest.raises(DataError, match="no sound npz"):
        read_adm(url)
