"""A real run whose workers are killed twice: where its time went, and what was foreseen of it."""

import os
import signal
import time
from pathlib import Path

import pytest

from system.observe.goodput.course import course
from system.observe.goodput.forecast import prediction
from system.telemetry.attribution import MICRO
from system.telemetry.goodput import account
from system.telemetry.ledger import read_ledger

pytestmark = [
    pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)
]  # fmt: skip

PATIENCE_S = 400
TOTAL, SAVES, REPORTS = 16384, 4096, 256
# The start of a process is known to a second only, as the kernel tells when it booted.
CLOCK_S = 1.5
# The simulation has one cost of a kind, a mean, and a loaded machine no two starts alike.
POINTS = 0.05


@pytest.fixture(scope="module")
def killed_twice(start, tiny):
    """The events of a run, when it was killed, and when the program began and ended."""
    run = Path(tiny[0].partition("=")[2]) / "spent"
    began = time.time()
    job = start(
        "jobs/simflow_digits.py", *tiny, "run.name=spent", f"run.total_images={TOTAL}",
        f"run.report_every_images={REPORTS}", f"run.checkpoint_every_images={SAVES}",
        f"evaluation.every_images={TOTAL}",
    )  # fmt: skip
    kills = []
    for attempt in (1, 2):
        wait_for(lambda a=attempt: is_between_saves(run, a), job)
        os.kill(process_of(run, attempt), signal.SIGKILL)
        kills.append(time.time())
    said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, said
    return read_ledger(str(run)), kills, (began, time.time())


def wait_for(condition, job):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if job.poll() is not None:
            pytest.fail(f"the job ended before it was killed: {job.communicate()[0]}")
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_between_saves(run, attempt):
    """Whether an attempt has committed a checkpoint and is some reports further."""
    own = [each for each in read_ledger(str(run)) if each["attempt"] == attempt]
    saves = [each["images_seen"] for each in own if each["kind"] == "checkpoint"]
    seen = [each["images_seen"] for each in own if each["kind"] == "report"]
    return bool(saves and seen) and SAVES > seen[-1] - saves[-1] >= SAVES // 2


def process_of(run, attempt):
    (started,) = [
        each
        for each in read_ledger(str(run))
        if each["kind"] == "attempt_started" and each["attempt"] == attempt
    ]
    return started["process"]


def test_the_parts_sum_to_the_wall_time_of_the_program(killed_twice):
    events, _, (began, ended) = killed_twice
    spent = account(events)
    assert sum(spent.parts_us().values()) == spent.wall_us
    assert spent.stretches[0].start / MICRO == pytest.approx(began, abs=CLOCK_S)
    (finished,) = [each["time"] for each in events if each["kind"] == "run_finished"]
    assert spent.stretches[-1].stop == round(finished * MICRO)
    assert finished < ended


def test_every_kill_is_followed_by_detection_a_start_and_a_replay(killed_twice):
    events, kills, _ = killed_twice
    spent = account(events)
    assert spent.attempts == [1, 2, 3]
    for attempt, killed in zip((1, 2), kills, strict=True):
        own = [each for each in spent.stretches if each.attempt == attempt]
        found = [each for each in own if "detection" in each.parts]
        assert found == own[-len(found) :] != []
        assert found[-1].stop / MICRO > killed - CLOCK_S
        # A report is a sign of life, so none of it lies before the last one.
        told = [e["time"] for e in events if e["kind"] == "report" and e["attempt"] == attempt]
        assert found[0].start == round(max(told) * MICRO)
    for attempt in (2, 3):
        assert spent.seconds("start_up", attempt) > 0
        resumed = next(
            e["images_seen"] for e in events if e["kind"] == "resumed" and e["attempt"] == attempt
        )
        lost = max(
            e["images_seen"] for e in events if e["kind"] == "report" and e["attempt"] < attempt
        )
        assert SAVES > lost - resumed >= SAVES // 2
        # As much of its training was replayed as of its images; the first update is of the start.
        images = max(
            e["images_seen"] for e in events if e["kind"] == "report" and e["attempt"] == attempt
        )
        trained = spent.seconds("replayed", attempt) + spent.seconds("productive", attempt)
        share = spent.seconds("replayed", attempt) / trained
        assert 0.2 * (lost - resumed) / (images - resumed) < share < 1.0
    assert spent.seconds("replayed", 1) == 0
    assert spent.seconds("evaluation") > 0
    assert spent.seconds("idle") == 0


def test_every_life_tells_of_its_first_update(killed_twice):
    events, _, _ = killed_twice
    firsts = [each for each in events if each["kind"] == "first_update"]
    assert [each["attempt"] for each in firsts] == [1, 2, 3]
    assert all(0 <= each["data_wait_s"] <= each["seconds"] for each in firsts)


def test_the_simulation_foresees_its_goodput(killed_twice):
    events, _, _ = killed_twice
    taken = course(events)
    assert taken.interval_images == SAVES
    assert len(taken.lost_images) == 2
    assert prediction(events) == pytest.approx(account(events).goodput, abs=POINTS)
