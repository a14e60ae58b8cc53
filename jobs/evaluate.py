"""Measure a run's newest checkpoint: gFID, reconstruction, density, each with its protocol.

    python jobs/evaluate.py checkpoint=runs/digits shards=shards/digits
    python jobs/evaluate.py checkpoint=runs/digits guidance=2 out=guidance-2
    python jobs/evaluate.py checkpoint=runs/digits guidance_rule=product denoise=1 out=product

Prints a table and writes `eval/<images_seen>-digits.json` and `samples/<images_seen>.png` into the
run's folder, or into `out`. The run does this by itself for its checkpoints; this command is for
settings and data of your own. One core, about twenty seconds for the digits.
"""

from system.evaluation.requests import Scoring
from system.evaluation.requests import evaluate_to_table
from system.foundation.config import Resolved
from system.launch.command import command


def main(resolved: Resolved[Scoring]) -> None:
    """Evaluate and print the table."""
    print(evaluate_to_table(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Scoring)
