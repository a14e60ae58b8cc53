"""What is written is read back, by several writers, after a crash, and on an object store."""

import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch

from system.foundation import storage
from system.foundation.errors import StorageError
from system.telemetry import ledger as module
from system.telemetry.ledger import Follower
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger


@pytest.fixture(params=["local", "object store"])
def url(request, tmp_path):
    return str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}"


def test_events_come_back_in_order_of_time_with_run_and_attempt(url):
    with Ledger(url, "a", run="digits", attempt=2) as a, Ledger(url, "b", run="digits") as b:
        a.write("attempt_started", workers=2)
        b.write("report", images_seen=128, values={"loss/total": np.float32(0.5)})
        a.write("report", images_seen=256, values={"loss/total": torch.tensor(0.25)})
    events = read_ledger(url)
    assert [e["kind"] for e in events] == ["attempt_started", "report", "report"]
    assert [e["attempt"] for e in events] == [2, 0, 2]
    assert {e["run"] for e in events} == {"digits"}
    assert events[1]["values"] == {"loss/total": 0.5}
    assert events[2]["values"] == {"loss/total": 0.25}
    assert events == sorted(events, key=lambda e: e["time"])


def test_a_run_without_a_ledger_has_no_events(tmp_path):
    assert read_ledger(str(tmp_path / "nothing")) == []


def test_an_unknown_metric_is_an_error_of_ours(url):
    with Ledger(url, "a", run="r") as ledger, pytest.raises(AssertionError, match="loss/totl"):
        ledger.write("report", images_seen=1, values={"loss/totl": 1.0})


def test_writers_append_to_what_an_earlier_attempt_wrote(url):
    for attempt in (1, 2, 3):
        with Ledger(url, "a", run="r", attempt=attempt) as ledger:
            ledger.write("attempt_started")
    assert [e["attempt"] for e in read_ledger(url)] == [1, 2, 3]


def test_a_torn_last_line_is_passed_over_and_the_next_attempt_writes_on(tmp_path):
    url = str(tmp_path)
    with Ledger(url, "a", run="r", attempt=1) as ledger:
        ledger.write("attempt_started")
    path = tmp_path / "ledger" / "a.jsonl"
    path.write_bytes(path.read_bytes() + b'{"time": 12.5, "ki')
    assert len(read_ledger(url)) == 1
    with Ledger(url, "a", run="r", attempt=2) as ledger:
        ledger.write("attempt_started")
    follower = Follower(url)
    assert [e["attempt"] for e in follower.poll()] == [1, 2]
    assert follower.torn_lines == 1


@pytest.mark.parametrize("line", [b"[1]", b"{}", b'{"time": "noon"}', b"\xff"])
def test_lines_that_are_no_events_are_counted(tmp_path, line):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "a.jsonl").write_bytes(line + b"\n\n")
    follower = Follower(str(tmp_path))
    assert follower.poll() == []
    assert follower.torn_lines == 1


def test_a_follower_sees_each_event_once_and_waits_for_whole_lines(url):
    follower = Follower(url)
    assert follower.poll() == []
    with Ledger(url, "a", run="r") as ledger:
        ledger.write("checkpoint", images_seen=1)
        assert [e["images_seen"] for e in follower.poll()] == [1]
        assert follower.poll() == []
        ledger.write("checkpoint", images_seen=2)
        ledger.write("checkpoint", images_seen=3)
        assert [e["images_seen"] for e in follower.poll()] == [2, 3]


def test_a_follower_that_finds_the_store_down_in_the_middle_misses_nothing(url, monkeypatch):
    for writer in ("a", "b"):
        with Ledger(url, writer, run="r") as ledger:
            ledger.write("checkpoint", images_seen=1)
    follower, read = Follower(url), storage.read_range
    with monkeypatch.context() as down:

        def refuse(place, start, length):
            if "b" in place.rpartition("/")[2]:
                raise StorageError(f"{place}: unreachable")
            return read(place, start, length)

        down.setattr(storage, "read_range", refuse)
        with pytest.raises(StorageError):
            follower.poll()
    assert len(follower.poll()) == 2
    assert follower.poll() == []


