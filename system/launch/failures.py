"""What happens when workers fail: named in the ledger, decided by cause, done by Ray.

Ray (2.60) restarts the workers after any error as often as it is told, and looks at none. So it is
told to go on for ever, and `FailureWatch`, which sees every error first, ends the run by raising
where `retry_policy` says so. What else a decision asks for reaches its place by two ways:
`Placement` waits and leaves nodes out when the next workers are placed; the workers themselves
read a smaller micro-batch in the ledger.
"""

import logging
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

from ray.train import UserCallback

from system.foundation.errors import ClusterError
from system.foundation.errors import DataError
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError
from system.foundation.recipe import Recipe
from system.launch.causes import Cause
from system.launch.causes import cause_of
from system.launch.causes import causes
from system.launch.causes import disk_full
from system.launch.causes import first_cause
from system.launch.causes import stated
from system.launch.causes import summary
from system.launch.placement import Placement
from system.launch.retry_policy import Decision
from system.launch.retry_policy import Failure
from system.launch.retry_policy import Room
from system.launch.retry_policy import decide
from system.launch.retry_policy import smaller_micro_batch
from system.telemetry.ledger import Event
from system.telemetry.ledger import Ledger

POSITION = "position_in_run"

log = logging.getLogger(__name__)


class PoisonBatch(DataError):
    """An update that fails every time it is tried. The message names its position."""


class GivenUp(TrainingSystemError):
    """The workers failed more often than a run may. The message has the last error."""


def stamp(error: BaseException, images_seen: int, *, began: int) -> None:
    """Give a worker's error the position at which it came; it crosses to the controller with it.

    `began` is where the attempt took the run up.
    """
    setattr(error, POSITION, (images_seen, images_seen > began))


def position_of(error: BaseException) -> tuple[int, bool] | None:
    """What `stamp` said: the images seen, and whether the attempt had made an update before."""
    return next((at for each in causes(error) if (at := getattr(each, POSITION, None))), None)


@contextmanager
def legible_failures(run_url: str) -> Iterator[None]:
    """A full disk, wherever it was met, as one message without a traceback."""
    try:
        yield
    except Exception as error:  # whatever wraps it
        if (full := disk_full(error, run_url)) is None:
            raise
        raise full from error


def decided_micro_batch(events: Iterable[Event]) -> int | None:
    """The smaller micro-batch that was decided on since the run's driver started."""
    found: int | None = None
    for event in events:
        if event["kind"] == "driver_started":
            found = None
        elif event["kind"] == "failure_decided":
            found = event.get("micro_batch") or found
    return found


def with_micro_batch(recipe: Recipe, micro_batch: int | None) -> Recipe:
    """The recipe with passes of at most so many images, where that many were decided on."""
    if micro_batch is None or micro_batch >= (
        recipe.cluster.micro_batch or recipe.run.global_batch
    ):
        return recipe
    cluster = recipe.cluster.model_copy(update={"micro_batch": micro_batch})
    return recipe.model_copy(update={"cluster": cluster})


