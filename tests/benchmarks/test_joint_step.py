"""The suite at a size where it says nothing of speed."""

from tests.benchmarks.joint_step import Scale
from tests.benchmarks.joint_step import measured

SMALL = (
    "data.image_size=32", "autoencoder.width=8", "flow.width=64", "flow.depths=[1, 2]",
    "objective.adversarial.width=8", "objective.adversarial.layers=1", "data.classes=10",
)  # fmt: skip


def test_every_network_has_its_share():
    found = {row.name: row for row in measured(Scale(settings=SMALL))}
    assert found["the loss is finite"].holds
    shares = [row.value for name, row in found.items() if name.endswith(": share of the time")]
    assert len(shares) == 5
    assert 0 < sum(shares) <= 101
    assert found["operations of the pass"].value > 0
