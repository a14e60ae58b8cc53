r"""Train SimFlow on handwritten digits: the whole system at the size of a laptop.

    python jobs/simflow_digits.py                                               # a private Ray
    ray job submit --working-dir . -- python jobs/simflow_digits.py \
        run.root=$PWD/runs data.shards=$PWD/shards/digits                       # any cluster

Pack the digits first, or let jobs/quickstart.py do everything:

    python jobs/pack_imagenet.py configs/pack_digits.yaml out=shards/digits

Two workers and an evaluation worker on two cores; about five minutes. Three hops to the loop: this
file, system/launch/worker.py, system/train/loop.py.
"""

from system.launch.command import command
from system.launch.driver import drive

if __name__ == "__main__":
    command(drive, "configs/simflow_digits.yaml", about=__doc__)
