r"""Train TARFlow at 64 pixels as R-REPA's ablations do: patches of 4, width 1024, averaged weights.

    python jobs/pack_imagenet.py source.url=/data/imagenet/train \
        store.kind=square store.size=64 out=shards/imagenet_64
    ray job submit --working-dir . -- python jobs/tarflow_64_rrepa.py configs/variants/rrepa.yaml \
        run.root=s3://bucket/runs data.shards=s3://bucket/imagenet_64 \
        objective.alignment.teacher.weights=/models/dinov2_vitb14_pretrain.pth

Without the overlay it is the baseline. Eight GPUs, 2.5 days for 400k updates; 818 million
parameters. Published after 1M updates: FID 4.21, sFID 5.34; aligned 3.69, 4.34. A small form on
bundled photographs takes seconds: add configs/small/pixels.yaml. Three hops to the loop: this file,
system/launch/worker.py, system/train/loop.py.
"""

from system.launch.command import command
from system.launch.driver import drive

if __name__ == "__main__":
    command(drive, "configs/tarflow_64_rrepa.yaml", about=__doc__)
