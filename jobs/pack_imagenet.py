r"""Pack labelled images into WebDataset shards with a manifest: once, before any training.

    # ImageNet as you downloaded it: the archives are read in place, never unpacked
    python jobs/pack_imagenet.py configs/pack_ilsvrc2012.yaml \
        source.train=ILSVRC2012_img_train.tar source.validation=ILSVRC2012_img_val.tar \
        source.devkit=ILSVRC2012_devkit_t12.tar.gz out=s3://bucket/imagenet

    # folders of class folders, and a table of images as on Hugging Face
    python jobs/pack_imagenet.py source.url=/data/imagenet/train \
        source.held_out_url=/data/imagenet/val out=s3://bucket/imagenet
    python jobs/pack_imagenet.py configs/pack_parquet.yaml source.url=/data/parquet \
        'source.files=train-*.parquet' 'source.held_out_files=validation-*.parquet' \
        out=/data/shards     # without these two, train*, val* and test* are refused

    # squares of 256 pixels (ADM's centre crop), without loss, or as JPEG with `store.format=jpeg`
    python jobs/pack_imagenet.py source.url=/data/imagenet/train out=s3://bucket/imagenet_256 \
        store.kind=square store.size=256 store.format=webp

    # many machines; every place has to be one that all of them can read: a bucket, a network disk
    ray job submit --working-dir . -- python jobs/pack_imagenet.py \
        source.url=s3://bucket/train out=s3://bucket/imagenet

    # what is bundled, in seconds
    python jobs/pack_imagenet.py configs/pack_digits.yaml out=shards/digits
    python jobs/pack_imagenet.py configs/pack_photographs.yaml out=shards/photographs

Every place is a path or any fsspec url (s3://, gs://, ...). `--help` prints every key. Shards are
made by Ray tasks: of the cluster at RAY_ADDRESS (which Ray sets for its jobs), else of a private
Ray on this machine, as many at once as there are CPUs; `workers=4` bounds them, and `workers=0`
packs in this process without Ray.

Ctrl-C, a crash, a preempted machine: the same command goes on with the shards that are not yet
finished. The same input and options give the same bytes on any number of workers, however often it
was stopped. A second run over a finished pack makes only shards that it has lost (where
jobs/verify_shards.py finds damage that sizes do not tell, remove those shards first); over other
data it changes nothing.

Expect of ImageNet (1,281,167 + 50,000 images, 147 GB), with the bytes kept: 1,282 + 50 shards of
about 110 MB, `manifest.parquet` (40 MB), and `pack_report.json` with all that was left out (with
place and reason), is unusual (CMYK, turned by EXIF, named .JPEG but PNG) or was ignored. It takes
about 40 minutes of one core with `check=decode`, the time of copying it with `check=header`.
Squares of 256 pixels: 6 hours of one core and 145 GB as PNG, 2.5 hours and 125 GB as WebP, 45
minutes and 50 GB as JPEG of quality 95. The program itself needs 1.6 GB of memory for the list of
all images, each worker a shard, or two where it writes to a bucket. Scanning the training archive
takes half a minute, in a bucket about twenty (1.3 million small requests); that is done once, and
kept.
"""

from data_pipeline.pack.pack import pack
from data_pipeline.pack.recipe import PackRecipe
from system.foundation.config import Resolved
from system.launch.any_ray import any_ray
from system.launch.command import command


def main(resolved: Resolved[PackRecipe]) -> None:
    """Pack, and say what was done."""
    recipe = resolved.recipe
    print(pack(recipe, cluster=lambda: any_ray(recipe.workers)).summary(), flush=True)


if __name__ == "__main__":
    command(main, "configs/pack_imagenet.yaml", about=__doc__, schema=PackRecipe)
