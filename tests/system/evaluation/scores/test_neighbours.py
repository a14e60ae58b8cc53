"""The vectors are those of the published analyses; the fast form against torch-fidelity's."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from system.evaluation.scores import neighbours
from system.evaluation.scores.jackknife import jackknife_groups
from system.evaluation.scores.neighbours import density_coverage
from system.evaluation.scores.neighbours import precision_recall
from system.foundation.errors import BadInput

LINE = [
    torch.tensor(points).double()[:, None] for points in ([0, 1, 3, 6, 10.0], [-4, 0.5, 2, 12, 30])
]


def seeded_set() -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(12345)
    x = generator.standard_normal((200, 8))
    y = generator.standard_normal((300, 8)) * np.linspace(0.5, 1.5, 8) + 0.25
    return torch.from_numpy(x), torch.from_numpy(y)


@pytest.mark.parametrize("distance", ["float32", "float64"])
@pytest.mark.parametrize(
    ("k", "expected"), [(1, (0.6, 1.0, 1.0, 0.8)), (3, (0.8, 1.0, 11 / 15, 1.0))]
)
def test_points_on_a_line(k, expected, distance):
    first = precision_recall(*LINE, k, distance)
    second = density_coverage(*LINE, k, distance)
    values = first.precision, first.recall, second.density, second.coverage
    assert [one.value for one in values] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("k", "of_real", "of_fake"),
    [(1, [1, 1, 2, 3, 4], [4.5, 1.5, 1.5, 10, 18]), (3, [6, 5, 3, 5, 9], [16, 11.5, 10, 16, 29.5])],
)
def test_balls_on_a_line_reach_to_the_kth_neighbour(k, of_real, of_fake):
    for points, expected in zip(
        neighbours._points(*LINE, k, "float64"), (of_real, of_fake), strict=True
    ):
        assert neighbours._radii(points, k, None)[0].sqrt().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1024, 64, 7])
def test_the_seeded_set_in_any_number_of_rows_at_a_time(monkeypatch, rows):
    monkeypatch.setattr(neighbours, "ROWS", rows)
    for distance in ("float32", "float64"):
        found = precision_recall(*seeded_set(), distance=distance)
        assert found.precision.value == pytest.approx(0.8433333, abs=1e-6)
        assert found.recall.value == pytest.approx(0.63, abs=1e-12)


def test_exchanged_sets_exchange_precision_and_recall():
    x, y = seeded_set()
    there, back = precision_recall(x, y), precision_recall(y, x)
    assert there.precision.value == back.recall.value
    assert there.recall.value == back.precision.value


def test_collapsed_images_are_precise_and_recall_little():
    generator = np.random.default_rng(0)
    real = torch.from_numpy(3 * generator.standard_normal((200, 16)))
    fake = torch.from_numpy(0.1 * generator.standard_normal((200, 16)))
    found = precision_recall(real, fake)
    assert found.precision.value > 0.8
    assert found.recall.value < 0.3


def test_errors_are_those_of_leaving_groups_out_for_real():
    real, fake = seeded_set()
    dealt = jackknife_groups(len(fake))
    found, spread = precision_recall(real, fake), density_coverage(real, fake)
    slow = [precision_recall(real, fake[dealt != group]) for group in range(20)]
    others = [density_coverage(real, fake[dealt != group]) for group in range(20)]
    for fast, values in (
        (found.precision, [one.precision.value for one in slow]),
        (found.recall, [one.recall.value for one in slow]),
        (spread.density, [one.density.value for one in others]),
        (spread.coverage, [one.coverage.value for one in others]),
    ):
        expected = (19 / 20 * ((np.array(values) - np.mean(values)) ** 2).sum()) ** 0.5
        assert fast.standard_error == pytest.approx(expected, rel=1e-9)
        assert fast.standard_error > 0


def test_neighbours_all_left_out_are_replaced_by_further_ones():
    # Sixty images in one spot of which only one group's stay near: its radii need the far ones.
    fake = torch.arange(400.0)[:, None] ** 2
    near = jackknife_groups(400) == 3
    fake[near] = fake[near] * 1e-6
    real = torch.linspace(0, 1e5, 100)[:, None]
    fast = precision_recall(real, fake, distance="float64").recall
    slow = [
        precision_recall(real, fake[jackknife_groups(400) != g], distance="float64").recall.value
        for g in range(20)
    ]
    expected = (19 / 20 * ((np.array(slow) - np.mean(slow)) ** 2).sum()) ** 0.5
    assert fast.standard_error == pytest.approx(expected, rel=1e-9)


def test_half_precision_leaves_few_distances_and_nearly_the_same_shares():
    generator = np.random.default_rng(1)
    real, fake = (torch.from_numpy(generator.standard_normal((300, 64)) * 0.4) for _ in range(2))
    half = precision_recall(real, fake, distance="float16_adm")
    single = precision_recall(real, fake)
    assert half.recall.value == pytest.approx(single.recall.value, abs=0.05)
    radii = neighbours._radii(neighbours._points(real, fake, 3, "float16_adm")[0], 3, None)
    assert len(radii.unique()) < 300
    assert torch.equal(radii, radii.half().float())


def test_what_half_precision_cannot_hold_is_done_in_single():
    real, fake = (one.float() * 1000 for one in seeded_set())
    assert precision_recall(real, fake, distance="float16_adm") == precision_recall(real, fake)


def test_a_large_common_offset_costs_nothing():
    real, fake = (one + 1000 for one in seeded_set())
    found = precision_recall(real, fake)
    assert found.precision.value == pytest.approx(0.8433333, abs=1e-6)


def test_too_few_images_are_refused():
    with pytest.raises(BadInput, match="found 4 drawn images"):
        precision_recall(torch.zeros(10, 2), torch.zeros(4, 2))


@pytest.mark.parametrize("save_memory", [False, True])
def test_torch_fidelity_finds_the_same(save_memory):
    real, fake = seeded_set()
    theirs = prc_features_to_metric(
        fake, real, prc_neighborhood=3, prc_batch_size=64, save_cpu_ram=save_memory, verbose=False
    )
    found = precision_recall(real, fake, distance="float64")
    # Their shares are means in float32.
    assert found.precision.value == pytest.approx(theirs["precision"], rel=1e-7)
    assert found.recall.value == pytest.approx(theirs["recall"], rel=1e-7)
