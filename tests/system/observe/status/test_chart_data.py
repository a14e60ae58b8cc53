import json

from system.observe.report.folder import read_folder
from system.observe.status.chart_data import FIRST
from system.observe.status.chart_data import chart_contents
from system.telemetry.ledger import Ledger


def test_the_charts_of_the_report_come_as_data_first_what_is_looked_at_all_day(run_url):
    charts = chart_contents(read_folder(run_url))
    assert next(iter(charts)) == "gFID"
    assert [each["order"] for each in charts.values()] == list(range(len(charts)))
    gfid = charts["gFID"]
    assert (gfid["group"], gfid["axis"], gfid["log"]) == ("first", "images seen", True)
    full, hollow, floor = gfid["series"]
    assert (full["form"], full["x"], full["y"]) == ("dots", [1000, 2000], [9.0, 3.25])
    assert full["low"][0] < 9.0 < full["high"][0]
    assert full["says"][1].startswith("3.25")
    assert (hollow["form"], hollow["y"]) == ("hollow", [8.0, 2.25])
    assert floor["form"] == "level"
    assert charts["classes of held-out images"]["group"] == "Density and classes"
    json.dumps(charts, allow_nan=False)


def test_dense_lines_are_thinned_and_restarts_are_places(tmp_path):
    with Ledger(str(tmp_path), "w", run="r") as ledger:
        for number in range(3000):
            ledger.write("report", images_seen=number, values={"loss/total": 1 / (1 + number)})
        ledger.write("resumed", images_seen=1500)
    objective = chart_contents(read_folder(str(tmp_path)), most=100)["objective"]
    faint, line = objective["series"]
    assert (faint["form"], line["form"]) == ("faint", "line")
    assert len(line["x"]) <= 100
    assert line["x"][-1] == 2999
    assert objective["breaks"] == [1500.0]
    assert objective["title"] in FIRST
