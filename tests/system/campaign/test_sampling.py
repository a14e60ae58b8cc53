"""Draws are functions of campaign, number and past; they bring no trial twice."""

import pytest

from system.campaign.sampling import Past
from system.campaign.sampling import propose
from tests.system.campaign.campaigns import RATE
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import campaign

RANGES = {
    SPREAD: {"linear": [0.1, 1.0]},
    RATE: {"log": [1e-4, 1e-2]},
    "flow.width": {"linear": [16, 64], "step": 16},
    "flow.depths": {"choices": [[1, 1], [1, 2]]},
    "route": {"arms": {"a": ["run.seed=1"], "b": ["run.seed=2"]}},
}


def drawn(made, count, value=lambda overrides: 1.0):
    past, draw = [], 0
    while len(past) < count and (found := propose(made, draw, past)) is not None:
        assert propose(made, draw, past) == found  # the same once more
        past.append(Past(found.overrides, value(found.overrides)))
        draw = found.draw + 1
    return [each.overrides for each in past]


def of_ranges(kind, seed=0):
    return campaign(space=RANGES, sampler={"kind": kind, "seed": seed, "startup_trials": 4})


@pytest.mark.parametrize("kind", ["random", "sobol", "tpe"])
def test_draws_stay_in_the_space(kind):
    found = drawn(of_ranges(kind), 8)
    assert len({str(each) for each in found}) == 8
    for each in found:
        assert list(each) == list(RANGES)
        assert 0.1 <= each[SPREAD] <= 1.0
        assert 1e-4 <= each[RATE] <= 1e-2
        assert each["flow.width"] in (16, 32, 48, 64)
        assert isinstance(each["flow.width"], int)
        assert each["flow.depths"] in ("[1, 1]", "[1, 2]")
        assert each["route"] in ("a", "b")
    assert drawn(of_ranges(kind, seed=1), 3) != found[:3]


def test_sobol_spreads_evenly():
    made = campaign(space={SPREAD: {"linear": [0.0, 1.0]}}, sampler={"kind": "sobol"})
    eighths = [int(8 * each[SPREAD]) for each in drawn(made, 8)]
    assert sorted(eighths) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_tpe_goes_where_it_was_good():
    made = campaign(
        space={SPREAD: {"linear": [0.0, 1.0]}}, sampler={"kind": "tpe", "startup_trials": 6}
    )
    found = [each[SPREAD] for each in drawn(made, 20, lambda each: abs(each[SPREAD] - 0.25))]
    assert sum(abs(each - 0.25) for each in found[12:]) / 8 < 0.22  # by chance 0.31
    better = campaign(
        space={SPREAD: {"linear": [0.0, 1.0]}},
        sampler={"kind": "tpe", "startup_trials": 6},
        objective={"direction": "max"},
    )
    high = [each[SPREAD] for each in drawn(better, 20, lambda each: each[SPREAD])]
    assert sum(high[12:]) / 8 > 0.6


def test_tpe_knows_of_trials_that_run_or_failed():
    made = of_ranges("tpe")
    first = drawn(made, 5)
    past = [Past(each, None, failed=number % 2 == 0) for number, each in enumerate(first)]
    assert propose(made, 7, past) is not None


@pytest.mark.parametrize("kind", ["grid", "random", "sobol", "tpe"])
def test_a_space_without_ranges_is_exhausted(kind):
    assert len(drawn(campaign(sampler={"kind": kind}), 20)) == 6


def test_a_grid_goes_through_all_in_the_order_of_the_file():
    found = drawn(campaign(), 20)
    assert [tuple(each.values()) for each in found] == [
        (0.3, 0.0001), (0.3, 0.001), (0.5, 0.0001), (0.5, 0.001), (0.7, 0.0001), (0.7, 0.001),
    ]  # fmt: skip
