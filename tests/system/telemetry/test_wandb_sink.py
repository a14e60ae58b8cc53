"""The mirror is deterministic, offline without a key, and harmless when it breaks."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from system.foundation import storage
from system.foundation.settings.run import Wandb
from system.telemetry import wandb_sink
from system.telemetry.wandb_mirror import AREAS
from system.telemetry.wandb_mirror import run_id
from system.telemetry.wandb_sink import WandbSink
from system.telemetry.wandb_sink import resolve_mode


@pytest.mark.parametrize(
    ("mode", "environment", "resolved"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": ""}, "offline"),
        ("auto", {"WANDB_API_KEY": "k"}, "online"),
        ("offline", {"WANDB_API_KEY": "k"}, "offline"),
        ("disabled", {"WANDB_API_KEY": "k"}, "disabled"),
        ("online", {}, "online"),
    ],
)
def test_mode(mode, environment, resolved):
    assert resolve_mode(Wandb(mode=mode), environment) == resolved


REPORT = {"kind": "report", "images_seen": 64, "values": {"loss/total": 0.5}}
EVALUATION = {"kind": "evaluation", "images_seen": 64, "values": {"evaluation/gfid": 9.0}}


def test_disabled_does_nothing(tmp_path):
    sink = WandbSink(Wandb(mode="disabled"), str(tmp_path / "run"), {})
    sink.show(REPORT)
    sink.close()
    assert sink.failures == 0
    assert not (tmp_path / "run").exists()


def mirrored(url, wanted):
    """What wandb's own process has written, once that holds something: it writes on for a while."""
    (written,) = (Path(url) / "logs").rglob(f"run-{run_id(url)}.wandb")
    deadline = time.monotonic() + 60
    while wanted not in (content := written.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return content


def test_offline_mirror_holds_values_and_pictures(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    url = str(tmp_path / "run")
    picture = io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "png")
    storage.write_bytes(f"{url}/samples/{64:012d}.png", picture.getvalue())
    sink = WandbSink(Wandb(mode="auto"), url, {"run.seed": 0})
    for event in (REPORT, {"kind": "checkpoint", "images_seen": 64}, EVALUATION):
        sink.show(event)
    sink.close(60)
    assert sink.failures == 0
    content = mirrored(url, b"evaluation/gfid")
    assert b"loss/total" in content
    assert list((tmp_path / "run" / "logs").rglob("samples*.png"))


def test_a_mirror_that_cannot_start_counts_and_lets_the_run_go_on(tmp_path, caplog):
    (tmp_path / "run").write_text("a file where the folder should be")
    sink = WandbSink(Wandb(mode="offline"), str(tmp_path / "run"), {})
    sink.show(REPORT)
    sink.close()
    assert sink.failures == 2
    assert "the run goes on without it" in caplog.text


def test_a_picture_that_cannot_be_read_is_counted(tmp_path):
    url = str(tmp_path / "run")
    storage.write_bytes(f"{url}/samples/{64:012d}.png", b"no picture")
    sink = WandbSink(Wandb(mode="offline"), url, {})
    sink.show(EVALUATION)
    sink.close(60)
    assert sink.failures == 1


def test_a_full_queue_loses_events_and_never_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_sink, "QUEUE_LENGTH", 1)
    monkeypatch.setattr(WandbSink, "_work", lambda self: None)  # a mirror that hangs for ever
    sink = WandbSink(Wandb(mode="offline"), str(tmp_path / "run"), {})
    for _ in range(3):
        sink.show(REPORT)
    assert sink.failures == 2
    sink.close(0.05)
    assert sink.failures == 3


def test_a_wandb_that_hangs_is_ended_and_nobody_waits(tmp_path):
    sink = WandbSink(Wandb(mode="offline"), str(tmp_path / "run"), {})
    sink.show(REPORT)
    while sink._process is None:
        time.sleep(0.01)
    os.kill(sink._process.pid, signal.SIGSTOP)
    sink.close(0.1)
    assert sink._process.wait(60) == -signal.SIGKILL
    assert sink.failures == 2  # its start, and the report


def test_every_number_has_images_seen_as_its_clock(tmp_path):
    url = str(tmp_path / "run")
    sink = WandbSink(Wandb(mode="offline"), url, {})
    sink.show(REPORT)
    sink.close(60)
    content = mirrored(url, b"loss/total")
    for area in ("loss", "train", "throughput", "evaluation", "goodput"):
        assert area in AREAS
        assert f"{area}/*".encode() in content
    assert not {"run", "campaign", "exporter"} & set(AREAS)
    assert content.count(b"images_seen") >= len(AREAS)


def test_a_run_that_goes_on_is_the_same_run_there(tmp_path):
    url = str(tmp_path / "run")
    for _ in range(2):
        sink = WandbSink(Wandb(mode="offline"), url, {})
        sink.show(REPORT)
        sink.close(60)
        assert sink.failures == 0
        time.sleep(1.0)  # its folders are named by the second
    found = list((tmp_path / "run" / "logs").rglob(f"run-{run_id(url)}.wandb"))
    assert len(found) == 2


KILLED = """
import contextlib, pathlib, sys, time
import psutil
from system.foundation.settings.run import Wandb
from system.telemetry.wandb_sink import WandbSink
report = {"kind": "report", "images_seen": 64, "values": {"loss/total": 0.5}}
sink = WandbSink(Wandb(mode="offline"), sys.argv[1], {})
sink.show(report)
def own():
    found = []
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += [each] * ("wandb" in each.name())
    return found
while not (own() and list(pathlib.Path(sys.argv[1]).rglob("*.wandb"))):
    time.sleep(0.05)
for each in (killed := own()):
    each.kill()
start = time.monotonic()
for _ in range(2000):
    sink.show(report)
shown = time.monotonic() - start
sink.close(2)
print(len(killed) > 0, shown < 30.0, "the program goes on", flush=True)
"""


@pytest.mark.slow
@pytest.mark.chaos
def test_wandbs_own_process_may_die_and_nobody_waits(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "run")],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.stdout.strip().endswith("True True the program goes on"), done.stderr
    assert done.returncode == 0, done.stderr
