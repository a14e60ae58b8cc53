import re

from system.observe.report.chart import COLOURS
from system.observe.report.style import SCRIPT
from system.observe.report.style import STYLE


def test_the_style_loads_nothing_and_ends_no_tag():
    assert not re.search(r"url\(|@import|https?:|<", STYLE)
    assert not re.search(r"fetch|XMLHttp|import\(|https?:|</", SCRIPT)


def test_every_colour_is_there_in_light_and_dark():
    for name in (*(f"--c{i}" for i in range(COLOURS)), "--paper", "--ink", "--fault"):
        assert len(re.findall(rf"{name}: #", STYLE)) == 2, name
    assert STYLE.count("{") == STYLE.count("}")
