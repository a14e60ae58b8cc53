"""Draw images from a run's averaged weights: a grid to look at, and an npz to measure.

    python jobs/sample.py checkpoint=runs/digits out=drawn
    python jobs/sample.py checkpoint=runs/digits labels=3 count=50 guidance=2 out=threes
    python jobs/sample.py checkpoint=runs/digits labels=none guidance=0 denoise=1 out=any
    python jobs/sample.py checkpoint=runs/digits guidance_rule=linear guidance_blocks=all \\
        guidance_ramp=linear out=tarflow-style

`samples.png` shows the first hundred, ten in a row, sorted by class. `samples.npz` has the layout
that ADM's evaluator reads: `arr_0` uint8 N H W 3 (grey images as three equal channels), `arr_1` the
labels (-1 where none was asked for). They are drawn as in the run's own evaluation but for the keys
that are given. Image i is a function of the weights, its label and (seed, i): any batch, any
machine, the same pictures to rounding. One core, about 2 ms per digit.
"""

from system.evaluation.requests import Sampling
from system.evaluation.requests import sample_to_folder
from system.foundation.config import Resolved
from system.launch.command import command


def main(resolved: Resolved[Sampling]) -> None:
    """Draw, write, and say where."""
    print("\n".join(sample_to_folder(resolved.recipe)))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Sampling)
