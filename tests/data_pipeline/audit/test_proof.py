from dataclasses import replace

import pytest

from data_pipeline.audit.lineage import trace
from data_pipeline.audit.proof import prove
from data_pipeline.shards.manifest import read_manifest
from system.foundation.settings.data import Selection
from system.telemetry.ledger import read_ledger
from tests.data_pipeline.audit.ledgers import BATCH
from tests.data_pipeline.audit.ledgers import write_attempt

AN_EPOCH = 13  # batches, and a part of the next


def proof_of(folder, manifest, events=None):
    lineage = trace(read_ledger(str(folder)) if events is None else events)
    return prove(lineage, lambda origin: manifest)


@pytest.mark.parametrize("size", [1, 3])
def test_a_run_with_a_restart_is_proven(tmp_path, digits, digits_data, size):
    data = digits_data()
    write_attempt(tmp_path, digits, data, attempt=1, start=0, intervals=[5, 5, 1], size=size)
    write_attempt(tmp_path, digits, data, attempt=2, start=10 * BATCH, intervals=[AN_EPOCH])
    proof = proof_of(tmp_path, digits)
    assert proof.holds
    assert not proof.exceptions
    first, second = proof.epochs
    assert first.positions == digits.samples
    assert second.positions == 23 * BATCH - digits.samples


def test_whole_epochs_are_proven_by_the_ledger_alone(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[7, AN_EPOCH])
    proof = proof_of(tmp_path, None)
    assert [epoch.is_shown for epoch in proof.epochs] == [True, False]
    assert not proof.holds
    assert not proof.violations


@pytest.mark.parametrize("with_manifest", [True, False])
def test_other_keys_than_those_due_are_found(tmp_path, digits, digits_data, with_manifest):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[7, AN_EPOCH])
    events = read_ledger(str(tmp_path))
    told = next(event for event in events if event.get("stop") == 7 * BATCH)
    told["digests"]["0"] = f"{(int(told['digests']['0'], 16) + 1) % 2**64:016x}"
    proof = proof_of(tmp_path, digits if with_manifest else None, events)
    assert not proof.holds
    assert any("epoch 0" in violation for violation in proof.violations)
    if with_manifest:
        assert "positions 0 to 840 (attempt 1)" in proof.violations[0]


def test_exceptions_are_named(tmp_path, digits_copy, digits_data, damage):
    manifest = read_manifest(str(digits_copy)).split("train")
    damage(digits_copy, manifest, 7)
    data = digits_data(max_bad_fraction=0.5)
    write_attempt(tmp_path, manifest, data, attempt=1, start=0, intervals=[6, AN_EPOCH])
    events = read_ledger(str(tmp_path))
    skipped = {"kind": "skipped_update", "attempt": 1, "images_seen": 3 * BATCH}
    skipped["time"] = next(event["time"] for event in events if event["kind"] == "consumed") - 1e-5
    for found in (manifest, None):
        proof = proof_of(tmp_path, found, [*events, skipped])
        assert not proof.violations
        bad = [text for text in proof.exceptions if "was left out" in text]
        assert len(bad) in (1, 2)
        assert f"epoch 0: {manifest.key(7)} was left out at position" in bad[0]
        assert "bytes differ" in bad[0]
        assert any("positions 240 to 360 were consumed, but" in text for text in proof.exceptions)
    whole = proof_of(tmp_path, manifest, [*events, skipped])
    (text,) = [text for text in whole.exceptions if "skipped" in text]
    assert text.count("digits-") == BATCH


def test_a_balanced_run_is_proven_with_its_manifest(tmp_path, digits, digits_data):
    data = digits_data(selection=Selection(balance="undersample"))
    write_attempt(tmp_path, digits, data, attempt=1, start=0, intervals=[4, 3 * AN_EPOCH])
    assert proof_of(tmp_path, digits).holds
    assert len(proof_of(tmp_path, None).unshown) == len(proof_of(tmp_path, None).epochs)


def test_another_order_within_an_epoch_is_a_violation(tmp_path, digits, digits_data):
    one, other = digits_data(), digits_data(window_shards=2)
    write_attempt(tmp_path, digits, one, attempt=1, start=0, intervals=[5])
    write_attempt(tmp_path, digits, other, attempt=2, start=5 * BATCH, intervals=[2])
    proof = proof_of(tmp_path, digits)
    assert not proof.unshown, "each interval is what its own order says"
    (violation,) = proof.violations
    assert "attempt 2 goes on from position 600, within an epoch" in violation
    assert "(window_shards)" in violation


def test_shards_may_be_moved_within_an_epoch(tmp_path, digits, digits_data):
    moved = replace(digits, url=digits.url + "/.")
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[5])
    write_attempt(tmp_path, moved, digits_data(), attempt=2, start=5 * BATCH, intervals=[AN_EPOCH])
    asked = []
    proof = prove(trace(read_ledger(str(tmp_path))), lambda origin: asked.append(origin.shards))
    assert asked == [moved.url]
    assert not proof.violations
    assert [epoch.is_shown for epoch in proof.epochs] == [True, False]


def left_out(events, start):
    """The same ledger, had the interval that begins there been left out by name."""
    return [
        event | {"kind": "positions_left_out", "reason": "attempt 1 was taken back"}
        if event["kind"] == "consumed" and event["start"] == start
        else event
        for event in events
    ]


@pytest.mark.parametrize("with_manifest", [True, False])
def test_what_was_left_out_by_name_is_an_exception_and_no_loss(
    tmp_path, digits, digits_data, with_manifest
):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[5, 1, AN_EPOCH])
    events = left_out(read_ledger(str(tmp_path)), 5 * BATCH)
    proof = proof_of(tmp_path, digits if with_manifest else None, events)
    assert not proof.violations
    assert proof.epochs[0].is_whole
    assert proof.epochs[0].is_shown
    (exception,) = proof.exceptions
    assert exception.startswith(
        "positions 600 to 720 were left out by name, not lost (attempt 1 was taken back)"
    )
    assert exception.count("digits-") == (BATCH if with_manifest else 0)


def test_leaving_out_others_than_those_named_is_found(tmp_path, digits, digits_data):
    write_attempt(tmp_path, digits, digits_data(), attempt=1, start=0, intervals=[5, 1, AN_EPOCH])
    events = left_out(read_ledger(str(tmp_path)), 5 * BATCH)
    told = next(event for event in events if event["kind"] == "positions_left_out")
    told["digests"]["0"] = f"{(int(told['digests']['0'], 16) + 1) % 2**64:016x}"
    (first, *_) = proof_of(tmp_path, digits, events).violations
    assert "the keys left out are not those that the order deals" in first
