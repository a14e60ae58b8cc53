"""Look at the latents of a run's newest checkpoint: smoothness, noise, and what lies between.

    python jobs/analyse_latents.py checkpoint=runs/digits shards=shards/digits

Prints spectral entropy, high-frequency ratio, total variation and autocorrelation of the
posterior's mean, and rFID and PSNR with noise of 0 to 1 added to it; writes
`eval/<images_seen>-latents.json` and `samples/<images_seen>-interpolation.png` into the run's
folder, or into `out`. One core, a few seconds for the digits.
"""

from system.evaluation.analysis import Analysis
from system.evaluation.analysis import analyse_to_table
from system.foundation.config import Resolved
from system.launch.command import command


def main(resolved: Resolved[Analysis]) -> None:
    """Analyse and print the table."""
    print(analyse_to_table(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Analysis)
