import numpy as np
import pytest
import torch

from system.evaluation import statistics
from system.evaluation.statistics import FeatureStatistics
from system.evaluation.statistics import blocks
from system.evaluation.statistics import merge_in_order
from system.evaluation.statistics import streamed
from system.foundation.errors import NumericsError


def features(count: int, width: int, seed: int = 0) -> torch.Tensor:
    draw = np.random.default_rng(seed).standard_normal((count, width))
    return torch.from_numpy(draw * np.linspace(0.5, 2, width) + 3)


@pytest.mark.parametrize("shards", [1, 2, 7, 37])
def test_any_partition_equals_one_pass(shards):
    whole = features(200, 6)
    parts = {i: FeatureStatistics.of(p) for i, p in enumerate(whole.tensor_split(shards))}
    parts[shards] = FeatureStatistics.of(whole[:0])
    merged = merge_in_order(parts)
    assert merged.count == 200
    torch.testing.assert_close(merged.mean, whole.mean(dim=0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(merged.covariance, torch.cov(whole.T), rtol=1e-12, atol=1e-12)


def test_shards_of_one_and_empty_shards_merge():
    whole = features(5, 3)
    parts = {i: FeatureStatistics.of(whole[i : i + 1]) for i in range(5)}
    parts[-1] = FeatureStatistics.of(whole[:0])
    torch.testing.assert_close(
        merge_in_order(parts).covariance, torch.cov(whole.T), rtol=1e-12, atol=1e-12
    )


def test_nothing_merged_with_nothing_is_nothing():
    nothing = FeatureStatistics.of(features(5, 3)[:0])
    assert merge_in_order({0: nothing, 1: nothing}).count == 0


def test_canonical_order_gives_the_same_bits_for_any_order_of_arrival():
    units = {i: FeatureStatistics.of(p) for i, p in enumerate(features(300, 5).split(16))}
    reference = merge_in_order(units)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(units))
        merged = merge_in_order({int(i): units[int(i)] for i in order})
        assert torch.equal(merged.mean, reference.mean)
        assert torch.equal(merged.scatter, reference.scatter)


def test_large_offset_keeps_the_digits_the_plain_sums_lose():
    whole = features(2000, 4) - 3
    exact = torch.cov(whole.T)
    shifted = whole + 1e6
    parts = {i: FeatureStatistics.of(p) for i, p in enumerate(shifted.split(100))}
    assert (merge_in_order(parts).covariance - exact).abs().max() < 1e-9
    total = shifted.sum(dim=0)
    naive = (shifted.T @ shifted - torch.outer(total, total) / 2000) / 1999
    assert (naive - exact).abs().max() > 1e-4  # the test has teeth


def test_denominator_is_count_minus_one():
    assert FeatureStatistics.of(torch.tensor([[0.0], [2.0]])).covariance.item() == 2.0


def test_one_sample_has_no_covariance():
    with pytest.raises(NumericsError, match="at least 2"):
        _ = FeatureStatistics.of(torch.zeros(1, 3)).covariance


def test_features_that_are_not_finite_are_counted_and_refused():
    bad = torch.zeros(4, 3)
    bad[1, 2] = torch.nan
    bad[3, 0] = torch.inf
    with pytest.raises(NumericsError, match="2 of 4"):
        FeatureStatistics.of(bad)


@pytest.mark.parametrize("size", [1, 7, 64, 200])
def test_streamed_features_have_the_same_bits_however_they_are_cut(monkeypatch, size):
    monkeypatch.setattr(statistics, "BLOCK", 32)
    whole = features(200, 6).float()
    once = streamed([whole])
    cut = streamed([whole[:0], *whole.split(size)])
    assert cut.count == once.count == 200
    assert torch.equal(cut.mean, once.mean)
    assert torch.equal(cut.scatter, once.scatter)
    torch.testing.assert_close(once.covariance, torch.cov(whole.double().T), rtol=1e-12, atol=1e-12)


def test_streaming_keeps_the_digits_of_a_large_offset(monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK", 100)
    whole = features(2000, 4) - 3
    assert (streamed((whole + 1e6).split(64)).covariance - torch.cov(whole.T)).abs().max() < 1e-9


def test_blocks_have_one_size_but_for_the_last():
    rows = torch.arange(10.0)[:, None]
    found = list(blocks([rows[:3], rows[3:3], rows[3:9], rows[9:]], 4))
    assert [len(block) for block in found] == [4, 4, 2]
    assert torch.equal(torch.cat(found), rows)


def test_streams_without_features_or_with_bad_ones_are_refused():
    with pytest.raises(NumericsError, match="found no features"):
        streamed([torch.zeros(0, 3)])
    with pytest.raises(NumericsError, match="1 of 2"):
        streamed([torch.zeros(2, 3), torch.tensor([[0, 0, torch.nan], [0, 0, 0]])][1:])
