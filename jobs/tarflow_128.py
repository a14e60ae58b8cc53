r"""Train TARFlow on ImageNet at 128 pixels, class-conditional: patches of 4, noise 0.15.

    python jobs/pack_imagenet.py source.url=/data/imagenet/train \
        store.kind=square store.size=128 out=shards/imagenet_128
    ray job submit --working-dir . -- python jobs/tarflow_128.py \
        run.root=s3://bucket/runs data.shards=s3://bucket/imagenet_128

Thirty-two GPUs; 824 million parameters. Published after 320 epochs: FID 5.03. A small form on
bundled photographs takes seconds: add configs/small/pixels.yaml. Everything it does is in
configs/tarflow_128.yaml. Three hops to the loop: this file, system/launch/worker.py,
system/train/loop.py.
"""

from system.launch.command import command
from system.launch.driver import drive

if __name__ == "__main__":
    command(drive, "configs/tarflow_128.yaml", about=__doc__)
