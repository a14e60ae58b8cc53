"""What a run that is started again says of its changes."""

import json
from pathlib import Path

import pytest

from system.foundation.config import resolve
from system.launch.command import ROOT
from system.launch.provenance import COMMIT_VARIABLE
from system.launch.provenance import write_provenance
from system.launch.resumption import changes
from system.launch.resumption import tell_of_start
from system.telemetry.ledger import read_ledger

DIGITS = ROOT / "configs" / "simflow_digits.yaml"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A run that was started before."""
    monkeypatch.setenv(COMMIT_VARIABLE, "first")
    write_provenance(str(tmp_path), digits(), ROOT)
    return tmp_path


def digits(*arguments: str):
    return resolve(DIGITS, [*arguments])


def test_a_new_run_has_changed_nothing(tmp_path, capsys):
    assert tell_of_start(str(tmp_path), digits(), ROOT, images_seen=0) == []
    assert capsys.readouterr().out == f"run 'digits' starts in {tmp_path}\n"
    (event,) = read_ledger(str(tmp_path))
    assert (event["kind"], event["changes"], event["images_seen"]) == ("driver_started", [], 0)


def test_the_same_again_has_changed_nothing(started, capsys):
    elsewhere = digits("run.root=/the/same/by/another/path")
    assert tell_of_start(str(started), elsewhere, ROOT, images_seen=64) == []
    assert capsys.readouterr().out == "run 'digits' goes on at 64 images\n"


def test_a_run_that_had_saved_nothing_is_said_to_start_over(started, capsys):
    tell_of_start(str(started), digits(), ROOT, images_seen=0)
    said = f"run 'digits' starts in {started} from its first image, as nothing was saved before\n"
    assert capsys.readouterr().out == said


def test_every_changed_key_is_told_with_both_values(started, capsys, monkeypatch):
    monkeypatch.setenv(COMMIT_VARIABLE, "second")
    now = digits("engine.optimiser.learning_rate=0.5", "flow.depths=[1, 2]", "run.seed=7")
    told = tell_of_start(str(started), now, ROOT, images_seen=51200)
    before = digits().recipe
    assert told == [
        f"engine.optimiser.learning_rate: {before.engine.optimiser.learning_rate} → 0.5",
        f"flow.depths: {list(before.flow.depths)} → [1, 2]",
        f"run.seed: {before.run.seed} → 7",
        "commit: first → second",
    ]
    said = capsys.readouterr().out
    assert "goes on at 51,200 images; since its last start has changed:\n  engine." in said
    assert all(f"\n  {line}" in said for line in told)
    assert read_ledger(str(started))[-1]["changes"] == told


def test_keys_that_are_new_or_gone_are_told_as_such(started):
    place = started / "recipe.yaml"
    place.write_text(place.read_text().replace("  seed: ", "  old_seed: ", 1))
    assert changes(str(started), digits(), ROOT) == [
        "run.old_seed: 0 → (not there)",
        "run.seed: (not there) → 0",
    ]


def test_other_versions_are_told(started):
    place = started / "provenance.json"
    content = json.loads(place.read_text())
    content["starts"][-1]["versions"]["torch"] = "1.0"
    place.write_text(json.dumps(content))
    (line,) = changes(str(started), digits(), ROOT)
    assert line.startswith("versions.torch: 1.0 → 2")


@pytest.mark.parametrize("content", ["", "[]", "a: [", "- 1"])
def test_what_cannot_be_read_is_no_hindrance(started: Path, content):
    (started / "recipe.yaml").write_text(content)
    (started / "provenance.json").write_text(content)
    assert isinstance(changes(str(started), digits(), ROOT), list)
