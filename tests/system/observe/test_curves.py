"""Curves hold the numbers of the ledger, and the picture draws with all of them or none."""

import io

import numpy as np
import pytest
from PIL import Image

from system.observe.curves import PANELS
from system.observe.curves import curve
from system.observe.curves import draw_curves
from system.observe.curves import short
from system.observe.curves import smooth
from system.observe.curves import write_curves
from system.telemetry.ledger import Ledger
from system.telemetry.metrics import unregistered


def event(kind, images_seen, values):
    return {"time": 0.0, "kind": kind, "images_seen": images_seen, "values": values}


def some_events():
    names = [name for panel in PANELS for _, name in panel.metrics]
    names += [panel.floor for panel in PANELS if panel.floor]
    for seen in (100, 200, 300):
        for kind, area in (("report", False), ("evaluation", True)):
            chosen = [name for name in names if name.startswith("evaluation/") is area]
            yield event(kind, seen, dict.fromkeys(chosen, 0.5 + seen / 1000))


def test_every_curve_is_a_registered_metric():
    names = [name for panel in PANELS for _, name in panel.metrics]
    assert unregistered(names + [panel.floor for panel in PANELS if panel.floor]) == []


def test_what_was_trained_twice_is_drawn_once_and_the_later_counts():
    course = curve(
        [
            event("report", 100, {"loss/total": 1.0}),
            event("report", 200, {"loss/total": 2.0}),
            {"time": 1.0, "kind": "attempt_started"},
            event("report", 100, {"loss/total": 3.0}),
        ],
        "loss/total",
    )
    np.testing.assert_array_equal(course.images, [100, 200])
    np.testing.assert_array_equal(course.values, [3.0, 2.0])
    assert course.errors is None


def test_errors_are_drawn_where_all_points_have_one():
    both = {"evaluation/gfid": 2.0, "evaluation/gfid_standard_error": 0.5}
    course = curve([event("evaluation", 10, both)], "evaluation/gfid")
    np.testing.assert_array_equal(course.errors, [0.5])
    mixed = [event("evaluation", 10, both), event("evaluation", 20, {"evaluation/gfid": 1.0})]
    assert curve(mixed, "evaluation/gfid").errors is None
    assert len(curve(mixed, "evaluation/rfid")) == 0


def test_smoothing_keeps_constants_and_starts_at_the_first_value():
    np.testing.assert_allclose(smooth(np.full(7, 3.0)), 3.0)
    assert smooth(np.array([5.0, 0.0, 0.0]))[0] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (25600, "25.6k"), (1.2e6, "1.2M"), (3e9, "3G")]
)
def test_short(count, text):
    assert short(float(count)) == text


@pytest.mark.parametrize("events", [[], list(some_events())], ids=["empty", "full"])
def test_the_picture_draws(events):
    picture = Image.open(io.BytesIO(draw_curves(events, "a run")))
    assert picture.size == (1560, 840)
    assert len(picture.convert("RGB").getcolors(10**6)) > 10


def test_the_picture_lands_in_the_run(tmp_path):
    with Ledger(str(tmp_path), "a", run="r") as ledger:
        ledger.write("report", images_seen=10, values={"loss/nll_nats": 1.0})
    assert write_curves(str(tmp_path), title="r") == f"{tmp_path}/curves.png"
    assert Image.open(tmp_path / "curves.png").format == "PNG"
