"""Evaluation as Ray runs it beside training: one checkpoint in, numbers out, failures on record.

The only file of this room that knows Ray. It is what a `ray.train.ValidationConfig` calls.
"""

import traceback
from typing import Any

from ray.train import Checkpoint

from system.evaluation.evaluator import evaluate
from system.evaluation.evaluator import grid_place
from system.foundation.config import recipe_from_mapping
from system.telemetry.ledger import Ledger

SCHEMES = {"s3": "s3://", "gcs": "gs://", "abfs": "abfs://", "hdfs": "hdfs://"}


def evaluate_reported(
    checkpoint: Checkpoint,
    *,
    output: str,
    recipe: dict[str, Any],
    attempt: int = 0,
    threads: int = 1,
    device: str = "cpu",
) -> dict[str, float]:
    """Evaluate a checkpoint that training has committed, and write the outcome to the run's ledger.

    `output` is the run's folder, `recipe` the run's recipe as plain values. Returns each number by
    name. A failed evaluation is an event in the ledger and returns nothing: it never raises, so
    that training goes on.
    """
    url = url_of(checkpoint)
    settings = recipe_from_mapping(recipe)
    images_seen = images_seen_of(url)
    writer = f"evaluation-{images_seen:012d}-{attempt}"
    with Ledger(output, writer, run=settings.run.name, attempt=attempt) as ledger:
        try:
            values = evaluate(url, settings, output=output, threads=threads, device=device)
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
            protocol="digits",
            values=values,
            samples=grid_place(output, images_seen),
        )
    return values


def url_of(checkpoint: Checkpoint) -> str:
    """The url of a checkpoint's folder, as our storage reads it."""
    kind = checkpoint.filesystem.type_name if checkpoint.filesystem is not None else "local"
    return SCHEMES.get(kind, "") + checkpoint.path


def images_seen_of(checkpoint_url: str) -> int:
    """The images a checkpoint had seen, from its folder's name; 0 for a folder of another name."""
    name = checkpoint_url.rstrip("/").rpartition("/")[2]
    count = name.partition("-")[0]
    return int(count) if count.isdigit() else 0
