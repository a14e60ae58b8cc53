"""Events as text: tables of what is shown for what."""

import contextlib
import io
import os
import pty

import pytest

from system.telemetry.console import Console
from system.telemetry.console import Progress
from system.telemetry.console import clock
from system.telemetry.console import event_line
from system.telemetry.console import percent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (-3, "0:00"),
        (59.6, "1:00"),
        (190, "3:10"),
        (3600, "1:00:00"),
        (9e4, "25:00:00"),
    ],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [(0, 10, "0 %"), (999, 1000, "99 %"), (10, 10, "100 %"), (11, 10, "100 %"), (0, 0, "0 %")],
)
def test_percent(done, total, text):
    assert percent(done, total) == text


def report(images_seen, **values):
    names = {
        "rate": "throughput/images_per_s",
        "nll": "loss/nll_nats",
        "rec": "loss/reconstruction",
        "grad": "train/gradient_norm",
    }
    return {
        "kind": "report",
        "images_seen": images_seen,
        "values": {names[name]: value for name, value in values.items()},
    }


def evaluation(images_seen, **values):
    named = {f"evaluation/{name}": value for name, value in values.items()}
    return {"kind": "evaluation", "images_seen": images_seen, "values": named}


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], "images 0 / 400,000  0 %"),
        (
            [report(40960, rate=1812, nll=0.3124, rec=0.0213), evaluation(40960, gfid=12.34)],
            "images 40,960 / 400,000  10 %  1,812 images/s  nll 0.312  rec 0.0213  ETA 3:18  "
            "gFID 12.3",
        ),
        (
            [report(100, rate=1000), report(400000, rate=2000, grad=1.5)],
            "images 400,000 / 400,000  100 %  1,300 images/s  grad 1.50",
        ),
        ([report(100, rate=1000), {"kind": "attempt_started"}], "images 0 / 400,000  0 %"),
        ([report(100, rate=1000), {"kind": "attempt_started"},
          {"kind": "resumed", "images_seen": 50}],
         "images 50 / 400,000  0 %"),
        ([{"kind": "goodput", "values": {"goodput/share_while_driven": 0.9749}}, report(7)],
         "images 7 / 400,000  0 %  goodput 97 %"),
        ([report(7)], "images 7 / 400,000  0 %"),
    ],
)  # fmt: skip
def test_the_line_of_progress(events, line):
    progress = Progress(400_000)
    for event in events:
        progress.update(event)
    assert progress.line() == line


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"kind": "report", "images_seen": 1}, None),
        ({"kind": "attempt_finished"}, None),
        ({"kind": "attempt_started", "attempt": 1, "workers": 2, "device": "cpu"},
         "attempt 1 starts with 2 workers on cpu"),
        ({"kind": "attempt_started", "attempt": 3, "workers": 1, "compiles": True},
         "attempt 3 starts with 1 worker on cpu; the first update compiles the model"),
        ({"kind": "resumed", "attempt": 3, "images_seen": 5120, "checkpoint": "c"},
         "resumes at 5,120 images from c"),
        ({"kind": "checkpoint", "images_seen": 2560}, "checkpoint at 2,560 images"),
        ({"kind": "checkpoint_passed_over", "checkpoint": "c", "reason": "torn"},
         "checkpoint c passed over: torn"),
        (evaluation(100, gfid=2.5, gfid_floor=1.0, conditional_accuracy=0.975, bits_per_dim=1.25),
         "evaluation at 100 images: gFID 2.5  floor 1  accuracy 97.5%  bits/dim 1.250"),
        ({"kind": "evaluation_dropped", "images_seen": 9, "reason": "2 are waiting"},
         "evaluation at 9 images left out: 2 are waiting"),
        ({"kind": "evaluation_failed", "images_seen": 9, "error": "DataError: gone"},
         "evaluation at 9 images failed: DataError: gone"),
        ({"kind": "skipped_update", "images_seen": 64},
         "update skipped at 64 images: values that are not finite"),
        ({"kind": "rolled_back", "start": 4096, "stop": 4160, "reason": "the loss was 9"},
         "taken back to before position 4,096: the loss was 9"),
        ({"kind": "positions_left_out", "start": 4096, "stop": 4160, "reason": "the loss was 9"},
         "positions 4,096 to 4,160 left out: the loss was 9"),
        ({"kind": "hang", "rank": 1, "stage": "data", "reason": "no update", "stacks": "logs/h"},
         "worker 1 hangs (data): no update; see logs/h"),
        ({"kind": "manifest_changed", "images_seen": 5120, "changes": ["1 shard gone: a"]},
         "goes on at 5,120 images with other shards, which no audit can prove whole: "
         "1 shard gone: a"),
        ({"kind": "bad_sample", "key": "k", "reason": "truncated"}, "bad sample k: truncated"),
        ({"kind": "notice", "images_seen": 64, "cause": "preemption", "seconds_left": 29.4},
         "preemption announced at 64 images in 0:29: saves before it"),
        ({"kind": "notice", "images_seen": 64, "cause": "resize", "seconds_left": None},
         "resize announced at 64 images: saves before it"),
        ({"kind": "standing_by", "images_seen": 64, "cause": "resize"},
         "all is saved at 64 images: waits for the resize"),
        ({"kind": "worker_failed", "rank": 1, "error": "killed"}, "worker 1 failed: killed"),
        ({"kind": "failure_decided", "action": "restart", "reason": "lost: failure 2 in a row",
          "wait_s": 5.0, "without_node": "a1"},
         "starts the workers again in 5 s without node a1: lost: failure 2 in a row"),
        ({"kind": "failure_decided", "action": "skip", "reason": "a poison batch"},
         "goes on without the batch: a poison batch"),
        ({"kind": "run_finished", "images_seen": 10, "seconds": 75},
         "finished at 10 images after 1:15"),
    ],
)  # fmt: skip
def test_one_line_for_an_event(event, line):
    assert event_line(event) == line


def test_plain_output_is_whole_lines_and_not_too_many_of_them():
    stream = io.StringIO()
    console = Console(300, stream)
    for seen in range(100, 301, 100):
        console.show(report(seen, rate=10))
    console.show({"kind": "checkpoint", "images_seen": 300})
    console.close()
    lines = [line.split("  ", 1)[1] for line in stream.getvalue().splitlines()]
    # The second report comes too soon after the first; the last is always shown.
    assert [line.split("  ")[0] for line in lines] == [
        "images 100 / 300",
        "images 300 / 300",
        "checkpoint at 300 images",
    ]


def read_to_end(terminal: int) -> str:
    """All that was written: the kernel hands it over piece by piece, and an error at the end."""
    pieces = []
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    return b"".join(pieces).decode()


def test_a_terminal_gets_a_line_that_renews_itself():
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal:
        console = Console(300, terminal)
        console.show(report(100, rate=10))
        console.show({"kind": "checkpoint", "images_seen": 100})
        console.show(report(200, rate=10))
        console.close()
    shown = read_to_end(parent)
    os.close(parent)
    assert "images 200 / 300" in shown
    assert "checkpoint at 100 images" in shown
    assert "\x1b[" in shown
