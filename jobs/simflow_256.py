r"""Train SimFlow at 256 pixels: the published model, from ImageNet shards to gFID.

    ray job submit --working-dir . -- python jobs/simflow_256.py run.root=s3://bucket/runs \
        data.shards=s3://bucket/imagenet objective.perceptual.trunk=/models/vgg16-397923af.pth

configs/variants/repa_e.yaml over it aligns the flow with DINOv2. A small form on bundled
photographs takes seconds: configs/small/joint.yaml.

Everything it does is in configs/simflow_256.yaml; `--help` prints every key with its value there.
The same `run.name` under the same `run.root` resumes the run from its newest checkpoint. Three hops
to the loop: this file, system/launch/worker.py, system/train/loop.py.
"""

from system.launch.command import command
from system.launch.driver import drive

if __name__ == "__main__":
    command(drive, "configs/simflow_256.yaml", about=__doc__)
