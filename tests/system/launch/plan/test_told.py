import json

import pytest

from system.launch.plan.told import as_json
from system.launch.plan.told import gib
from system.launch.plan.told import lasting
from system.launch.plan.told import short
from system.launch.plan.told import text


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 B"), (950, "950 B"), (1000, "1.00 kB"), (2.764e12, "2.76 TB"), (43.21e6, "43.2 MB"),
     (999.6e3, "1.00 MB")],
)  # fmt: skip
def test_numbers_are_short(number, said) -> None:
    assert short(number, "B") == said


def test_bytes_and_durations_are_in_fitting_units() -> None:
    assert gib(5 * 2**30) == "5.0 GiB"
    assert gib(5 * 2**20) == "5.0 MiB"
    assert [lasting(s) for s in (5, 90, 7200, 200000, float("inf"))] == [
        "5 s", "1.5 min", "2.0 h", "2.3 d", "-",
    ]  # fmt: skip


def test_a_plan_is_told_within_a_hundred_columns(planned) -> None:
    told = text(planned({"counts": (3, 4)}))
    assert max(map(len, told.splitlines())) <= 100
    for part in ("encoder", "ZeRO-3", "checkpointed", "H100-80GB", "GPU-h", "do not divide", "! ",
                 "over the network", "binds", "at ", "this recipe: 4 GPUs, ZeRO-2. "):  # fmt: skip
        assert part in told


def test_the_same_for_programs(planned) -> None:
    read = json.loads(as_json(planned({"counts": (3, 4)})))
    assert read["memory"]["2"]["masters"] > 0
    assert read["rows"][0]["seconds"] is None
    assert read["rows"][1]["seconds"] > 0
