"""Evaluation as Ray runs it beside training: a small task that watches over the one that measures.

The outer task is what a `ray.train.ValidationConfig` calls. It needs no CPU and no torch, and has
the checkpoint measured by a second task in a process of its own, which ends with it: what a failed
evaluation leaves in memory, or on a GPU, is gone before the next. The outer one sees that process
die, run out of memory or out of time, writes it down, and returns. So Ray's controller, which would
end the run where a validation task is lost for good (2.60), never hears of it.

With `crews/ray_crew` it alone knows Ray here.
"""

import logging
import time
from collections.abc import Callable
from typing import Any
from typing import Literal

import ray
from ray.exceptions import GetTimeoutError
from ray.exceptions import RayError
from ray.exceptions import RayTaskError
from ray.exceptions import TaskCancelledError
from ray.train import Checkpoint

from system.evaluation.lag import images_seen_of
from system.evaluation.lag import superseded_by
from system.foundation.config import recipe_from_mapping
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger

SCHEMES = {"s3": "s3://", "gcs": "gs://", "abfs": "abfs://", "hdfs": "hdfs://"}
TRIES = 3  # of a process that is lost; finished units of work are found again
# What Ray waits beyond the time-out that is kept here: a net for a watcher that hangs itself.
GRACE_S = 120.0

log = logging.getLogger(__name__)


class GivenUp(Exception):
    """Why no outcome of an evaluation will come any more."""


def evaluate_reported(
    checkpoint: Checkpoint,
    *,
    output: str,
    recipe: dict[str, Any],
    attempt: int = 0,
    device: Literal["cpu", "cuda"] = "cpu",
) -> dict[str, float]:
    """Have a checkpoint evaluated that training has committed; the outcome is in the run's ledger.

    `output` is the run's folder, `recipe` the run's recipe as plain values. Returns each number by
    name, nothing where the evaluation failed, or was left out as too many newer ones wait.
    """
    url, settings = url_of(checkpoint), recipe_from_mapping(recipe)
    measuring, images_seen = settings.evaluation, images_seen_of(url)
    assert not isinstance(measuring, NoEvaluation), "nobody asks for an evaluation then"
    writer = f"evaluation-{images_seen:012d}-{attempt}-watch"
    task = ray.remote(max_calls=1, max_retries=0)(_measure).options(**_needs(settings))
    with Ledger(output, writer, run=settings.run.name, attempt=attempt) as ledger:
        behind = superseded_by(read_ledger(output), images_seen, measuring.waiting)
        if behind is not None:
            reason = f"{behind} newer checkpoints wait for theirs"
            ledger.write("evaluation_dropped", images_seen=images_seen, reason=reason)
            return {}
        try:
            return watched(
                lambda: task.remote(url, output, recipe, attempt, device), measuring.timeout_s
            )
        except GivenUp as given_up:
            error = f"given up: {given_up}"
            ledger.write("evaluation_failed", images_seen=images_seen, checkpoint=url, error=error)
            return {}


def watched(start: Callable[[], Any], timeout_s: float) -> dict[str, float]:
    """What the task that `start` starts returns, tried again where its process is lost.

    Raises GivenUp where it was lost TRIES times, raised, or has not returned in time.
    """
    until = time.monotonic() + timeout_s
    for number in range(1, TRIES + 1):
        answer = start()
        try:
            values: dict[str, float] = ray.get(answer, timeout=max(until - time.monotonic(), 0))
            return values
        except GetTimeoutError:
            ray.cancel(answer, force=True)
            raise GivenUp(f"it took longer than evaluation.timeout_s={timeout_s:g}") from None
        except TaskCancelledError:  # the run ends, and the next one asks for it again
            raise
        except RayTaskError as error:
            raise GivenUp(f"{type(error.cause).__name__}: {error.cause}") from error
        except RayError as error:
            lost = f"{type(error).__name__}: {error}"
            log.warning("the process of an evaluation was lost, %d of %d: %s", number, TRIES, lost)
    raise GivenUp(f"its process was lost {TRIES} times, at last by {lost}")


def _measure(
    url: str, output: str, recipe: dict[str, Any], attempt: int, device: Literal["cpu", "cuda"]
) -> dict[str, float]:
    from system.evaluation.outcome import evaluate_on_record  # with torch, which the watcher spares

    settings = recipe_from_mapping(recipe)
    return evaluate_on_record(url, settings, output=output, attempt=attempt, device=device)


def _needs(recipe: Recipe) -> dict[str, Any]:
    return {
        "num_cpus": recipe.cluster.evaluation_cpus,
        "num_gpus": recipe.cluster.evaluation_gpus,
        "label_selector": recipe.cluster.evaluation_labels or None,
    }


def url_of(checkpoint: Checkpoint) -> str:
    """The url of a checkpoint's folder, as our storage reads it."""
    kind = checkpoint.filesystem.type_name if checkpoint.filesystem is not None else "local"
    return SCHEMES.get(kind, "") + checkpoint.path
