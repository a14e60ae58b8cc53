import json

import pytest

from data_pipeline.sources.class_map import alphabetical
from data_pipeline.sources.class_map import read_class_map
from system.foundation.errors import DataError

LABELS = {"n01443537": 1, "n01440764": 0}


@pytest.fixture
def read(tmp_path):
    def written(text):
        (tmp_path / "classes.txt").write_text(text)
        return read_class_map(str(tmp_path / "classes.txt"))

    return written


@pytest.mark.parametrize(
    "text",
    [
        "n01440764 tench, Tinca tinca\nn01443537 2 goldfish\n\n",
        "n01443537 1 2 goldfish\nn01440764 0 tench, Tinca tinca\n",
        "n01440764\ttench, Tinca tinca\nn01443537\t2 goldfish\n",
        json.dumps({"0": ["n01440764", "tench, Tinca tinca"], "1": ["n01443537", "2 goldfish"]}),
        json.dumps({"n01443537": [1, "2 goldfish"], "n01440764": [0, "tench, Tinca tinca"]}),
    ],
)
def test_all_forms_say_the_same(read, text):
    found = read(text)
    assert found.labels == LABELS
    assert found.names == ("tench, Tinca tinca", "2 goldfish")
    assert found.label("n01443537") == 1


@pytest.mark.parametrize(
    "text",
    [
        "n01443537 1\nn01440764 0",
        json.dumps(LABELS),
        json.dumps(["n01440764", "n01443537"]),
        json.dumps({"0": "n01440764", "1": "n01443537"}),
        "n01440764\nn01443537",
    ],
)
def test_an_id_is_its_own_name_where_there_is_none(read, text):
    found = read(text)
    assert found.labels == LABELS
    assert found.names == ("n01440764", "n01443537")


def test_ids_with_spaces(read):
    assert read("polar bear\tUrsus maritimus\nbrown bear\tUrsus arctos").label("brown bear") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 classes"),
        ("a 0 x\nb 0 y", "2 classes .* expected each id once"),
        ("a 0 x\nb 2 y", "the labels 0 to 1"),
        ("a x\na y", "each id once"),
        ('{"a": ', "not a class map"),
        ('{"a": null}', "not a class map"),
        ('{"a": "b"}', "not a class map"),
    ],
)
def test_what_is_no_map(read, text, message):
    with pytest.raises(DataError, match=message):
        read(text)


def test_an_unknown_class_is_named(read):
    with pytest.raises(DataError, match=r"classes\.txt: no class 'n9' among its 2"):
        read("n01440764\nn01443537").label("n9")


def test_by_sorted_names():
    found = alphabetical(["b", "a", "b"], "somewhere")
    assert found.names == ("a", "b")
    assert found.label("b") == 1


def test_what_is_no_text(tmp_path):
    (tmp_path / "map.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not a class map"):
        read_class_map(str(tmp_path / "map.bin"))
