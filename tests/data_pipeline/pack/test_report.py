import json

import pytest

from data_pipeline.pack.report import PackReport
from system.foundation.errors import DataError


def test_it_is_written_whole(tmp_path):
    report = PackReport(total=10, max_bad_fraction=0.3, ignored_files=("notes.txt",))
    report.leave_out("a", "zero bytes")
    report.leave_out("c", "duplicate key", "cat/c.png")
    report.note("b", "mode CMYK")
    report.note("b", "mode P")
    report.packed = 8
    report.write(str(tmp_path))
    assert json.loads((tmp_path / "pack_report.json").read_text()) == {
        "total": 10,
        "packed": 8,
        "max_bad_fraction": 0.3,
        "counts": {
            "left_out": {"duplicate key": 1, "zero bytes": 1},
            "unusual": {"mode CMYK": 1, "mode P": 1},
        },
        "left_out": [
            {"key": "a", "reason": "zero bytes"},
            {"key": "c", "reason": "duplicate key", "place": "cat/c.png"},
        ],
        "unusual": [{"key": "b", "note": "mode CMYK"}, {"key": "b", "note": "mode P"}],
        "ignored_files": ["notes.txt"],
    }
    assert report.summary() == "8 images packed, 2 left out, 1 unusual, 1 other files ignored"


def test_parts_add_up():
    whole, part = PackReport(10, 0.2), PackReport(10, 0.2, packed=4)
    part.leave_out("a", "zero bytes")
    part.note("b", "mode P")
    whole.add(part)
    whole.add(PackReport(10, 0.2, packed=3))
    assert (whole.packed, len(whole.left_out), len(whole.unusual)) == (7, 1, 1)
    part.leave_out("c", "not an image")
    with pytest.raises(DataError, match="3 of 10 images"):
        whole.add(part)


def test_the_most_frequent_reason_comes_first():
    report = PackReport(10, 0.9)
    for key, note in [("a", "x"), ("b", "y"), ("c", "z"), ("d", "y")]:
        report.note(key, note)
    assert list(report.counts["unusual"].items()) == [("y", 2), ("x", 1), ("z", 1)]


@pytest.mark.parametrize(("bound", "allowed"), [(0.0, 0), (0.2, 2), (0.29, 2)])
def test_the_bound_names_what_was_bad(bound, allowed):
    report = PackReport(total=10, max_bad_fraction=bound)
    for index in range(allowed):
        report.leave_out(f"key{index}", "zero bytes")
    with pytest.raises(DataError, match=f"{allowed + 1} of 10 images") as caught:
        report.leave_out("last", "not an image")
    assert "last (not an image)" in str(caught.value)
