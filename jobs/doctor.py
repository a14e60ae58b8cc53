"""Look whether this machine, its storage and its settings are fit for a run, and say what cures.

    python jobs/doctor.py
    python jobs/doctor.py configs/simflow_256.yaml run.root=s3://bucket/runs data.shards=s3://bucket/in

Libraries, GPUs and NCCL, DeepSpeed's compiler, Ray's version and token, storage (write, read, list,
create once, commit, clock) at run.root with a key that it takes away again, data.shards, wandb,
disk, shared memory, open files, processors. Each line is ok, warning or failure, with its cure. The
exit code is 1 where something fails. Nothing is started; a few seconds.
"""

import sys

from system.launch.command import answered


def main(arguments: list[str]) -> int:
    """Print the examination."""
    if {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return 0
    from system.launch.doctor.examination import print_examination

    return print_examination(arguments)


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
