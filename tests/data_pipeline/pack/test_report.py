import json

import pytest

from data_pipeline.pack.report import PackReport
from system.foundation.errors import DataError


def image(key):
    return {"key": key, "place": f"cat/{key}.png", "split": "train"}


def test_it_is_written_whole(tmp_path):
    report = PackReport(total=10, max_bad_fraction=0.3, ignored_files=("notes.txt",))
    report.leave_out(image("a"), "zero bytes")
    report.leave_out(image("c") | {"kept": "cat/c.jpg"}, "duplicate key")
    report.note(image("b"), "mode CMYK")
    report.note(image("b"), "mode P")
    report.packed = 8
    assert report.write(str(tmp_path)) == str(tmp_path / "pack_report.json")
    assert json.loads((tmp_path / "pack_report.json").read_text()) == {
        "finished": True,
        "total": 10,
        "packed": 8,
        "max_bad_fraction": 0.3,
        "counts": {
            "left_out": {"duplicate key": 1, "zero bytes": 1},
            "unusual": {"mode CMYK": 1, "mode P": 1},
        },
        "left_out": [
            image("a") | {"reason": "zero bytes"},
            image("c") | {"kept": "cat/c.jpg", "reason": "duplicate key"},
        ],
        "unusual": [image("b") | {"reason": "mode CMYK"}, image("b") | {"reason": "mode P"}],
        "ignored_files": ["notes.txt"],
    }
    assert report.summary() == "8 images packed, 2 left out, 1 unusual, 1 other file ignored"


def test_parts_add_up(tmp_path):
    whole, part = PackReport(10, 0.2), PackReport(10, 0.2, packed=4)
    part.leave_out(image("a"), "zero bytes")
    part.note(image("b"), "mode P")
    whole.add(part)
    whole.add(PackReport(10, 0.2, packed=3))
    assert (whole.packed, len(whole.left_out), len(whole.unusual)) == (7, 1, 1)
    whole.check(str(tmp_path))
    part.leave_out(image("c"), "not an image")
    whole.add(part)
    with pytest.raises(DataError, match="3 of 10 images"):
        whole.check(str(tmp_path))


def test_the_most_frequent_reason_comes_first():
    report = PackReport(10, 0.9)
    for key, reason in [("a", "x"), ("b", "y"), ("c", "z"), ("d", "y")]:
        report.note(image(key), reason)
    assert list(report.counts["unusual"].items()) == [("y", 2), ("x", 1), ("z", 1)]


@pytest.mark.parametrize(("bound", "allowed"), [(0.0, 0), (0.2, 2), (0.29, 2)])
def test_past_the_bound_it_names_what_was_bad_and_is_written(bound, allowed, tmp_path):
    report = PackReport(total=10, max_bad_fraction=bound)
    for index in range(allowed):
        report.leave_out(image(f"key{index}"), "zero bytes")
    report.check(str(tmp_path))
    assert not list(tmp_path.iterdir())
    report.leave_out(image("last"), "not an image")
    with pytest.raises(DataError, match=f"{allowed + 1} of 10 images") as caught:
        report.check(str(tmp_path))
    assert "last (not an image)" in str(caught.value)
    assert f"{tmp_path}/pack_report.json names all" in str(caught.value)
    written = json.loads((tmp_path / "pack_report.json").read_text())
    assert not written["finished"]
    assert len(written["left_out"]) == allowed + 1
