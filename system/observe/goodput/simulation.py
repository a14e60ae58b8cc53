"""A run that fails and is restarted, by events: many trials at once, from one failure to the next.

The same rules as the system: a save stops the loop for a moment and is uploaded while training goes
on; a failure costs what was trained since the newest checkpoint that was committed, the time until
it is noticed, and a start; a start may fail itself. Between two events nothing is left to chance,
so each life is a few lines of arithmetic on all trials together.
"""

from collections.abc import Callable
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from system.foundation.philox import generator
from system.observe.goodput.costs import Costs
from system.observe.goodput.interval import cycle_s

Seconds = Float[np.ndarray, "trials"]
# How long each trial's n-th life would last, from the start of its first process, undisturbed by
# its end: infinite where nothing fails any more.
Lives = Callable[[int], Seconds]


@dataclass(frozen=True, slots=True)
class Trials:
    """Where the time went in every trial, in seconds; the parts sum to the wall time."""

    productive: Seconds
    replayed: Seconds
    checkpoint: Seconds
    data_wait: Seconds
    evaluation: Seconds
    start_up: Seconds
    detection: Seconds
    failures: Seconds

    @property
    def wall(self) -> Seconds:
        """From the start of the first process to the end."""
        return (
            self.productive
            + self.replayed
            + self.checkpoint
            + self.data_wait
            + self.evaluation
            + self.start_up
            + self.detection
        )

    @property
    def goodput(self) -> Seconds:
        """Share of the wall time that was productive."""
        return self.productive / self.wall


def random_lives(seed: int, stream: str, trials: int, mean_s: float) -> Lives:
    """Failures that come at random: a life's length as a function of seed, stream and number."""
    return lambda number: mean_s * generator(seed, stream, number).exponential(size=trials)


def known_lives(*lengths_s: float) -> Lives:
    """One trial whose first lives last as long as is said; the one after them is not disturbed."""
    return lambda number: np.array([lengths_s[number] if number < len(lengths_s) else np.inf])


def simulate(
    costs: Costs,
    interval_s: float,
    training_s: float,
    lives: Lives,
    *,
    announced: Collection[int] = (),
) -> Trials:
    """Run every trial until `training_s` seconds of training are kept, saving every `interval_s`.

    Training time includes the wait for data, which is told apart at the end. The ends of lives with
    the numbers `announced` are saved for: nothing that these trained is lost.
    """
    cycle, stall = cycle_s(costs, interval_s), cycle_s(costs, interval_s) - interval_s
    length = lives(0)
    kept, trained, stood, started, failures = (np.zeros_like(length) for _ in range(5))
    going, number = np.ones(length.shape, dtype=bool), 0
    while going.any():
        length = np.where(going, lives(number), np.inf)
        start = costs.start_up_s if number else costs.launch_s
        left = training_s - kept
        saves = np.ceil(left / interval_s)
        needed = start + left + (saves - 1) * stall  # the last save is part of the closing
        failed = going & (length < needed)
        ended = going & ~failed
        up = np.maximum(np.where(failed, length, needed) - start, 0.0)
        cycles = np.floor(up / cycle)
        partly = np.minimum(cycles * interval_s + np.minimum(up - cycles * cycle, interval_s), left)
        done = np.where(ended, left, partly)
        committed = np.clip(np.floor((up - costs.upload_s) / cycle), 0, saves - 1) * interval_s
        saved = done if number in announced else committed
        kept = kept + going * np.where(ended, left, saved)
        trained = trained + going * done
        stood = stood + going * (up - done)
        started = started + going * np.where(failed, np.minimum(length, start), start)
        failures = failures + failed
        going, number = failed, number + 1
    waits = costs.data_wait_share
    return Trials(
        productive=kept * (1 - waits),
        replayed=(trained - kept) * (1 - waits),
        checkpoint=stood,
        data_wait=trained * waits,
        evaluation=np.full_like(kept, costs.closing_s),
        start_up=started,
        detection=failures * costs.detection_s,
        failures=failures,
    )
