import json

import pytest

from tests.benchmarks.report import exit_code
from tests.benchmarks.report import lines
from tests.benchmarks.report import record
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least
from tests.benchmarks.rows import at_most

ROWS = [
    Row("ours / theirs", 2.1234, "x", at_least(1.5)),
    Row("overhead", 3.0, "ms", at_most(2)),
    Row("bare loop", 1234.5, "images/s", quartiles=(1200.0, 1301.0)),
]


def test_the_table_has_a_line_for_each_row():
    title, *table = lines(ROWS)
    assert title.split() == ["name", "value", "unit", "bound", "holds", "quartiles"]
    assert [line.split() for line in table] == [
        ["ours", "/", "theirs", "2.123", "x", ">=", "1.5", "yes"],
        ["overhead", "3", "ms", "<=", "2", "NO"],
        ["bare", "loop", "1,234", "images/s", "1,200", "..", "1,301"],
    ]
    assert len({line.index(unit) for line, unit in zip(table, ("x", "ms", "im"), strict=True)}) == 1


def test_the_record_names_the_machine():
    content = json.loads(record("data", ROWS))
    assert content["suite"] == "data"
    assert content["rows"] == [row.to_json() for row in ROWS]
    machine = content["machine"]
    assert machine["cores"] >= 1
    assert machine["processor"]
    assert machine["versions"]["pillow"]


@pytest.mark.parametrize(("rows", "code"), [(ROWS, 1), (ROWS[::2], 0), ([], 0)])
def test_the_exit_code_says_whether_all_bounds_hold(rows, code):
    assert exit_code(rows) == code
