r"""Take over weights of another code base: a checkpoint of ours out of theirs, exactly.

    python jobs/import_weights.py format=ml_tarflow source=imagenet64.pth channels=3 noise=0.05 \
        out=imported/tarflow_64
    python jobs/import_weights.py format=autoencoder_kl source=sd-vae-ft-ema out=imported/sd_vae
    python jobs/import_weights.py format=ml_starflow source=starflow.pth channels=4 \
        use_softplus=true soft_clip=4 seq_order=L2R autoencoder=sd-vae-ft-ema noise=0.3 \
        out=imported/starflow_256
    python jobs/import_weights.py format=hub source=released/digits out=imported/digits

Reads apple/ml-tarflow, apple/ml-starflow (unconditional, or one class), diffusers' AutoencoderKL,
and what jobs/export_weights.py released. A tensor that is unknown, missing or misshapen is an
error, and all of them are listed. `out` can be drawn from (jobs/sample.py), measured
(jobs/evaluate.py, with an `out` of its own) and started from (flow.weights=, autoencoder.weights=).
One core, as long as reading and writing the file takes.
"""

from system.foundation.config import Resolved
from system.interop.requests import Import
from system.interop.requests import import_weights
from system.launch.command import command


def main(resolved: Resolved[Import]) -> None:
    """Read, write, and say what it is."""
    print("\n".join(import_weights(resolved.recipe)))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Import)
