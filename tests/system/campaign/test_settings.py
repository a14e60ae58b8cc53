"""A campaign file is checked whole; its digest changes with whatever changes what a trial means."""

import pytest

from system.foundation.errors import RecipeError
from tests.system.campaign.campaigns import RATE
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import campaign


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"space": {}}, "nothing to vary"),
        ({"space": {SPREAD: {}}}, "expected one of"),
        ({"space": {SPREAD: {"choices": [1], "log": [1, 2]}}}, "expected one of"),
        ({"space": {SPREAD: {"choices": []}}}, "empty"),
        ({"space": {SPREAD: {"choices": [1, 1]}}}, "twice"),
        ({"space": {SPREAD: {"log": [2, 1]}}}, "least value comes first"),
        ({"space": {SPREAD: {"log": [1, 2], "step": 1}}}, "step is for"),
        ({"space": {SPREAD: {"linear": [1, 2]}}}, "number of points"),
        ({"rungs": []}, "at least one"),
        ({"rungs": [200, 100]}, "growing"),
        ({"limits": {"cost": 5.0}}, "price_per_gpu_hour"),
        ({"limits": {"until": "2026-12-24T00:00"}}, "no zone"),
        ({"schedule": {"time_zone": "Mars/Olympus"}}, "no time zone"),
        ({"schedule": {"windows": [{"start": "25:00"}]}}, "no time of day"),
        ({"confirm": {"top": 1}}, "both or neither"),
        ({"confirm": {"top": 1, "seeds": [1, 1]}}, "seeds that differ"),
        ({"sampler": {"kind": "guess"}}, "tpe"),
        ({"keep": 0}, "keep"),
    ],
)
def test_what_cannot_be_is_refused(changes, complaint):
    with pytest.raises(RecipeError, match=complaint):
        campaign(**changes)


def test_an_axis_has_a_grid():
    made = campaign(
        space={
            SPREAD: {"linear": [0.1, 0.5], "points": 5},
            RATE: {"log": [1e-4, 1e-2], "points": 3},
            "route": {"arms": {"joint": [], "frozen": ["configs/variants/frozen.yaml"]}},
        },
        limits={"trials": 100},
    )
    spread, rate, route = made.space.values()
    assert spread.grid() == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert rate.grid() == [0.0001, 0.001, 0.01]
    assert route.grid() == ["joint", "frozen"]
    assert made.most_trials == 30


def test_a_space_of_ranges_has_no_end_but_the_limit():
    made = campaign(
        space={SPREAD: {"linear": [0.1, 0.5], "points": 5}},
        sampler={"kind": "random"},
        limits={"trials": 100},
    )
    assert made.most_trials == 100
    assert campaign(sampler={"kind": "random"}, limits={"trials": 100}).most_trials == 6


def test_limits_and_schedule_may_change_and_nothing_else():
    before = campaign()
    same = [
        campaign(limits={"gpu_hours": 5.0}),
        campaign(limits={"parallel": 3}),
        campaign(schedule={"windows": [{"start": "20:00", "end": "07:00"}]}),
        campaign(retries={"crashes": 0}),
        campaign(price_per_gpu_hour=2.0),
        campaign(root="elsewhere"),
    ]
    assert {each.digest for each in same} == {before.digest}
    other = [
        campaign(limits={"trials": 7}),
        campaign(rungs=[100, 200]),
        campaign(settings=["run.seed=1"]),
        campaign(sampler={"seed": 1}),
        campaign(space={SPREAD: {"choices": [0.3]}}),
        campaign(confirm={"top": 1, "seeds": [1]}),
    ]
    assert before.digest not in {each.digest for each in other}
    assert len({each.digest for each in other}) == len(other)


def test_the_tighter_of_hours_and_cost_is_the_budget():
    assert campaign().gpu_seconds is None
    assert campaign(limits={"gpu_hours": 2.0}).gpu_seconds == 7200
    both = campaign(limits={"gpu_hours": 2.0, "cost": 3.0}, price_per_gpu_hour=3.0)
    assert both.gpu_seconds == 3600
