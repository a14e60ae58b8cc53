import shutil

import pytest

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from data_pipeline.shards.manifest import read_manifest
from system.foundation.errors import DataError
from tests.data_pipeline.audit.ledgers import BATCH
from tests.data_pipeline.audit.ledgers import write_attempt


def test_the_answer_says_what_was_consumed_and_what_was_undone(tmp_path, digits_copy, digits_data):
    manifest = read_manifest(str(digits_copy)).split("train")
    run = tmp_path / "run"
    write_attempt(run, manifest, digits_data(), attempt=1, start=0, intervals=[3, 1])
    write_attempt(run, manifest, digits_data(), attempt=2, start=3 * BATCH, intervals=[12])
    report = tmp_path / "report.txt"
    proof, text = audit(Audit(run=str(run), report=str(report)))
    assert proof.holds
    for part in (
        "1,800 positions in 2 attempts",
        "attempt 1: positions 360 to 480 were undone by a restart",
        f"epoch 0: whole, {manifest.samples:,} positions",
        f"epoch 1: {1800 - manifest.samples} of {manifest.samples:,} positions",
        "exceptions: none",
        "proven: every key was trained on exactly once per whole epoch, no key twice in one that",
    ):
        assert part in text
    assert report.read_text() == text
    moved = shutil.move(digits_copy, tmp_path / "moved")
    assert audit(Audit(run=str(run), shards=str(moved)))[0].holds
    proof, text = audit(Audit(run=str(run)))
    assert not proof.holds
    assert "without the manifest" in text
    assert "give shards=URL" in text


def test_other_shards_than_the_runs_prove_nothing(tmp_path, digits, photos, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[1])
    proof, text = audit(Audit(run=str(tmp_path), shards=photos.url))
    assert not proof.holds
    assert f"that at {photos.url} is another one by now" in text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="no ledger here"):
        audit(Audit(run=str(tmp_path)))


def test_a_run_that_was_trained_on_nothing_proves_nothing(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[1], told=0)
    proof, text = audit(Audit(run=str(tmp_path)))
    assert "nothing to prove" in text
    assert "proven" not in text
    assert proof.holds, "nothing is wrong either"


def test_epochs_of_two_orders_are_told_apart(tmp_path, digits, digits_data):
    few = digits_data(selection={"per_class": 10})
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[15])
    write_attempt(tmp_path, digits, few, attempt=2, start=15 * BATCH, intervals=[5])
    proof, text = audit(Audit(run=str(tmp_path)))
    assert not proof.holds
    assert f"  epoch 0: whole, {digits.samples:,} positions each\n  epoch 1: " in text
    assert "  epochs 18 to 23: whole, 100 positions each" in text
