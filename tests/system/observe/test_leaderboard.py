"""A campaign's leaderboard crosses storage unchanged, and is ordered by what can be compared."""

import random

from system.foundation import storage
from system.observe.leaderboard import Leaderboard
from system.observe.leaderboard import Row
from system.observe.leaderboard import place_of
from system.observe.leaderboard import ranked
from system.observe.leaderboard import read_leaderboards
from system.observe.leaderboard import write


def row(trial, rung=0, value=None, confirmed=None):
    return Row(
        trial=trial, run=f"sweep-{trial}", overrides={"run.seed": 1}, state="done", rung=rung,
        images_seen=64, value=value, confirmed_value=confirmed,
    )  # fmt: skip


def board(name, *rows):
    return Leaderboard(
        campaign=name, objective="evaluation/gfid", direction="min", state="running", trials=rows,
        gpu_hours_spent=1.5, gpu_hours_limit=None, cost_spent=3.0, cost_limit=10.0, rungs=(64, 128),
        updated=12.0,
    )  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    boards = [board("a", row("x", value=1.0)), board("b")]
    for each in reversed(boards):
        write(str(tmp_path), each)
    assert read_leaderboards(str(tmp_path)) == boards
    assert read_leaderboards(str(tmp_path / "none")) == []


def test_what_cannot_be_read_is_left_out(tmp_path, caplog):
    write(str(tmp_path), board("good"))
    storage.write_bytes(place_of(str(tmp_path), "bad"), b'{"campaign": 1}')
    storage.write_bytes(f"{tmp_path}/campaigns/unticked/campaign.yaml", b"")
    assert [each.campaign for each in read_leaderboards(str(tmp_path))] == ["good"]
    assert "bad" in caplog.text


def test_only_what_can_be_compared_is(tmp_path):
    best_first = [
        row("confirmed", rung=2, value=9.0, confirmed=5.0),
        row("confirmed worse", rung=2, value=1.0, confirmed=6.0),
        row("later", rung=2, value=8.0),
        row("early good", rung=0, value=1.0),
        row("early bad", rung=0, value=2.0),
        row("nothing", rung=1),
    ]
    mixed = best_first.copy()
    random.Random(0).shuffle(mixed)
    assert list(ranked(mixed, "min")) == best_first
    assert board("x", *ranked(mixed, "max")).best.trial == "confirmed worse"
    assert board("x", row("nothing")).best is None
