"""How panels are laid out and what Grafana is told of each."""

from system.observe.boards.board import Board
from system.observe.boards.board import Panel
from system.observe.boards.board import Query
from system.observe.boards.board import Row
from system.observe.boards.board import plot

PANEL = Panel("t", "m", (Query("up"),), width=16)


def board(*panels: Panel) -> Board:
    return Board("u", "t", "m", ("run",), (Row("first", panels), Row("second", (PANEL,))))


def test_panels_fill_rows_from_left_to_right_without_lying_on_each_other():
    panels = board(PANEL, PANEL, Panel("t", "m", (), width=8, height=9)).to_json()["panels"]
    places = [(one["gridPos"]["x"], one["gridPos"]["y"], one["type"]) for one in panels]
    assert places == [
        (0, 0, "row"), (0, 1, "timeseries"), (0, 8, "timeseries"), (16, 8, "timeseries"),
        (0, 17, "row"), (0, 18, "timeseries"),
    ]  # fmt: skip
    assert [one["id"] for one in panels] == [1, 2, 3, 4, 5, 6]


def test_a_plot_is_explained_by_the_registry():
    panel = plot("Pace", "throughput/update_s", "throughput/data_wait_s")
    assert panel.unit == "s"
    assert "throughput/update_s: wall time of an update" in panel.meaning
    assert [query.legend for query in panel.queries] == ["{{run}} update_s", "{{run}} data_wait_s"]


def test_tables_ask_for_this_moment_and_join_their_columns():
    queries = (Query("a", "{{run}} state"), Query("b", "{{run}} gFID"))
    told = Panel("t", "m", queries, look="table").to_json(1, 0, 0)
    assert [target["instant"] for target in told["targets"]] == [True, True]
    join, names = told["transformations"]
    assert join["options"]["byField"] == "run"
    assert names["options"]["renameByName"] == {"Value #A": "state", "Value #B": "gFID"}


def test_the_variables_offer_all_runs():
    data, run = board().to_json()["templating"]["list"]
    assert (data["type"], data["name"]) == ("datasource", "datasource")
    assert run["query"] == "label_values(latent_flows_run_info, run)"
    assert (run["includeAll"], run["allValue"]) == (True, ".*")
