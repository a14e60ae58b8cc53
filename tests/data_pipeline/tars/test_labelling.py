import pytest

from data_pipeline.tars.labelling import Labelling
from data_pipeline.tars.labelling import read_class_names
from system.foundation.errors import DataError

CLASSES = ("cat", "dog", "7")


@pytest.mark.parametrize(
    ("content", "label"),
    [(b"0", 0), (b" 2\n", 2), (b"+1", 1), (b"cat", 0), (b"dog\n", 1), (b"7", 2), (b"002", 2)],
)
def test_labels_as_text(content, label):
    assert Labelling(CLASSES).read(content) == label


@pytest.mark.parametrize(
    "content",
    [b"", b"3", b"-1", b"one", b"1.0", b"1_0", b"\xff", b"0 1", "\u0661".encode(), b"9" * 5000],
)
def test_no_labels_as_text(content):
    with pytest.raises(ValueError, match=r"label .*(expected a whole number from 0 to 2|utf-8)"):
        Labelling(CLASSES).read(content)


@pytest.mark.parametrize(
    ("content", "label"),
    [(b'{"label": 1}', 1), (b'{"label": "dog", "x": [1]}', 1), (b'{"label": "0"}', 0)],
)
def test_labels_in_json(content, label):
    assert Labelling(CLASSES, field="label").read(content) == label


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"label": 3}', "label '3', expected a whole number from 0 to 2"),
        (b'{"label": true}', "label 'True'"),
        (b'{"label": 1.0}', "label '1.0'"),
        (b'{"label": null}', "label 'None'"),
        (b'{"label": [1]}', "label '\\[1\\]'"),
        (b'{"class": 1}', "no field 'label' in"),
        (b"[1]", "no field 'label' in"),
        (b"{", "label b'{'"),
        (b"\xff", "label b'.xff'"),
    ],
)
def test_no_labels_in_json(content, said):
    with pytest.raises(ValueError, match=said):
        Labelling(CLASSES, field="label").read(content)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("tench, Tinca tinca\r\n\r\ngoldfish\r\n", ("tench, Tinca tinca", "goldfish")),
        ("1 dog\n0 wild cat\n", ("wild cat", "dog")),
        ("0\n1\n", ("0", "1")),
        ("101 dalmatians\ncat\n", ("101 dalmatians", "cat")),
    ],
)
def test_class_names(text, names, tmp_path):
    (tmp_path / "names.txt").write_text(text, newline="")
    assert read_class_names(str(tmp_path / "names.txt")) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 lines"),
        ("cat\ncat\n", "'cat' comes twice"),
        ("1 cat\n2 dog\n", "2 lines with 2 labels 1, 2, expected"),
        ("0 cat\n0 dog\n", "2 lines with 1 labels 0, expected"),
        ("0 cat\n1 cat\n", "'cat' comes twice"),
    ],
)
def test_no_class_names(text, said, tmp_path):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_class_names(str(tmp_path / "names.txt"))
    assert "names.txt" in str(caught.value)


def test_no_file_of_class_names(tmp_path):
    with pytest.raises(DataError, match="no such file of class names"):
        read_class_names(str(tmp_path / "names.txt"))
