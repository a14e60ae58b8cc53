"""Ask whether a run's model copies: drawn images beside the training images nearest to them.

    python jobs/nearest_neighbours.py checkpoint=runs/digits
    python jobs/nearest_neighbours.py detector=timm model=vit_tiny_patch16_224 \\
        weights=teachers/digits.safetensors
    python jobs/nearest_neighbours.py checkpoint=runs/simflow count=5000 detector=inception \\
        weights=pt_inception-2015-12-05-6726825d.pth device=cuda

Prints the share of drawn images that are nearer to a training image than 99 % of the held-out
images are (0.01 where nothing is copied), how often a drawn image is nearer than a held-out one
(0.5), and the share that is three times nearer to one training image than to any other. Writes
`eval/<images_seen>-nearest.json` and `samples/<images_seen>-nearest.png` (the closest pairs) into
the run's folder, or into `out`. One core, a few seconds for the digits.
"""

from system.evaluation.nearest import Neighbouring
from system.evaluation.nearest import nearest_to_table
from system.foundation.config import Resolved
from system.launch.command import command


def main(resolved: Resolved[Neighbouring]) -> None:
    """Measure and print the table."""
    print(nearest_to_table(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Neighbouring)
