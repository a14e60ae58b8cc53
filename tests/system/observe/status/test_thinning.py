import math

from system.observe.report.chart import Point
from system.observe.status.thinning import thinned


def points(values):
    return [Point(place, value) for place, value in enumerate(values)]


def test_a_short_line_stays_as_it_is():
    line = points([3.0, 1.0, 2.0])
    assert thinned(line, 4) == line
    assert thinned([], 4) == []


def test_peaks_dips_and_both_ends_are_kept_in_order():
    values = [math.sin(i / 50) for i in range(5000)]
    values[1234], values[3210] = 9.0, -9.0
    line = thinned(points(values), 400)
    assert len(line) <= 400
    assert [p.at for p in line] == sorted({p.at for p in line})
    assert (line[0].at, line[-1].at) == (0, 4999)
    assert {1234, 3210} <= {p.at for p in line}


def test_what_is_not_finite_has_no_place_on_an_axis():
    line = [Point(0, 1.0), Point(1, math.nan), Point(2, math.inf), Point(math.nan, 1.0)]
    assert thinned(line, 4) == line[:1]
