"""Find the guidance, temperature and averaging decay that a checkpoint draws best with.

    python jobs/sweep_sampling.py checkpoint=runs/digits "guidances=[0, 0.5, 1, 2]" \\
        "temperatures=[0.9, 1]"
    python jobs/sweep_sampling.py checkpoint=runs/simflow_256 kind=adm_50k workers=8 device=cuda \\
        "guidances=[0.5, 1, 1.5, 2]" "averaging_decays=[0.999, 0.9999]" out=swept \\
        reference=VIRTUAL_imagenet256_labeled.npz detector=pt_inception-2015-12-05-6726825d.pth

All cells draw with the same noise and labels, so the error of their differences is small. A cell
whose difference to the best is within 1.96 of these errors is tied with it. The best one is drawn
again with seeds that it was not chosen by, because the least of many numbers is too low.

Prints a table; writes `sweep/<images_seen>-<kind>.json` (every number with its protocol) and a
picture beside it into the run's folder, or into `out`. Finished images stay until the record is
written, so the same command goes on where it was stopped; the record is the same bytes for any
`workers` and `batch`. Digits: one core, about five seconds for each cell.
"""

import sys
from functools import partial

from system.evaluation.crews.any_crew import any_crew
from system.evaluation.measured import device_of
from system.evaluation.sweep import Sweeping
from system.evaluation.sweep import sweep_folder
from system.evaluation.sweep import sweep_samplers
from system.evaluation.sweep_record import sweep_table
from system.foundation.config import Resolved
from system.launch.any_ray import any_ray
from system.launch.command import command
from system.observe.sweep_picture import write_sweep_picture


def main(resolved: Resolved[Sweeping]) -> None:
    """Sweep, print the table, and say where the picture lies."""
    request = resolved.recipe
    gpus = request.workers if request.device == "cuda" else 0
    told = partial(print, file=sys.stderr, flush=True)
    cluster = partial(any_ray, request.workers, gpus=gpus)
    with any_crew(request.workers, device_of(request.device), cluster) as crew:
        sweep = sweep_samplers(request, crew, told)
    print(sweep_table(sweep))
    print(write_sweep_picture(sweep, sweep_folder(request)))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Sweeping)
