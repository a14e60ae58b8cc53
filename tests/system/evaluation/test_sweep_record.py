"""A sweep's record and its table."""

import json

import pytest
from pydantic import ValidationError

from system.evaluation.protocol import Measurement
from system.evaluation.sweep_record import Cell
from system.evaluation.sweep_record import FreshSeed
from system.evaluation.sweep_record import OverSeeds
from system.evaluation.sweep_record import Sweep
from system.evaluation.sweep_record import sweep_table
from system.evaluation.sweep_record import write_sweep
from tests.system.evaluation.test_protocol import PROTOCOL


def number(corrected: float, error: float, name: str = "gfid") -> Measurement:
    return Measurement(
        name=f"evaluation/{name}",
        value=corrected + 1,
        corrected=corrected,
        standard_error=error,
        interval=(corrected - 2 * error, corrected + 2 * error),
        protocol=PROTOCOL,
    )


def cell(guidance: float, corrected: float, *, best: float, tied: bool) -> Cell:
    apart = Measurement(
        name="evaluation/gfid_difference",
        value=corrected - best,
        standard_error=0.05,
        protocol=PROTOCOL,
    )
    return Cell(
        guidance=guidance,
        temperature=1.0,
        averaging_decay=0.5,
        content="a" * 32,
        measured=number(corrected, 0.3),
        difference=apart,
        is_tied=tied,
    )


@pytest.fixture
def sweep() -> Sweep:
    broken = Cell(
        guidance=9.0, temperature=1.0, averaging_decay=0.5, content="a" * 32, measured=None,
        broken=7,
    )  # fmt: skip
    return Sweep(
        images_seen=2560,
        checkpoint="000000002560-1",
        preset="digits",
        count=80,
        fresh_count=100,
        cells=(
            cell(0.0, 3.5, best=2.0, tied=False),
            cell(1.0, 2.0, best=2.0, tied=True),
            cell(2.0, 2.05, best=2.0, tied=True),
            broken,
        ),
        best=1,
        fresh=(FreshSeed(seed=1, measured=number(2.2, 0.2)),),
        over_seeds=OverSeeds(mean=number(2.2, 0.1), sd=0.14),
    )


def test_the_table_has_every_cell_and_both_numbers_of_the_best(sweep):
    lines = sweep_table(sweep).splitlines()
    assert lines[1].split() == ["0", "1", "0.5", "3.5", "±", "0.3", "4.5", "1.5", "±", "0.05"]
    assert lines[2].endswith("best")
    assert lines[3].endswith("tied")
    assert lines[4].endswith("failed: 7 of 80 images are not finite")
    assert lines[6].startswith("best of 4: gfid 2 ± 0.3 (80 images), too low on average")
    assert lines[7] == (
        "on fresh seeds 1: gfid 2.2 ± 0.1, sd 0.14 over seeds (100 images each; not corrected: 3.2)"
    )


def test_a_fresh_seed_that_fails_is_said_and_no_mean_is_made(sweep):
    fresh = (FreshSeed(seed=1, measured=None, broken=3), sweep.fresh[0])
    failed = sweep.model_copy(update={"fresh": fresh, "over_seeds": None})
    assert sweep_table(failed).splitlines()[7:] == [
        "fresh seed 1 failed: 3 of 100 images are not finite"
    ]


def test_the_record_has_a_digest_beside_every_number(sweep, tmp_path):
    url = write_sweep(sweep, str(tmp_path))
    assert url == f"{tmp_path}/sweep/000000002560-digits.json"
    record = json.loads((tmp_path / "sweep" / "000000002560-digits.json").read_text())
    assert record["best"] == 1
    first = record["cells"][0]
    for one in (first["measured"], first["difference"], record["over_seeds"]["mean"]):
        assert one["protocol_digest"] == PROTOCOL.digest
    assert first["difference"]["name"] == "evaluation/gfid_difference"
    assert record["cells"][3]["measured"] is None


def test_a_number_without_its_protocol_cannot_be_written(sweep, tmp_path):
    bare = sweep.cells[0].measured.model_copy(update={"protocol": None})
    wrong = sweep.cells[0].model_copy(update={"measured": bare})
    with pytest.raises(ValidationError, match="protocol"):
        write_sweep(sweep.model_copy(update={"cells": (wrong,)}), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("measured", "broken"), [(None, 0), (number(1.0, 0.1), 2)])
def test_an_outcome_is_a_number_or_broken_images(measured, broken):
    with pytest.raises(ValidationError, match="broken images"):
        FreshSeed(seed=1, measured=measured, broken=broken)
