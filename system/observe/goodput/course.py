"""The course that a run took, in the terms of the simulation: to predict what has happened."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from system.observe.goodput.costs import restarts
from system.telemetry.goodput import account
from system.telemetry.ledger import Event


@dataclass(frozen=True, slots=True)
class Course:
    """What was to be trained, how often it was saved, and when it was disturbed."""

    training_s: float  # of all images once, with the wait for their data
    interval_s: float  # of training between two saves
    interval_images: int
    lives_s: tuple[float, ...]  # from the first process of a life to its last sign; of lost ones


def course(events: Sequence[Event]) -> Course | None:
    """The course of a run from its events; None where it saved less than twice in an attempt."""
    spent = account(events)
    interval_images = _interval_images(events)
    images = max((e["images_seen"] for e in events if e["kind"] == "report"), default=0)
    if not (interval_images and images and spent.seconds("productive")):
        return None
    parts = spent.parts_us()
    waited = parts["data_wait"] / (parts["productive"] + parts["replayed"] + parts["data_wait"])
    training_s = spent.seconds("productive") / (1 - waited)
    follows = restarts(spent)
    launched = spent.seconds("start_up") - sum(spent.seconds("start_up", n) for n in follows)
    lives = []
    for attempt in spent.attempts:
        own = spent.parts_us(attempt)
        if own["detection"]:
            trained = sum(own[c] for c in ("productive", "replayed", "data_wait", "checkpoint"))
            start_up = spent.seconds("start_up", attempt) if attempt in follows else launched
            lives.append(start_up + trained / 1e6)
    interval_s = training_s * interval_images / images
    return Course(training_s, interval_s, interval_images, tuple(lives))


def _interval_images(events: Sequence[Event]) -> int:
    """Images between two saves of one attempt: the most common distance; 0 where none is known."""
    saves: dict[int, set[int]] = {}
    for event in events:
        if event["kind"] == "checkpoint":
            saves.setdefault(event["attempt"], set()).add(event["images_seen"])
    distances: Counter[int] = Counter()
    for each in map(sorted, saves.values()):
        distances.update(other - one for one, other in pairwise(each))
    return max(distances, key=lambda d: (distances[d], d), default=0)
