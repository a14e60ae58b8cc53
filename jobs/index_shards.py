"""Write a manifest for WebDataset shards that came without one, so that runs can read them.

    python jobs/index_shards.py s3://bucket/imagenet classes=1000
    python jobs/index_shards.py "s3://bucket/train-{000..127}.tar" class_names=names.txt
    python jobs/index_shards.py /data/shards classes=1000 label_field=label image=jpg

A sample is one image and one label: a `cls` member with a number, or, with `label_field`, that
field of a `json` member; a class may be named in place of its number where `class_names` (a NAME or
a LABEL NAME on each line) names it. Shards whose names match `held_out` are held out of training.
Whatever readers could not use is refused: damaged, cut or compressed tars, keys that come twice,
labels out of range, links, and paths that leave the folder.

`manifest.parquet` is written beside the shards, which stay as they are. Every shard is read once:
the time of reading the bytes from storage, a few threads at a time, and on one core about 400 MB/s.
"""

from data_pipeline.tars.foreign import Indexing
from data_pipeline.tars.foreign import index_shards
from system.foundation.config import Resolved
from system.launch.command import command


def main(resolved: Resolved[Indexing]) -> None:
    """Index, write, and say what was found."""
    print(index_shards(resolved.recipe).summary())


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Indexing, bare="url")
