r"""Train SimFlow at 512 pixels: the model of jobs/simflow_256.py on four times as many tokens.

    ray job submit --working-dir . -- python jobs/simflow_512.py configs/variants/repa_e.yaml \
        run.root=s3://bucket/runs data.shards=s3://bucket/imagenet \
        objective.perceptual.trunk=/models/vgg16-397923af.pth \
        objective.alignment.teacher.weights=/models/dinov2_vitb14_pretrain.pth

Published with that overlay: gFID 2.74, IS 304.9; neither batch nor epochs nor hardware are. 1.41
billion parameters. A small form on bundled photographs takes seconds: configs/small/joint.yaml.
Everything it does is in configs/simflow_512.yaml. Three hops to the loop: this file,
system/launch/worker.py, system/train/loop.py.
"""

from system.launch.command import command
from system.launch.driver import drive

if __name__ == "__main__":
    command(drive, "configs/simflow_512.yaml", about=__doc__)
