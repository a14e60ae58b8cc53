"""A run that is killed at random updates, up to 20 times, ends in the same bits as one that is not.

SIGKILL reaches one of two workers at a random moment of an update, a save or an upload, and the
other one moments later. CI runs three cases; all six, which add their rows to a report:

    RESUME_MATRIX=docs/results/resume.md python -m pytest -x \\
        tests/faults/test_resume_equals_uninterrupted.py
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.engine.checkpoints import CheckpointStore
from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.telemetry.ledger import read_ledger
from tests.faults.rebirth import BATCH
from tests.faults.rebirth import Case
from tests.faults.rebirth import Story
from tests.faults.rebirth import kills
from tests.faults.rebirth import live_through

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]

REPORT = os.environ.get("RESUME_MATRIX")
SEED = 6
BOUNDED = [Case(1, 1, 60, 4), Case(2, 3, 200, 20), Case(3, 3, 60, 4)]
WHOLE = [Case(stage, passes, 200, 20) for passes in (3, 1) for stage in (2, 1, 3)]
# What a report tells of time, and so of this very life.
OF_TIME = ("_s", "_per_s", "per_second", "_ratio", "_rank", "mfu", "memory")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return out


@dataclass(frozen=True)
class Lived:
    """One run undisturbed and the same run killed again and again, with their folders."""

    case: Case
    whole: Story
    killed: Story
    folders: tuple[str, str]


@pytest.fixture(
    scope="module",
    params=WHOLE if REPORT else BOUNDED,
    ids=lambda case: f"zero{case.stage}-{case.accumulation}passes-{case.precision}",
)
def lived(request: pytest.FixtureRequest, shards: str, tmp_path_factory: Any) -> Lived:
    """Both runs of a case."""
    folder, case = tmp_path_factory.mktemp("resume"), request.param
    whole = live_through(case, shards, folder / "whole", [])
    killed = live_through(case, shards, folder / "killed", kills(case, SEED))
    return Lived(case, whole, killed, (f"{folder}/whole/tiny", f"{folder}/killed/tiny"))


def events(url: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_ledger(url) if event["kind"] == kind]


def values(report: dict[str, Any]) -> dict[str, float]:
    return {name: each for name, each in report["values"].items() if not name.endswith(OF_TIME)}


def test_it_was_killed_as_often_as_planned(lived: Lived) -> None:
    assert (lived.whole.lives, lived.killed.lives) == (1, 1 + lived.case.kills)
    first = events(lived.folders[1], "first_update")
    assert [event["attempt"] for event in first] == [*range(1, lived.killed.lives + 1)]
    # Each life but those before the first checkpoint went on from one, never behind its kill.
    resumed = {e["attempt"]: e["images_seen"] // BATCH for e in events(lived.folders[1], "resumed")}
    assert len(resumed) >= lived.case.kills * 3 // 4
    for attempt, kill in enumerate(lived.killed.kills, start=2):
        assert resumed.get(attempt, 0) <= kill.update + 2


def test_every_loss_is_the_same_to_the_last_bit_also_where_it_is_computed_again(
    lived: Lived,
) -> None:
    expected = {e["images_seen"]: values(e) for e in events(lived.folders[0], "report")}
    assert [*expected] == [*range(BATCH, lived.case.updates * BATCH + 1, BATCH)]
    found = events(lived.folders[1], "report")
    assert len(found) > len(expected), "nothing was replayed"
    assert {"loss/total", "loss/nll_nats", "train/gradient_norm"} <= expected[5 * BATCH].keys()
    assert ("loss/critic" in expected[5 * BATCH]) == (lived.case.accumulation == 1)
    for report in found:
        assert values(report) == expected[report["images_seen"]], report["images_seen"]


def test_weights_and_averages_are_the_same_to_the_last_bit(lived: Lived) -> None:
    expected, found = lived.whole.end, lived.killed.end
    assert found.keys() == expected.keys()
    assert len(expected) == 4, "weights, the discriminator's, two averages"
    assert bool(expected["critic"]) == (lived.case.accumulation == 1)
    for part, tensors in expected.items():
        assert tensors or part == "critic"
        assert tensors.keys() == found[part].keys()
        for name, tensor in tensors.items():
            assert torch.equal(found[part][name], tensor), f"{part}: {name}"


def test_the_pictures_drawn_are_the_same_to_the_last_byte(lived: Lived, tmp_path: Path) -> None:
    drawn = []
    for number, url in enumerate(lived.folders):
        newest = CheckpointStore(f"{url}/checkpoints").latest()
        assert newest is not None
        assert newest.images_seen == lived.case.updates * BATCH
        out = tmp_path / str(number)
        sample_to_folder(Sampling(checkpoint=newest.url, out=str(out), count=16, batch=16))
        drawn.append({path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert drawn[0].keys() == drawn[1].keys() != set()
    pictures = [name for name in drawn[0] if name.endswith((".png", ".npz", ".safetensors"))]
    assert pictures
    assert all(drawn[0][name] == drawn[1][name] for name in pictures)


def test_every_sample_is_seen_once(lived: Lived) -> None:
    proof, text = audit(Audit(run=lived.folders[1]))
    assert proof.holds, text
    if REPORT:  # the last test of a case: all of it holds
        _write_down(lived, Path(REPORT))


def _write_down(lived: Lived, place: Path) -> None:
    """Add a case's row; a new report begins with its heading."""
    case, (_, url) = lived.case, lived.folders
    reports = len(events(url, "report"))
    updates = ", ".join(str(kill.update) for kill in lived.killed.kills)
    row = (
        f"| {case.stage} | {case.accumulation} | {case.updates} | {case.kills} "
        f"| {reports - case.updates} | {lived.whole.seconds:.0f} s | {lived.killed.seconds:.0f} s "
        f"| bit-identical | {updates} |\n"
    )
    place.write_text((place.read_text() if place.exists() else HEADING) + row)


HEADING = """# A run that is killed 20 times ends in the same bits

Two workers (gloo, DeepSpeed, bfloat16 weights with float32 masters), a tiny joint model of the
digits, a checkpoint every 5 updates. SIGKILL reaches one worker up to 50 ms after the update that
was drawn for it (in an update, a save or an upload, whichever is under way) and the other up to
50 ms later; then both are started again from what lies in storage. Every report's losses, norms and
statistics (each update's, also those computed again), the weights, the discriminator's (where an
update is one pass), two averages, and 16 pictures drawn from the last checkpoint equal those of
the run that nobody disturbed: to the last bit. The audit of the ledger finds every sample once.

Written by `RESUME_MATRIX=docs/results/resume.md python -m pytest -x
tests/faults/test_resume_equals_uninterrupted.py` on a busy machine of two cores, a row for each
case once its tests held; the times are of no other use.

| ZeRO | passes | updates | kills | computed again | undisturbed | killed | result | killed after |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
