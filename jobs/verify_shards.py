"""Read shards again and name whatever is not as their manifest says.

    python jobs/verify_shards.py s3://bucket/imagenet
    python jobs/verify_shards.py /data/shards threads=16 report=damage.json

Compares the size and the digest of every shard, and its members with the manifest's rows. Where a
shard differs, each damaged sample is named: key, bytes, reason. Also told are shards that are
missing, and tars that the manifest does not know. Prints a line for each finding; `report` has them
all as JSON. Leaves with 0 where all is well, 1 where something is damaged, 4 where there is no
manifest to compare with.

Time: that of reading the bytes from storage, a few threads at a time, and on one core about
400 MB/s. Memory: some 60 MB per thread.
"""

from data_pipeline.tars.verification import Verification
from data_pipeline.tars.verification import verify
from system.foundation.config import Resolved
from system.foundation.errors import ExitCode
from system.launch.command import command


def main(resolved: Resolved[Verification]) -> int:
    """Verify, and say what was found."""
    verified = verify(resolved.recipe)
    print(verified.summary())
    return ExitCode.FAILED if verified.findings else ExitCode.DONE


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Verification, bare="url")
