"""The course that a run took, in the terms of the simulation: to predict what has happened."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from system.observe.goodput.costs import Costs
from system.telemetry.goodput import account
from system.telemetry.ledger import Event


@dataclass(frozen=True, slots=True)
class Course:
    """What was to be trained, how often it was saved, and when it was disturbed."""

    training_s: float  # of all images once, with the wait for their data
    interval_s: float  # of training between two saves
    interval_images: int
    lost_images: tuple[int, ...]  # that each lost attempt was known to have trained on
    announced: tuple[int, ...] = ()  # numbers of those that saved before their end

    def lives_s(self, costs: Costs) -> list[float]:
        """How long each lost life lasts at the run's mean pace: a start, its images, its saves.

        Images and not seconds say where a failure came: on a machine whose pace varies, the same
        second may lie before a save or behind it.
        """
        lives = []
        for number, images in enumerate(self.lost_images):
            trained_s = images * self.interval_s / self.interval_images
            saves = math.floor(trained_s / self.interval_s)
            start_s = costs.start_up_s if number else costs.launch_s
            lives.append(start_s + trained_s + saves * costs.stall_s)
        return lives


def course(events: Sequence[Event]) -> Course | None:
    """The course of a run from its events; None where it saved less than twice in an attempt."""
    spent = account(events)
    interval_images = _interval_images(events)
    reached = _images_by_attempt(events, "report")
    images = max(reached.values(), default=0)
    if not (interval_images and images and spent.seconds("productive")):
        return None
    parts = spent.parts_us()
    waited = parts["data_wait"] / (parts["productive"] + parts["replayed"] + parts["data_wait"])
    training_s = spent.seconds("productive") / (1 - waited)
    begun = _images_by_attempt(events, "resumed")
    lost = [n for n in spent.attempts if spent.parts_us(n)["detection"]]
    saved = _images_by_attempt(events, "standing_by")
    return Course(
        training_s,
        training_s * interval_images / images,
        interval_images,
        tuple(max(0, reached.get(n, 0) - begun.get(n, 0)) for n in lost),
        tuple(number for number, n in enumerate(lost) if n in saved),
    )


def _images_by_attempt(events: Sequence[Event], kind: str) -> dict[int, int]:
    """The most images seen that each attempt told of in events of a kind."""
    found: dict[int, int] = {}
    for event in events:
        if event["kind"] == kind:
            found[event["attempt"]] = max(found.get(event["attempt"], 0), event["images_seen"])
    return found


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
