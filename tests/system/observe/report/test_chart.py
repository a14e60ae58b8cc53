import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest

from system.observe.report.chart import BOTTOM
from system.observe.report.chart import HEIGHT
from system.observe.report.chart import LEFT
from system.observe.report.chart import RIGHT
from system.observe.report.chart import WIDTH
from system.observe.report.chart import Chart
from system.observe.report.chart import Point
from system.observe.report.chart import Series
from system.observe.report.chart import draw_chart
from system.observe.report.chart import short_value


def drawn(*series: Series, **more) -> ET.Element:
    return ET.fromstring(draw_chart(Chart("t & <t>", "nats", series, **more)))


def circles(figure: ET.Element) -> list[tuple[float, float]]:
    return [(float(one.get("cx")), float(one.get("cy"))) for one in figure.iter("circle")]


def test_points_stand_where_their_values_are():
    figure = drawn(Series("one", [Point(0, 1.0), Point(50, 2.0), Point(100, 3.0)]))
    (x0, y0), (x1, y1), (x2, y2) = circles(figure)
    assert x0 == pytest.approx(LEFT)
    assert x2 == pytest.approx(WIDTH - RIGHT)
    assert x1 == pytest.approx((x0 + x2) / 2)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert HEIGHT > y0 > y1 > y2 > 0  # larger is higher


def test_on_a_log_axis_equal_ratios_are_equal_steps():
    values = (0.01, 0.1, 1.0)
    figure = drawn(Series("one", [Point(i, v) for i, v in enumerate(values)]), is_log=True)
    (_, low), (_, mid), (_, high) = circles(figure)
    assert low - mid == pytest.approx(mid - high, abs=0.11)  # written to a tenth


def test_a_bar_spans_its_interval_inside_the_picture():
    points = [Point(1, 1.0, (0.0, 4.0)), Point(2, 2.0, (1.0, 3.0))]
    figure = drawn(Series("one", points))
    bars = [one.get("d") for one in figure.iter("path")]
    ends = [tuple(map(float, re.match(r"M\S+ (\S+?)V([\d.]+)", bar).groups())) for bar in bars]
    (_, y0), _ = circles(figure)
    assert ends[0][0] > y0 > ends[0][1]
    assert all(0 < end < HEIGHT for pair in ends for end in pair)
    scale = (ends[0][0] - ends[0][1]) / 4.0
    assert ends[1][0] - ends[1][1] == pytest.approx(2.0 * scale, abs=0.2)


def test_text_is_escaped_and_the_picture_well_formed():
    figure = drawn(Series("<script>", [Point(1, 1.0, says='"<&')]), Series("b", [Point(1, 2.0)]))
    text = "".join(figure.itertext())
    assert "t & <t>" in text
    assert "<script>" in text
    assert not list(figure.iter("script"))


def test_no_point_no_chart_and_what_is_not_finite_is_no_point():
    assert draw_chart(Chart("t", "", [])) == ""
    assert draw_chart(Chart("t", "", [Series("a", [Point(1, math.nan)])])) == ""
    assert len(circles(drawn(Series("a", [Point(1, math.inf), Point(2, 5.0)])))) == 1


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 5e12])
def test_one_value_alone_is_drawn(value):
    ((_, height),) = circles(drawn(Series("a", [Point(10, value)])))
    assert 0 < height < HEIGHT


def test_a_long_course_is_thinned_and_keeps_its_ends():
    points = [Point(i, float(i % 7)) for i in range(100_001)]
    (line,) = drawn(Series("a", points, "line")).iter("polyline")
    places = line.get("points").split()
    assert len(places) == 400
    assert places[0].startswith(f"{LEFT:.1f},")
    assert places[-1].startswith(f"{WIDTH - RIGHT:.1f},")


def test_last_values_do_not_lie_on_each_other():
    series = [Series(str(i), [Point(1, 1.0 + i / 1000)], colour=i) for i in range(4)]
    figure = drawn(*series, Series("far", [Point(1, 9.0)]))
    heights = sorted(
        float(one.get("y")) for one in figure.iter("text") if one.get("class").startswith("end")
    )
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 12


def test_labels_at_the_bottom_stay_above_the_axis():
    series = [Series(str(i), [Point(1, i / 1000)], colour=i) for i in range(5)]
    figure = drawn(*series, Series("far", [Point(1, 9.0)]))
    heights = sorted(
        float(one.get("y")) for one in figure.iter("text") if one.get("class").startswith("end")
    )
    assert heights[-1] < HEIGHT - BOTTOM + 8
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 11.9


def test_a_level_is_a_line_without_a_place():
    figure = drawn(Series("a", [Point(10, 2.0)]), Series("floor", [Point(99, 1.0)], "level"))
    ((across, _),) = circles(figure)
    assert across == pytest.approx(WIDTH - RIGHT)
    assert [one for one in figure.iter("line") if one.get("class") == "level"]


@pytest.mark.parametrize(
    ("value", "text"), [(1.4, "1.40"), (100.0, "100"), (30016, "30k"), (1e-5, "1e-05"), (0, "0")]
)
def test_values_have_three_digits(value, text):
    assert short_value(value) == text
