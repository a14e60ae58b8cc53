"""Bits per dimension of every held-out image, one by one, under a run's newest checkpoint.

    python jobs/held_out_lengths.py checkpoint=runs/digits
    python jobs/held_out_lengths.py checkpoint=runs/tarflow_64_likelihood images=5000 device=cuda

Prints means with standard errors, the range, and the images of the longest codes; writes
`eval/<images_seen>-lengths.safetensors` (bits, rate, class of each image) into the run's folder, or
into `out`. Of a flow on pixels with uniform noise the rate bounds the bits of the 8-bit image; of
latents it does not, and the file says so. One core, a few seconds for the digits.
"""

from system.evaluation.held_out_lengths import Measuring
from system.evaluation.held_out_lengths import lengths_to_table
from system.foundation.config import Resolved
from system.launch.command import command


def main(resolved: Resolved[Measuring]) -> None:
    """Measure and print."""
    print(lengths_to_table(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Measuring)
