r"""Train STARFlow on ImageNet at 256 pixels: a deep and five shallow blocks on frozen latents.

    ray job submit --working-dir . -- python jobs/starflow_256.py \
        configs/variants/starflow_decoder.yaml autoencoder.weights=/models/sd-vae-ft-ema ...
    ray job submit --working-dir . -- python jobs/starflow_256.py \
        run.root=s3://bucket/runs data.shards=s3://bucket/imagenet \
        autoencoder.weights=s3://bucket/runs/starflow_256_decoder

The first fine-tunes the decoder on noisy latents (200k updates, eight GPUs); without it give the
autoencoder itself, a folder in diffusers' layout. Thirty-two H100, two weeks; 1.41 billion
parameters. Published after 400M images: FID 2.40, or 2.96 with one score step in its place.
A small form takes seconds: configs/small/frozen_latents.yaml says how. Three hops to the loop: this
file, system/launch/worker.py, system/train/loop.py.
"""

from system.launch.command import command
from system.launch.driver import drive

if __name__ == "__main__":
    command(drive, "configs/starflow_256.yaml", about=__doc__)
