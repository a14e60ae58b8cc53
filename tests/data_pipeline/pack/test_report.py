import json

import pytest

from data_pipeline.pack.report import PackReport
from system.foundation.errors import DataError


def test_it_is_written_whole(tmp_path):
    report = PackReport(total=10, max_bad_fraction=0.2, ignored_files=("notes.txt",))
    report.leave_out("a", "zero bytes")
    report.note("b", "mode CMYK")
    report.packed = 9
    report.write(str(tmp_path))
    assert json.loads((tmp_path / "pack_report.json").read_text()) == {
        "total": 10,
        "max_bad_fraction": 0.2,
        "packed": 9,
        "left_out": [{"key": "a", "reason": "zero bytes"}],
        "unusual": [{"key": "b", "note": "mode CMYK"}],
        "ignored_files": ["notes.txt"],
    }
    assert report.summary() == "9 images packed, 1 left out, 1 unusual, 1 other files ignored"


@pytest.mark.parametrize(("bound", "allowed"), [(0.0, 0), (0.2, 2), (0.29, 2)])
def test_the_bound_names_what_was_bad(bound, allowed):
    report = PackReport(total=10, max_bad_fraction=bound, ignored_files=())
    for index in range(allowed):
        report.leave_out(f"key{index}", "zero bytes")
    with pytest.raises(DataError, match=f"{allowed + 1} of 10 images") as caught:
        report.leave_out("last", "not an image")
    assert "last (not an image)" in str(caught.value)
