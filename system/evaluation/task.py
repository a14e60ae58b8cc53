"""Evaluation as Ray runs it beside training: one checkpoint in, numbers out, failures on record.

It is what a `ray.train.ValidationConfig` calls. With `work/ray_crew` it alone knows Ray here.
"""

import traceback
from typing import Any

from ray.train import Checkpoint

from system.evaluation.evaluator import evaluate
from system.evaluation.evaluator import grid_place
from system.evaluation.lag import superseded_by
from system.evaluation.studio import Device
from system.evaluation.work.crew import AloneCrew
from system.evaluation.work.crew import Crew
from system.evaluation.work.ray_crew import RayCrew
from system.foundation.config import recipe_from_mapping
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger

SCHEMES = {"s3": "s3://", "gcs": "gs://", "abfs": "abfs://", "hdfs": "hdfs://"}


def evaluate_reported(
    checkpoint: Checkpoint,
    *,
    output: str,
    recipe: dict[str, Any],
    attempt: int = 0,
    device: Device = "cpu",
) -> dict[str, float]:
    """Evaluate a checkpoint that training has committed, and write the outcome to the run's ledger.

    `output` is the run's folder, `recipe` the run's recipe as plain values. Returns each number by
    name. One that too many newer ones wait behind is left out, one that was measured before (by a
    task that died on its way out) is not measured again. A failed evaluation is an event in the
    ledger and returns nothing: it never raises, so that training goes on.
    """
    url = url_of(checkpoint)
    settings = recipe_from_mapping(recipe)
    images_seen = images_seen_of(url)
    writer = f"evaluation-{images_seen:012d}-{attempt}"
    with Ledger(output, writer, run=settings.run.name, attempt=attempt) as ledger:
        try:
            known, behind = _known(output, url, images_seen, settings)
            if known is not None:
                return known
            if behind is not None:
                reason = f"{behind} newer checkpoints wait for theirs"
                ledger.write("evaluation_dropped", images_seen=images_seen, reason=reason)
                return {}
            values = evaluate(url, settings, output=output, crew=_crew(settings), device=device)
        except Exception as error:  # the rim: whatever went wrong, training shall not hear of it
            ledger.write(
                "evaluation_failed",
                images_seen=images_seen,
                checkpoint=url,
                error=f"{type(error).__name__}: {error}",
                trace=traceback.format_exc(),
            )
            return {}
        ledger.write(
            "evaluation",
            images_seen=images_seen,
            checkpoint=url,
            protocol=settings.evaluation.kind,
            values=values,
            samples=grid_place(output, images_seen),
        )
    return values


def _known(
    output: str, url: str, images_seen: int, recipe: Recipe
) -> tuple[dict[str, float] | None, int | None]:
    """What this checkpoint was measured to be, and how many newer ones it would keep waiting."""
    settings = recipe.evaluation
    assert not isinstance(settings, NoEvaluation), "nobody asks for an evaluation then"
    events = read_ledger(output)
    for event in events:
        if event["kind"] == "evaluation" and event.get("checkpoint") == url:
            return event["values"], None
    return None, superseded_by(events, images_seen, settings.waiting)


def _crew(recipe: Recipe) -> Crew:
    cluster = recipe.cluster
    if not cluster.evaluation_workers:
        return AloneCrew()
    return RayCrew(
        workers=cluster.evaluation_workers,
        cpus=cluster.evaluation_cpus,
        gpus=cluster.evaluation_gpus,
        labels=cluster.evaluation_labels or None,
    )


def url_of(checkpoint: Checkpoint) -> str:
    """The url of a checkpoint's folder, as our storage reads it."""
    kind = checkpoint.filesystem.type_name if checkpoint.filesystem is not None else "local"
    return SCHEMES.get(kind, "") + checkpoint.path


def images_seen_of(checkpoint_url: str) -> int:
    """The images a checkpoint had seen, from its folder's name; 0 for a folder of another name."""
    name = checkpoint_url.rstrip("/").rpartition("/")[2]
    count = name.partition("-")[0]
    return int(count) if count.isdigit() else 0