class FailureWatch(UserCallback):
    """Runs beside Ray's controller, and sees every error of a worker before Ray does.

    It remembers what has failed for as long as the driver lives.
    """

    def __init__(self, run_url: str, recipe: Recipe, placement: Placement) -> None:
        self._run_url = run_url
        self._recipe = recipe
        self._placement = placement
        self._failures: list[Failure] = []
        self._saved = False
        self._untold: list[dict[str, Any]] = []

    def after_report(self, run_context: Any, metrics: Any, checkpoint: Any) -> None:
        """A checkpoint is committed: failures before it count no more."""
        self._saved = self._saved or checkpoint is not None

    def after_exception(
        self, run_context: Any, worker_exceptions: Mapping[int, BaseException]
    ) -> None:
        """Write each failure down and decide; raise what ends the run."""
        failure = self._failure(worker_exceptions)
        self._failures.append(failure)
        decision = decide(self._failures, self._room())
        self._note(worker_exceptions, failure, decision)
        if decision.action == "stop":
            raise self._end(decision, worker_exceptions)
        self._placement.obey(decision)
        if decision.micro_batch is not None:
            self._recipe = with_micro_batch(self._recipe, decision.micro_batch)

    def _failure(self, errors: Mapping[int, BaseException]) -> Failure:
        cause, ranks = first_cause(errors)
        # A process that has died says nothing; those that waited for it know where they were.
        by_rank = {rank: position_of(errors[rank]) for rank in [*ranks, *sorted(errors)]}
        images_seen, has_moved = next((at for at in by_rank.values() if at), (None, False))
        saved, self._saved = self._saved, False
        nodes = {self._placement.nodes[rank] for rank in ranks if rank in self._placement.nodes}
        return Failure(cause, images_seen, has_moved, tuple(sorted(nodes)), saved)

    def _room(self) -> Room:
        run, cluster = self._recipe.run, self._recipe.cluster
        workers = len(self._placement.nodes) or cluster.workers
        smaller = smaller_micro_batch(run.global_batch // workers, cluster.micro_batch)
        return Room(cluster.max_failures, smaller, self._placement.spare())

    def _end(self, decision: Decision, errors: Mapping[int, BaseException]) -> TrainingSystemError:
        """What the run ends with."""
        if decision.position is not None:
            return PoisonBatch(self._poison(decision.position, errors))
        _, ranks = first_cause(errors)
        error = errors[ranks[0]]
        cause = cause_of(error)
        if cause is Cause.OUT_OF_MEMORY:
            return ClusterError(
                f"{decision.reason} ({summary(error).splitlines()[-1]}). Set cluster.micro_batch "
                "lower, flow.checkpoint_activations=true or a higher engine.zero_stage, or take "
                "devices with more memory. The same command goes on from the newest checkpoint."
            )
        known = disk_full(error, self._run_url) or stated(error)
        return known or GivenUp(
            f"the workers are not started again: {decision.reason} (cluster.max_failures allows "
            f"{self._recipe.cluster.max_failures}). The last error, of worker {ranks[0]}: "
            f"{summary(error)}\nThe same command goes on from the newest checkpoint."
        )

    def _poison(self, position: int, errors: Mapping[int, BaseException]) -> str:
        _, ranks = first_cause(errors)
        last = position + self._recipe.run.global_batch - 1
        return (
            f"the update after {position:,} images fails every time it is tried, and "
            f"cluster.max_failures={self._recipe.cluster.max_failures} allows no further restart: "
            f"{summary(errors[ranks[0]])}\nIts samples are at positions {position:,} to {last:,}; "
            "`python jobs/verify_shards.py` tells whether their shards are sound. Repair what is "
            "wrong, and the same command goes on from the newest checkpoint."
        )

    def _note(
        self, errors: Mapping[int, BaseException], failure: Failure, decision: Decision
    ) -> None:
        for rank, error in sorted(errors.items()):
            at = position_of(error)
            self._untold.append(
                {
                    "kind": "worker_failed",
                    "rank": rank,
                    "error": summary(error),
                    "cause": str(cause_of(error)),
                    "node": self._placement.nodes.get(rank),
                    **({"images_seen": at[0]} if at else {}),
                }
            )
        known = {
            name: value
            for name in ("wait_s", "micro_batch", "without_node", "position")
            if (value := getattr(decision, name))
        }
        self._untold.append(
            {
                "kind": "failure_decided",
                "cause": str(failure.cause),
                "action": decision.action,
                "reason": decision.reason,
                **known,
            }
        )
        self._tell()

    def _tell(self) -> None:
        """A ledger that cannot be written must not end the run: what it lacks comes next time."""
        try:
            with Ledger(self._run_url, "controller", run=self._recipe.run.name) as ledger:
                for event in self._untold:
                    ledger.write(**event)
        except (OSError, StorageError) as error:
            log.warning("the ledger of %s lacks failures: %s", self._run_url, error)
        else:
            self._untold = []
