r"""Compute once what the frozen networks of a recipe make of its images, for training to read.

    python jobs/precompute_features.py configs/latent_tarflow_256.yaml \
        data.features=s3://bucket/features/sd_vae
    python jobs/precompute_features.py configs/latent_tarflow_256.yaml configs/variants/rrepa.yaml \
        data.features=/data/features precompute.part=2/8 precompute.batch=128
    python jobs/latent_tarflow_256.py data.features=s3://bucket/features/sd_vae

A feature set has the encoder's moments where the recipe's route freezes the encoder, and the
tokens of its teacher where it has one; those of the mirrored images as well where `data.flip` is
true. It lies in WebDataset tars with the names, keys and order of the images' shards, one
`KEY.features.safetensors` a sample, with a manifest that `jobs/verify_shards.py` checks. Training
takes it where images, crop and weights are those it was computed of, and else says what differs.

One process for each device: give each a `precompute.part`. Shards that are done are skipped, so the
same command goes on after a crash; whoever finds all of them writes the manifest. Latents of 256 x
256 images take 0.08 TB for ImageNet (4 channels, spread learned, mirrored ones as well, float32),
tokens of a DINOv2-B teacher 1 TB (256 x 768, mirrored as well, float16).
"""

import sys

from system.foundation.config import Resolved
from system.launch.command import command
from system.train.precompute import Precompute
from system.train.precompute import precompute

SHOWN = "configs/latent_tarflow_256.yaml"  # where no recipe is given, for --help


def main(resolved: Resolved[Precompute]) -> None:
    """Compute, telling of each shard."""
    print(precompute(resolved.recipe, lambda line: print(line, flush=True)).summary())


if __name__ == "__main__":
    is_given = any(argument.endswith((".yaml", ".yml")) for argument in sys.argv[1:])
    command(main, None if is_given else SHOWN, about=__doc__, schema=Precompute)
