import pytest

from data_pipeline.shards.difference import between

SHARDS = {f"{n}.tar": ["train", 10, f"tar {n}", f"rows {n}"] for n in range(6)}
HEADS = {"channels": 3, "image_size": None, "class_names": ["cat", "dog"], "shards": SHARDS}


def without(*names):
    return {name: row for name, row in SHARDS.items() if name not in names}


def test_nothing():
    assert between(HEADS, HEADS) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channels": 1}, ["channels: 3 before, 1 now"]),
        ({"image_size": 256}, ["image_size: None before, 256 now"]),
        ({"class_names": ["cat", "cow"]}, ["1 class names differ: 1: 'dog', now 'cow'"]),
        ({"class_names": ["cat"]}, ["1 class names differ: 1: 'dog', now None"]),
        ({"shards": without("0.tar", "4.tar")}, ["2 shards gone: 0.tar, 4.tar"]),
        ({"shards": {"a.tar": SHARDS["0.tar"]} | SHARDS}, ["1 shard added: a.tar"]),
        (
            {"shards": {name: [*row[:3], "other"] for name, row in SHARDS.items()}},
            ["6 shards changed: 0.tar, 1.tar, 2.tar, …"],
        ),
        (
            {"shards": dict(reversed(SHARDS.items()))},
            ["the order of the 6 shards"],
        ),
    ],
)
def test_one_change(changes, said):
    assert between(HEADS, HEADS | changes) == said


def test_several_changes_at_once_and_a_record_that_lacks_something():
    now = HEADS | {"channels": 1, "shards": {"new.tar": ["train", 1, "a", "b"]} | without("5.tar")}
    assert len(between(HEADS, now)) == 3
    assert between({}, HEADS) == [
        "channels: None before, 3 now",
        "2 class names differ: 0: None, now 'cat', 1: None, now 'dog'",
        "6 shards added: 0.tar, 1.tar, 2.tar, …",
    ]
