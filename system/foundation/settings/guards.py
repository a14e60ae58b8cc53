"""What counts as gone wrong (spikes, collapses, hangs), and what follows from it."""

from typing import Annotated
from typing import Literal

from pydantic import Field

from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight

Count = Annotated[int, Field(ge=0)]


class Spikes(Record):
    """Losses and gradient norms of single updates against the median of those before them.

    Nothing is judged during the learning rate's warm-up, nor before `least_updates` are known of an
    attempt (again, once a loss term joins in).
    """

    on_spike: Literal["roll_back", "ignore"] = Field(
        "roll_back",
        description="roll_back: go on from the last checkpoint before it, without its positions",
    )
    window_updates: PositiveInt = Field(256, description="updates that say what is normal")
    least_updates: PositiveInt = Field(64, description="updates known before any is judged")
    loss_deviations: PositiveFloat = Field(
        10.0,
        description="distance from the median loss, in robust standard deviations (1.48 times the "
        "median distance, at least 1 % of the median), past which an update is odd",
    )
    gradient_deviations: PositiveFloat = Field(
        10.0,
        description="the same of the gradient norm's logarithm (deviations of at least 0.1)",
    )
    odd_updates: PositiveInt = Field(3, description="odd updates in a row that are a spike")
    updates_before: Count = Field(
        1, description="updates before the first odd one that are left out with it"
    )
    max_rollbacks: Count = Field(
        5, description="times that a run may be taken back before it stops with exit code 3"
    )


class Collapse(Record):
    """Latents that say nothing of their images, and parts that no gradient reaches."""

    signal_to_noise: Weight = Field(
        0.02,
        description="spread of the posterior means over the images, over the posterior's own, "
        "below which a trained encoder says nothing; 0 looks for none",
    )
    reports: Count = Field(
        5,
        description="reports in a row, after the warm-up, that must find it so before the run "
        "stops with exit code 3; 0 looks for nothing",
    )


class Hangs(Record):
    """How long a worker may go without finishing an update before it ends itself, to be restarted.

    Each limit must exceed what is waited for elsewhere: data.stall_timeout_s, and the time-outs of
    collectives.
    """

    on_hang: Literal["restart", "ignore"] = Field(
        "restart",
        description="restart: write every thread's stack down, and end the worker with exit code "
        "70, which Ray answers with a restart",
    )
    least_s: PositiveFloat = Field(
        900.0, description="seconds without a finished update that are a hang at the earliest"
    )
    typical_updates: PositiveFloat = Field(
        50.0, description="the same in updates of typical length; the longer of the two counts"
    )
    start_s: PositiveFloat = Field(
        3600.0, description="seconds from the start of a worker's loop to its first update"
    )
    save_s: PositiveFloat = Field(
        3600.0, description="seconds of a save, and of what waits with it for evaluations"
    )


class Guards(Record):
    """What watches a run beside its own errors; `engine.max_skipped_updates` bounds the latter."""

    spikes: Spikes = Spikes()
    collapse: Collapse = Collapse()
    hangs: Hangs = Hangs()
