"""Measure a run's newest checkpoint, or samples of anyone's: each number with error and protocol.

    python jobs/evaluate.py checkpoint=runs/digits shards=shards/digits
    python jobs/evaluate.py checkpoint=runs/digits guidance=2 out=guidance-2
    python jobs/evaluate.py checkpoint=runs/simflow_256 kind=adm_50k out=measured workers=8 \\
        device=cuda reference=VIRTUAL_imagenet256_labeled.npz \\
        detector=pt_inception-2015-12-05-6726825d.pth
    python jobs/evaluate.py samples=theirs.npz kind=adm_50k out=theirs \\
        reference=VIRTUAL_imagenet256_labeled.npz detector=pt_inception-2015-12-05-6726825d.pth

Prints a table and writes `eval/<images_seen>-<kind>.json` and `samples/<images_seen>.png` into the
run's folder, or into `out`. A run does this by itself for its checkpoints; this command is for
settings, data and samples of your own. Images go through in units that stay until the result is
written, so the same command goes on where it was stopped; the result is the same bytes for any
`workers` and `batch`. Digits: one core, about half a minute.
"""

from system.evaluation.scoring import Scoring
from system.evaluation.scoring import evaluate_to_table
from system.foundation.config import Resolved
from system.launch.any_ray import any_ray
from system.launch.command import command


def main(resolved: Resolved[Scoring]) -> None:
    """Evaluate and print the table."""
    request = resolved.recipe
    gpus = request.workers if request.device == "cuda" else 0
    print(evaluate_to_table(request, lambda: any_ray(request.workers, gpus=gpus)))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Scoring)
