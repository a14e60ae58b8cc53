"""Ledgers of runs with a known course, for tests of where their time went."""

from typing import Any

from system.telemetry.ledger import Event

BATCH = 10


def event(kind: str, time: float, attempt: int = 1, **fields: Any) -> Event:
    return {"kind": kind, "time": time, "attempt": attempt, "run": "r", **fields}


def report(
    time: float,
    seen: int,
    attempt: int = 1,
    *,
    wait_s: float = 0.0,
    stood_s: float = 0.0,
    update_s: float = 1.0,
) -> Event:
    """A report of updates that took `update_s` each, `wait_s` of it a wait for data."""
    values = {"throughput/update_s": update_s, "throughput/data_wait_s": wait_s}
    if stood_s:
        values["throughput/checkpoint_s"] = stood_s
    return event("report", time, attempt, images_seen=seen, values=values)


def killed_once() -> list[Event]:
    """A run of 200 images, an update of 10 a second: 70 were reported when a worker was killed."""
    return [
        event("driver_started", 105.0, 0, process_started=100.0),
        event("attempt_started", 112.0, process_started=108.0),
        event("stream_opened", 114.0, images_seen=0, global_batch=BATCH),
        event("first_update", 118.0, images_seen=10, seconds=4.0, data_wait_s=3.5),
        report(122.0, 50, update_s=1.6, wait_s=0.85),  # five updates, with the first one
        event("consumed", 122.0, start=0, stop=50),
        event("checkpoint", 123.5, images_seen=50),
        report(125.0, 70, wait_s=0.25, stood_s=1.0),
        event("worker_failed", 129.0, 0, rank=1),
        event("attempt_started", 135.0, 2, process_started=131.0),
        event("resumed", 136.0, 2, images_seen=50),
        event("stream_opened", 136.5, 2, images_seen=50),
        event("first_update", 138.0, 2, images_seen=60, seconds=1.5, data_wait_s=0.0),
        report(142.0, 100, 2),  # one of the four updates was done before
        report(152.0, 200, 2),
        event("attempt_finished", 155.0, 2, outcome="finished"),
        event("evaluation", 160.0, 2, images_seen=200, values={}),
        event("run_finished", 161.0, 2, images_seen=200, seconds=56.0),
    ]


SPENT = {
    "productive": 3.25 + 1.5 + 3.0 + 10.0,
    "replayed": 1.0,
    "checkpoint": 1.0 + 3.0,
    "data_wait": 0.75 + 0.5,
    "evaluation": 6.0,
    "start_up": 18.0 + 7.0,
    "detection": 6.0,
    "idle": 0.0,
}
