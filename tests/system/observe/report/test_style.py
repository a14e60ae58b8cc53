import re

from system.observe.report.chart import COLOURS
from system.observe.report.style import SCRIPT
from system.observe.report.style import STYLE
from system.telemetry.attribution import CAUSES


def test_the_style_loads_nothing_and_ends_no_tag():
    assert not re.search(r"url\(|@import|https?:|<", STYLE)
    assert not re.search(r"fetch|XMLHttp|import\(|https?:|</", SCRIPT)


def test_every_cause_has_a_colour_of_its_own():
    colours = [re.findall(rf"\.s-{cause} {{ --k: (var\(--\w+\)); }}", STYLE) for cause in CAUSES]
    assert all(len(found) == 1 for found in colours)
    assert len({found[0] for found in colours}) == len(CAUSES)


def test_every_colour_is_there_in_light_and_dark():
    for name in (*(f"--c{i}" for i in range(COLOURS)), "--paper", "--ink", "--fault"):
        assert len(re.findall(rf"{name}: #", STYLE)) == 2, name
    assert STYLE.count("{") == STYLE.count("}")
