"""One committed checkpoint evaluated for a run's ledger: its numbers, or why there are none.

This is what a task of `task.py` does in its process. It knows no Ray but through its crew.
"""

import traceback

from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew
from system.evaluation.crews.ray_crew import RayCrew
from system.evaluation.evaluator import evaluate
from system.evaluation.evaluator import grid_place
from system.evaluation.lag import ENDS
from system.evaluation.lag import images_seen_of
from system.evaluation.studio import Device
from system.foundation.recipe import Recipe
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger


def evaluate_on_record(
    url: str, recipe: Recipe, *, output: str, attempt: int = 0, device: Device = "cpu"
) -> dict[str, float]:
    """Evaluate the checkpoint at `url`, and write the outcome to the ledger of the run `output`.

    Returns each number by name. A failed evaluation is an event in the ledger and returns nothing.
    What has come to its end before (in a process that died on its way out) is left at that.
    """
    images_seen = images_seen_of(url)
    writer = f"evaluation-{images_seen:012d}-{attempt}"
    with Ledger(output, writer, run=recipe.run.name, attempt=attempt) as ledger:
        try:
            if (ended := _ended(output, url, attempt)) is not None:
                return ended
            values = evaluate(url, recipe, output=output, crew=_crew(recipe), device=device)
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
            protocol=recipe.evaluation.kind,
            values=values,
            samples=grid_place(output, images_seen),
        )
    return values


def _ended(output: str, url: str, attempt: int) -> dict[str, float] | None:
    """What this checkpoint was measured to be; nothing where that failed or was left out.

    What was given up under an earlier driver is measured if Ray asks for it under this one.
    """
    this, was_given_up = (images_seen_of(url), attempt), False
    for event in read_ledger(output):
        if event["kind"] == "evaluation" and event.get("checkpoint") == url:
            values: dict[str, float] = event["values"]
            return values
        if event["kind"] == "driver_started":
            was_given_up = False
        elif event["kind"] in ENDS and (event.get("images_seen"), event["attempt"]) == this:
            was_given_up = True
    return {} if was_given_up else None


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
