"""Where a campaign stands: its trials, runs and jobs, read from the events of its ledger."""

import json
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from functools import cached_property
from functools import lru_cache
from zoneinfo import ZoneInfo

from system.campaign.ledger import Began
from system.campaign.ledger import Closed
from system.campaign.ledger import Confirming
from system.campaign.ledger import Ended
from system.campaign.ledger import Event
from system.campaign.ledger import Exhausted
from system.campaign.ledger import GivenUp
from system.campaign.ledger import Killed
from system.campaign.ledger import Launched
from system.campaign.ledger import Observed
from system.campaign.ledger import Paused
from system.campaign.ledger import Promoted
from system.campaign.ledger import Proposed
from system.campaign.ledger import Resumed
from system.campaign.ledger import Stopped
from system.campaign.schedule import is_open
from system.campaign.settings import Campaign
from system.campaign.trial import Overrides
from system.foundation.config import record_from_mapping
from system.foundation.errors import ExitCode
from system.launch.causes import Cause
from system.launch.retry_policy import Failure

CAUSES = {
    ExitCode.BAD_INPUT: Cause.CONFIG,
    ExitCode.NUMERICS: Cause.NUMERICS,
    ExitCode.DATA: Cause.DATA,
    ExitCode.STORAGE: Cause.STORAGE,
    ExitCode.STALLED: Cause.STALLED,
    ExitCode.PREEMPTED: Cause.PREEMPTED,
}


@dataclass(slots=True)
class Job:
    """One job of a run."""

    name: str
    run: str
    rung: int
    images: int
    launched: float
    allowed_s: float | None
    began_at: int  # images seen
    paused: float | None = None  # when it was asked to save and end
    killed: bool = False
    ended: Ended | None = None


