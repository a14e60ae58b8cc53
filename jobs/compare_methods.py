"""The methods of the papers side by side at a small scale, at equal images and over seeds.

    python jobs/pack_imagenet.py configs/pack_digits.yaml out=shards/digits
    python jobs/compare_methods.py table=a out=a.md
    python jobs/compare_methods.py table=a data=photographs arms=[joint-*,frozen-0.5] seeds=[0]
    python jobs/train_teacher.py shards=shards/digits out=teachers/digits.safetensors
    python jobs/compare_methods.py table=b teacher=teachers/digits.yaml

Prints a Markdown table, the papers' rows beside it, and how it was got (docs/results keeps some):
(a) spread of the posterior and what is frozen, (b) alignment with a teacher, (c) guidance formulas,
(d) statistics of latents, (e) reconstruction under noise on latents.

One core; a run takes about half a minute on the digits and a minute on the photographs. Table (a)
has 78 of them over three seeds. Runs that are there already are not run again, so several of these
commands, each with seeds of its own, may share the work, and the last one prints the table.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.train.comparison.request import Comparison
from system.train.comparison.tables import compare


def main(resolved: Resolved[Comparison]) -> None:
    """Train and measure what is missing, and print the table."""
    print(compare(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Comparison)
