r"""Train TARFlow on ImageNet at 64 pixels, class-conditional: patches of 2, eight blocks.

    python jobs/pack_imagenet.py source.url=/data/imagenet/train \
        store.kind=square store.size=64 out=shards/imagenet_64
    ray job submit --working-dir . -- python jobs/tarflow_64.py \
        run.root=s3://bucket/runs data.shards=s3://bucket/imagenet_64

Eight GPUs; 466 million parameters. Published after 200 epochs: FID 2.90 (guidance 2.3, denoised).
A small form on bundled photographs takes seconds: add configs/small/pixels.yaml. Everything it does
is in configs/tarflow_64.yaml. Three hops to the loop: this file, system/launch/worker.py,
system/train/loop.py.
"""

from system.launch.command import command
from system.launch.driver import drive

if __name__ == "__main__":
    command(drive, "configs/tarflow_64.yaml", about=__doc__)
