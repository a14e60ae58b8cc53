"""Guards in whole runs on a real Ray: taken back, started again, and given up in the end."""

from pathlib import Path

import pytest

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from system.telemetry.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

# Numbers so noisy, and a watch so strict, that an update in a few is a spike.
NOISY = [
    "evaluation.kind=none", "run.total_images=8192", "engine.optimiser.learning_rate=0.1",
    "engine.schedule.warmup_images=0",
    "guards.spikes.loss_deviations=0.1", "guards.spikes.gradient_deviations=0.1",
    "guards.spikes.least_updates=4", "guards.spikes.odd_updates=1",
    "guards.spikes.updates_before=0", "guards.spikes.max_rollbacks=2", "cluster.max_failures=0",
]  # fmt: skip


def test_spikes_take_a_run_back_until_that_was_too_often(start, tiny):
    plain = [each for each in tiny if not each.startswith("evaluation.")]
    job = start("jobs/simflow_digits.py", *plain, "run.name=spiky", *NOISY)
    said, _ = job.communicate(timeout=500)
    assert job.returncode == 3, said
    assert "taken back 2 times already" in said
    run = Path(tiny[0].partition("=")[2]) / "spiky"
    events = read_ledger(str(run))
    spans = [(e["start"], e["stop"]) for e in events if e["kind"] == "rolled_back"]
    assert len(spans) == len(set(spans)) == 2
    decided = [(e["cause"], e["action"]) for e in events if e["kind"] == "failure_decided"]
    assert decided == [("planned", "restart"), ("planned", "restart"), ("numerics", "stop")]
    left_out = {(e["start"], e["stop"]) for e in events if e["kind"] == "positions_left_out"}
    assert left_out <= {*spans}
    assert spans[0] in left_out
    proof, account = audit(Audit(run=str(run)))
    assert proof.holds, account
