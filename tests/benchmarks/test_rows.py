import itertools
import math
from functools import partial

import pytest

from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most
from tests.benchmarks.rows import every_round
from tests.benchmarks.rows import median_of_each
from tests.benchmarks.rows import median_row
from tests.benchmarks.rows import ratios
from tests.benchmarks.rows import seconds


@pytest.mark.parametrize(
    ("value", "bound", "holds"),
    [
        (1.5, at_least(1.5), True),
        (1.49, at_least(1.5), False),
        (2.0, at_most(2), True),
        (2.01, at_most(2), False),
        (math.nan, at_least(0), False),
        (math.nan, at_most(0), False),
        (7.0, None, None),
    ],
)
def test_a_row_knows_whether_it_holds(value, bound, holds):
    assert Row("figure", value, "x", bound).holds is holds


def test_a_row_as_json():
    assert Row("rate", 1.25, "x", at_least(1.5)).to_json() == {
        "name": "rate",
        "value": 1.25,
        "unit": "x",
        "bound": ">= 1.5",
        "holds": False,
        "quartiles": None,
    }
    assert Row("time", 3, "ms").to_json()["bound"] is None
    assert Row("time", 3, "ms", quartiles=(2, 4)).to_json()["quartiles"] == [2, 4]


@pytest.mark.parametrize(
    ("values", "median", "quartiles"),
    [([5], 5, (5, 5)), ([1, 3], 2, (1.5, 2.5)), ([9, 1, 2, 3, 4], 3, (2, 4))],
)
def test_rounds_come_to_a_median_and_its_quartiles(values, median, quartiles):
    row = median_row("rate", values, "x", at_least(2))
    assert (row.value, row.quartiles, row.holds) == (median, quartiles, True)


def test_sides_are_compared_round_by_round():
    assert ratios([2, 9], [1, 3]) == [2, 3]
    with pytest.raises(ValueError, match="shorter"):
        ratios([2, 9], [1])


def test_sides_take_turns_and_the_warm_up_does_not_count():
    said = []
    counts = {"ours": itertools.count(100), "theirs": itertools.count(0)}

    def side(name):
        said.append(name)
        return next(counts[name])

    sides = {"ours": lambda: side("ours"), "theirs": lambda: side("theirs")}
    assert every_round(sides, rounds=3) == {"ours": [101, 102, 103], "theirs": [1, 2, 3]}
    assert said == ["theirs", "ours", "ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_a_median_of_each_side():
    counts = {"ours": itertools.count(100), "theirs": itertools.count(0)}
    sides = {name: partial(next, count) for name, count in counts.items()}
    assert median_of_each(sides, rounds=3) == {"ours": 102, "theirs": 2}


def test_seconds_are_of_one_call():
    calls = []
    assert 0 <= seconds(lambda: calls.append(1), 5) < 60
    assert len(calls) == 5
