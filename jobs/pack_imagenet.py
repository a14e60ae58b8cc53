"""Pack a folder of class folders (ImageNet as it unpacks) into WebDataset shards with a manifest.

    python jobs/pack_imagenet.py source.url=/data/imagenet/train out=s3://bucket/imagenet
    python jobs/pack_imagenet.py configs/pack_digits.yaml out=shards/digits
    python jobs/pack_imagenet.py configs/pack_photographs.yaml out=shards/photographs

`--help` prints every key. The same input and options give the same bytes; a second run over a
finished pack does nothing; one that was interrupted is started again by the same command.

Hardware and time: one core. The digits and the photographs take seconds. ImageNet (1,281,167
images, 140 GB) takes about 40 minutes with `check=decode`, and the time of copying it with
`check=header`. Expect 1,282 shards of about 110 MB, `manifest.parquet`, and `pack_report.json` with
what was left out or unusual.
"""

import sys
from pathlib import Path

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from system.foundation.config import describe
from system.foundation.config import resolve
from system.foundation.errors import TrainingSystemError

RECIPE = Path(__file__).parent.parent / "configs" / "pack_imagenet.yaml"


def main(arguments: list[str]) -> int:
    """Resolve the recipe, pack, say what was done. Returns the exit code."""
    settings = [argument for argument in arguments if argument not in ("-h", "--help")]
    try:
        resolved = resolve(RECIPE, settings, PackRecipe)
        if settings != arguments:
            print(__doc__, describe(resolved), sep="\n")
            return 0
        print(pack(resolved.recipe).summary())
    except TrainingSystemError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
