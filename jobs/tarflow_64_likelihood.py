r"""Train TARFlow's likelihood model of ImageNet at 64 pixels: unconditional, float32, dequantised.

    python jobs/pack_imagenet.py source.url=/data/imagenet/train \
        store.kind=square store.size=64 out=shards/imagenet_64
    ray job submit --working-dir . -- python jobs/tarflow_64_likelihood.py \
        run.root=s3://bucket/runs data.shards=s3://bucket/imagenet_64

Sixteen GPUs; 460 million parameters. Published after 100 epochs: below 3 bits per dimension, which
is (loss/nll_nats - loss/entropy_nats) / log 2 of a report. A small form on bundled photographs
takes seconds: add configs/small/pixels.yaml. Three hops to the loop: this file,
system/launch/worker.py, system/train/loop.py.
"""

from system.launch.command import command
from system.launch.driver import drive

if __name__ == "__main__":
    command(drive, "configs/tarflow_64_likelihood.yaml", about=__doc__)
