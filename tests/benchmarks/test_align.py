"""The suite at a size where it says nothing of speed: all of its rows, and what does not hang on
speed."""

from tests.benchmarks.align import Scale
from tests.benchmarks.align import rows

TINY = (
    "flow.width=16", "flow.depths=[1, 6, 6]", "flow.head_width=8", "data.image_size=16",
    "data.classes=4", "run.global_batch=2", "cluster.workers=1", "cluster.micro_batch=2",
    "cluster.device=cpu", "objective.alignment.head_width=8", "objective.alignment.teacher.width=8",
)  # fmt: skip


def test_every_row_comes() -> None:
    scale = Scale(rounds=1, reverse_rounds=1, threads=1, settings=TINY, counted=())
    found = {row.name: row.value for row in rows(scale)}
    assert len(found) == 22
    assert found["tokens"] == 16
    assert all(value > 0 for name, value in found.items() if "differ" not in name)
    for reverse in ("paper", "straight_through"):
        separate, shared = (
            found[f"{reverse}, {passes}: memory / plain"] for passes in ("separate", "shared")
        )
        assert separate > shared > 1
        assert found[f"{reverse}: gradients of shared passes differ by"] < 1e-4
