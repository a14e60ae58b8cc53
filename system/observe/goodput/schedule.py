"""A run whose disturbances are known beforehand: what the simulation makes of it before it runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace

from pydantic import Field

from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import Record
from system.observe.goodput.costs import Costs
from system.observe.goodput.simulation import Trials
from system.observe.goodput.simulation import known_lives
from system.observe.goodput.simulation import simulate

MINUTE_S = 60.0
# Halvings of the training that a run may come to. Its wall time grows by a stall at every save, so
# it is met to a stall and no better.
HALVINGS = 40


class Schedule(Record):
    """How long a run goes on, and when something ends its workers; all in minutes of its life."""

    minutes: PositiveFloat = Field(60.0, description="wall time of the run, from its first process")
    kills: tuple[PositiveFloat, ...] = Field((), description="when workers are killed unannounced")
    resizes: tuple[PositiveFloat, ...] = Field(
        (), description="when the number of workers changes, after a save"
    )
    interval_s: PositiveFloat = Field(30.0, description="seconds of training between two saves")


@dataclass(frozen=True, slots=True)
class Life:
    """What lies between two ends of a run's workers."""

    length_s: float
    is_announced: bool  # whether all that it trained is saved at its end


def lives(schedule: Schedule, detection_s: float) -> Iterator[Life]:
    """The lives that a schedule ends, in order: each begins when the end before it was noticed."""
    ends = [(at, False) for at in schedule.kills] + [(at, True) for at in schedule.resizes]
    begun = 0.0
    for at, is_announced in sorted(ends):
        if at < schedule.minutes:
            yield Life(max(0.0, at * MINUTE_S - begun), is_announced)
            begun = max(begun, at * MINUTE_S) + detection_s


def foreseen(schedule: Schedule, costs: Costs) -> Trials:
    """Where the time of such a run goes, as one trial.

    The run ends by the clock and not with its last image, so it closes nothing: of the images that
    it may come to, those are taken that make its wall time.
    """
    wall_s, costs = schedule.minutes * MINUTE_S, replace(costs, closing_s=0.0)
    known = list(lives(schedule, costs.detection_s))
    announced = [number for number, life in enumerate(known) if life.is_announced]
    lengths = known_lives(*(life.length_s for life in known))

    def trained(seconds: float) -> Trials:
        return simulate(costs, schedule.interval_s, seconds, lengths, announced=announced)

    least, most = 0.0, wall_s
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        least, most = (middle, most) if trained(middle).wall[0] < wall_s else (least, middle)
    return trained(most)