def test_a_line_in_the_making_waits_for_its_end(tmp_path):
    (tmp_path / "ledger").mkdir()
    path = tmp_path / "ledger" / "a.jsonl"
    line = json.dumps({"time": 1.0, "kind": "checkpoint"}).encode()
    path.write_bytes(line[:10])
    follower = Follower(str(tmp_path))
    assert follower.poll() == []
    path.write_bytes(line + b"\n")
    assert follower.poll() == [{"time": 1.0, "kind": "checkpoint"}]
    assert follower.torn_lines == 0


def test_a_full_part_is_followed_by_the_next(monkeypatch):
    url = f"memory://{uuid.uuid4().hex}"
    monkeypatch.setattr(module, "EVENTS_PER_PART", 2)
    with Ledger(url, "a", run="r") as ledger:
        for seen in range(5):
            ledger.write("checkpoint", images_seen=seen)
    names = storage.list_names(storage.join(url, "ledger"))
    assert names == [f"a.part-{n:06d}.jsonl" for n in range(3)]
    assert [e["images_seen"] for e in read_ledger(url)] == [0, 1, 2, 3, 4]


def test_events_wait_while_the_store_is_down_and_none_is_lost(monkeypatch):
    url = f"memory://{uuid.uuid4().hex}"
    ledger = Ledger(url, "a", run="r")
    with monkeypatch.context() as down:

        def refuse(place, data):
            raise StorageError(f"{place}: unreachable")

        down.setattr(storage, "write_bytes", refuse)
        ledger.write("checkpoint", images_seen=1)
        with pytest.raises(StorageError):
            ledger.close()
    assert ledger.failed_writes == 1
    assert read_ledger(url) == []
    ledger.write("checkpoint", images_seen=2)
    ledger.close()
    assert [e["images_seen"] for e in read_ledger(url)] == [1, 2]


@pytest.mark.parametrize("line", ['{"time": 3.0}', '{"kind": "report"}', '{"time": 3, "kind": 1}'])
def test_a_line_without_time_or_kind_is_passed_over_like_a_torn_one(tmp_path, line):
    with Ledger(str(tmp_path), "a", run="r") as ledger:
        ledger.write("attempt_started")
    (tmp_path / "ledger" / "b.jsonl").write_text(f"{line}\n")
    follower = Follower(str(tmp_path))
    assert [event["kind"] for event in follower.poll()] == ["attempt_started"]
    assert follower.torn_lines == 1


ON_A_FULL_DISK = """
import sys
from system.telemetry.ledger import Ledger
with Ledger(sys.argv[1], "a", run="r") as ledger:
    ledger.write("attempt_started")
    try:
        with open(sys.argv[1] + "/ballast", "wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
    except OSError:
        pass
    for number in range(40):
        ledger.write("report", images_seen=number, values={})
"""
SMALL_DISK = 'mount -t tmpfs -o size=256k none "$0"; "$@" "$0" && cp -r "$0/ledger" "$0-kept"'


needs_a_small_disk = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0,
    reason="this machine lets nobody mount a small disk",
)


@needs_a_small_disk
def test_the_last_lines_fit_on_a_full_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    program = [sys.executable, "-c", ON_A_FULL_DISK]
    root = Path(__file__).parents[3]
    command = ["unshare", "-rm", "bash", "-c", SMALL_DISK, str(place), *program]
    subprocess.run(command, check=True, cwd=root)
    (tmp_path / "run").mkdir()
    shutil.move(f"{place}-kept", tmp_path / "run" / "ledger")
    events = read_ledger(str(tmp_path / "run"))
    assert [e["kind"] for e in events] == ["attempt_started", *["report"] * 40]
    assert [e.name for e in (tmp_path / "run/ledger").iterdir()] == ["a.jsonl"]
