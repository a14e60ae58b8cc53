import threading

import pytest
import torch

from system.evaluation.crews.store import UnitStore

UNIT = range(64, 128)


def arrays(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {
        "d/features": torch.full((64, 3), value),
        "d/spatial": torch.zeros(64, 0),
        "images": torch.arange(64, dtype=torch.uint8).reshape(64, 1, 1, 1),
    }


@pytest.fixture
def store(tmp_path) -> UnitStore:
    return UnitStore(str(tmp_path / "units"))


def test_a_unit_comes_back_as_it_was(store):
    assert store.finished() == []
    assert store.get(UNIT) is None
    assert store.put(UNIT, arrays()) == "written"
    found = store.get(UNIT)
    assert found.keys() == arrays().keys()
    for name, array in arrays().items():
        assert torch.equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert store.finished() == [UNIT]


def test_equal_units_are_equal_files_wherever_they_lie(store, tmp_path):
    other = UnitStore(str(tmp_path / "other"))
    store.put(UNIT, arrays())
    other.put(UNIT, dict(reversed(arrays().items())))
    assert contents(other) == contents(store)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "renamed", "foreign"])
def test_a_damaged_unit_is_as_good_as_absent(store, tmp_path, caplog, damage):
    store.put(UNIT, arrays())
    (path,) = (tmp_path / "units").iterdir()
    content = path.read_bytes()
    unit = UNIT
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "renamed":
        unit = range(64)
        path.rename(store.place(unit))
    else:
        path.write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    assert store.finished() == []
    assert "damaged" in caplog.text
    assert store.put(unit, arrays()) == "written"
    assert store.finished() == [unit]


def test_a_unit_damaged_in_the_meantime_is_replaced(store, tmp_path):
    store.put(UNIT, arrays())
    (path,) = (tmp_path / "units").iterdir()
    path.write_bytes(b"torn")
    assert store.put(UNIT, arrays(2.0)) == "written"
    assert torch.equal(store.get(UNIT)["d/features"], arrays(2.0)["d/features"])


def test_other_bits_the_second_time_are_told_and_the_first_are_kept(store):
    store.put(UNIT, arrays())
    assert store.put(UNIT, arrays()) == "same"
    assert store.put(UNIT, arrays(2.0)) == "other"
    assert torch.equal(store.get(UNIT)["d/features"], arrays()["d/features"])


def test_what_is_forgotten_is_gone(store, tmp_path):
    store.put(UNIT, arrays())
    store.forget()
    assert not (tmp_path / "units").exists()
    store.forget()


def test_programs_that_keep_and_forget_the_same_do_not_stumble_over_each_other(store):
    failed = []

    def keep_and_forget():
        try:
            for _ in range(40):
                assert store.put(UNIT, arrays()) in ("written", "same")
                store.finished()
                store.forget()
        except Exception as problem:
            failed.append(problem)

    threads = [threading.Thread(target=keep_and_forget) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def contents(store: UnitStore) -> bytes:
    with open(store.place(UNIT), "rb") as file:
        return file.read()
