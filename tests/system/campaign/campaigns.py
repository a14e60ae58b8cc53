"""Campaigns of a few numbers, and a ledger in memory whose jobs end as a test says."""

from collections.abc import Callable
from typing import Any

from system.campaign.decisions import next_decision
from system.campaign.ledger import Began
from system.campaign.ledger import Decision
from system.campaign.ledger import Ended
from system.campaign.ledger import Event
from system.campaign.ledger import Observed
from system.campaign.settings import Campaign
from system.campaign.standing import Job
from system.campaign.standing import Standing
from system.foundation.config import record_from_mapping

NAME = "sweep"
SPREAD = "autoencoder.posterior.std"
RATE = "engine.optimiser.learning_rate"


def campaign(**changes: Any) -> Campaign:
    """Six trials on three rungs, of which a third goes on; sections merged with what is said."""
    values: dict[str, Any] = {
        "name": NAME,
        "root": "runs",
        "recipe": "configs/simflow_digits.yaml",
        "overlays": ["configs/smoke.yaml"],
        "objective": {"metric": "loss/nll_nats"},
        "space": {
            SPREAD: {"choices": [0.3, 0.5, 0.7]},
            RATE: {"choices": [1e-4, 1e-3]},
        },
        "rungs": [100, 200, 400],
        "keep": 0.34,
        "limits": {"trials": 6},
    }
    for key, value in changes.items():
        is_merged = isinstance(value, dict) and key in values and key != "space"
        values[key] = values[key] | value if is_merged else value
    return record_from_mapping(values, Campaign)


class Told:
    """A campaign's events in memory; every decision that follows is written at once."""

    def __init__(self, made: Campaign, *, gpus_per_job: float = 1.0, time: float = 0.0) -> None:
        self.events: list[Event] = [
            Began(
                time=time, campaign=made.model_dump(mode="json"), digest=made.digest,
                recipe="r", gpus_per_job=gpus_per_job,
            )
        ]  # fmt: skip
        self.time = time
        self.checks: list[Callable[[Standing, Decision], None]] = []

    @property
    def standing(self) -> Standing:
        return Standing(self.events)

    def add(self, event: Event) -> list[Decision]:
        """Write an event, and all decisions that follow from it."""
        self.events.append(event)
        made: list[Decision] = []
        while (decision := next_decision(self.events)) is not None:
            for check in self.checks:
                check(Standing(self.events), decision)
            self.events.append(decision)
            made.append(decision)
            assert len(made) < 200, "decisions have no end"
        return made

    def observe(
        self, *ended: Ended, capacity: int | None = 2, seconds: float = 10.0
    ) -> list[Decision]:
        """See so many seconds later that these have ended."""
        self.time += seconds
        return self.add(Observed(time=self.time, capacity=capacity, ended=ended))

    def run_out(self, value: Callable[[Job], float | None], capacity: int | None = 2) -> None:
        """Let every job end well, with a value, until nothing is started any more."""
        self.observe(capacity=capacity)
        for _ in range(200):
            jobs = self.standing.open_jobs
            if not jobs:
                return
            self.observe(*(done(job, value(job)) for job in jobs), capacity=capacity)
        raise AssertionError("the campaign has no end")


def done(job: Job, value: float | None, *, seconds: float = 10.0) -> Ended:
    """A job that came to its rung."""
    return Ended(job=job.name, exit_code=0, seconds=seconds, images_seen=job.images, value=value)


def failed(job: Job, code: int | None, *, images_seen: int = 0, seconds: float = 5.0) -> Ended:
    """A job that did not."""
    return Ended(
        job=job.name, exit_code=code, seconds=seconds, images_seen=images_seen, value=None,
        message="its last words",
    )  # fmt: skip
