"""Draw images from a run's averaged weights: a grid to look at, and an npz to measure.

    python jobs/sample.py checkpoint=runs/digits out=drawn
    python jobs/sample.py checkpoint=runs/digits labels=3 count=50 guidance=2 out=threes
    python jobs/sample.py checkpoint=runs/digits labels=none guidance=0 denoise=1 out=any
    python jobs/sample.py checkpoint=runs/digits guidance_rule=linear guidance_blocks=all \\
        guidance_ramp=linear out=tarflow-style
    python jobs/sample.py checkpoint=runs/digits count=50000 labels=random workers=8 out=many
    RAY_ADDRESS=... python jobs/sample.py checkpoint=s3://bucket/run count=50000 workers=16 \\
        device=cuda batch=512 out=s3://bucket/drawn

`samples.png` shows the first hundred, ten in a row, sorted by class. `samples.npz` has the layout
that ADM's evaluator reads: `arr_0` uint8 N H W 3 (grey images as three equal channels), `arr_1` the
labels (-1 where none was asked for). `files=png` writes a PNG for each image instead. They are
drawn as in the run's own evaluation but for the keys that are given.

Image i is a function of the weights, its label and (seed, i). Any batch, any number of workers, any
interruption: the same bytes in the same files, on machines of one kind (elsewhere to rounding).
Drawn images are kept in `unfinished/` until all are there, so the same command goes on where it was
stopped. Each worker computes with one thread or one GPU. One core, about 2 ms per digit. With
`batches_in_flight=2` and more it has as many passes of a unit in the flow at once, each in another
block: the same bytes again (docs/performance/sample.md has what is known of its worth).
"""

from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.foundation.config import Resolved
from system.launch.any_ray import any_ray
from system.launch.command import command


def main(resolved: Resolved[Sampling]) -> None:
    """Draw, write, and say where."""
    request = resolved.recipe
    gpus = request.workers if request.device == "cuda" else 0
    places = sample_to_folder(request, cluster=lambda: any_ray(request.workers, gpus=gpus))
    print("\n".join(places))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Sampling)
