"""Probe what a run's features know of classes: a linear classifier on any block and layer.

    python jobs/probe.py checkpoint=runs/digits
    python jobs/probe.py checkpoint=runs/digits places=[[-1,2],[0,1]] latent=draw out=probed
    python jobs/probe.py checkpoint=runs/digits classifier.kind=sgd out=as_mae

Prints for each place held-out accuracy (top-1, and top-5 where there are more than five classes)
and the penalty (or the rate and length) that was chosen on training images; then the same of fresh
weights, which is what training started from. Writes `eval/<images_seen>-probe.json` into the run's
folder, or into `out`. The flow is frozen and not told any image's class. One core, about half a
minute for the digits. The training features are held in memory: 8 bytes times images, width and
places.
"""

from system.evaluation.probes import Probing
from system.evaluation.probes import probe_to_table
from system.foundation.config import Resolved
from system.launch.command import command


def main(resolved: Resolved[Probing]) -> None:
    """Probe and print the table."""
    print(probe_to_table(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Probing)