@dataclass(slots=True)
class TrialRun:
    """One run: that of a trial, or one that confirms it with another seed."""

    name: str
    trial: str
    seed: int | None = None
    rung: int = 0  # that it is on
    images_seen: int = 0
    jobs: list[Job] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    failed: float | None = None  # when its last job failed, if nothing came after
    message: str = ""
    values: dict[int, Ended] = field(default_factory=dict)  # by rung
    given_up: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has its value at the rung that it is on."""
        return self.rung in self.values

    @property
    def is_open(self) -> bool:
        """Whether a job of it runs, or is to."""
        return bool(self.jobs) and self.jobs[-1].ended is None

    @property
    def is_waiting(self) -> bool:
        """Whether it is to get a job."""
        return not (self.is_open or self.is_done or self.given_up)


@dataclass(slots=True)
class Trial:
    """One point of the space."""

    digest: str
    number: int
    overrides: Overrides
    run: TrialRun


class Standing:
    """The whole of what the events say. Never changed from outside."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.began: Began | None = None
        self.now = 0.0
        self.capacity: int | None = None
        self.trials: dict[str, Trial] = {}
        self.runs: dict[str, TrialRun] = {}
        self.jobs: dict[str, Job] = {}
        self.rung = 0
        self.next_draw = 0
        self.exhausted = False
        self.stopped = False
        self.confirming: Confirming | None = None
        self.closed: Closed | None = None
        self.observations = 0
        for event in events:
            self._take(event)

    @cached_property
    def campaign(self) -> Campaign:
        """The campaign as it was begun, and amended."""
        assert self.began is not None, "a campaign that has not begun says nothing of itself"
        return _campaign(json.dumps(self.began.campaign))

    @property
    def open_jobs(self) -> list[Job]:
        """Jobs that run, or are to."""
        return [job for job in self.jobs.values() if job.ended is None]

    @property
    def given_up(self) -> list[TrialRun]:
        """Runs that are not tried again."""
        return [run for run in self.runs.values() if run.given_up]

    @property
    def on_rung(self) -> list[TrialRun]:
        """The runs of trials that have come to the present rung, and are not given up."""
        runs = [trial.run for trial in self.trials.values()]
        return [run for run in runs if run.rung == self.rung and not run.given_up]

    @property
    def is_in_window(self) -> bool:
        """Whether jobs may run now, by the schedule."""
        schedule = self.campaign.schedule
        return is_open(schedule.windows, ZoneInfo(schedule.time_zone), self.now)

    def spent_s(self, now: float) -> float:
        """GPU-seconds of all jobs, those that run among them, up to a time."""
        assert self.began is not None
        seconds = [
            job.ended.seconds if job.ended is not None else max(0.0, now - job.launched)
            for job in self.jobs.values()
        ]
        return sum(seconds) * self.began.gpus_per_job

    def ranked(self, runs: Sequence[TrialRun]) -> list[TrialRun]:
        """Runs with a value at the present rung, best first; of equals the earlier one."""
        sign = 1.0 if self.campaign.objective.direction == "min" else -1.0

        def place(run: TrialRun) -> tuple[float, int]:
            value = run.values[self.rung].value
            assert value is not None, "only a value makes a run done"
            return sign * value, self.trials[run.trial].number

        return sorted((run for run in runs if self.rung in run.values), key=place)

    def _take(self, event: Event) -> None:
        match event:
            case Began():
                self.began, self.now = event, max(self.now, event.time)
                self.__dict__.pop("campaign", None)
                self.closed = None
            case Observed():
                self._observe(event)
            case Stopped():
                self.stopped = True
            case Resumed():
                self.stopped = False
            case Proposed():
                self._propose(event)
            case Launched():
                self._launch(event)
            case Paused():
                self.jobs[event.job].paused = event.time
            case Killed():
                self.jobs[event.job].killed = True
            case Promoted():
                self.rung = event.rung
                for trial in event.kept:
                    self.trials[trial].run.rung = event.rung
                    self.trials[trial].run.failures.clear()
            case Confirming():
                self._confirm(event)
            case GivenUp():
                self.runs[event.run].given_up = event.reason
            case Exhausted():
                self.exhausted = True
            case Closed():
                self.closed = event

    def _observe(self, event: Observed) -> None:
        self.now, self.capacity = max(self.now, event.time), event.capacity
        self.observations += 1
        for ended in event.ended:
            self._end(ended)

    def _propose(self, event: Proposed) -> None:
        run = TrialRun(event.run, event.trial)
        trial = Trial(event.trial, len(self.trials), event.overrides, run)
        self.trials[event.trial], self.runs[event.run] = trial, run
        self.next_draw = event.draw + 1

    def _launch(self, event: Launched) -> None:
        run = self.runs[event.run]
        job = Job(
            event.job, event.run, event.rung, event.images, event.time, event.allowed_s,
            began_at=run.images_seen,
        )  # fmt: skip
        self.jobs[event.job] = job
        run.jobs.append(job)
        run.failed = None

    def _confirm(self, event: Confirming) -> None:
        self.confirming = event
        last = len(self.campaign.rungs) - 1
        trials = {f"{self.campaign.name}-{trial}": trial for trial in event.trials}
        for name, seed in event.runs.items():
            trial = trials[name.removesuffix(f"-seed{seed}")]
            self.runs[name] = TrialRun(name, trial, seed, rung=last)

    def _end(self, ended: Ended) -> None:
        job = self.jobs.get(ended.job)
        if job is None or job.ended is not None:  # seen by two controllers at once
            return
        job.ended, run = ended, self.runs[job.run]
        has_moved = ended.images_seen > job.began_at
        run.images_seen, run.message = max(run.images_seen, ended.images_seen), ended.message
        if ended.images_seen >= job.images and ended.exit_code == ExitCode.DONE:
            if ended.value is not None:
                run.values[job.rung] = ended
            else:
                run.failures.append(Failure(Cause.DATA))  # it would have none the next time too
                run.message = "its end was not measured: " + (ended.message or "no value")
                run.failed = self.now
            return
        run.failed = self.now
        run.failures.append(Failure(cause_of_end(job, ended), saved=has_moved))


@lru_cache(maxsize=8)
def _campaign(text: str) -> Campaign:
    """Checking it takes longer than all else that a decision needs."""
    return record_from_mapping(json.loads(text), Campaign)


def cause_of_end(job: Job, ended: Ended) -> Cause:
    """Why a job ended before its time.

    One that pauses by itself, again and again without a new checkpoint, counts as failing.
    """
    if job.paused is not None:
        return Cause.PREEMPTED
    code = ended.exit_code
    if code is None or code < 0 or code == ExitCode.INTERRUPTED:
        return Cause.LOST
    cause = CAUSES.get(ExitCode(code), Cause.UNKNOWN) if code in set(ExitCode) else Cause.UNKNOWN
    is_idle = cause is Cause.PREEMPTED and ended.images_seen <= job.began_at
    return Cause.STALLED if is_idle else cause
