"""Fixed against learned spread against a frozen autoencoder: the digits at equal images, 3 seeds.

    python jobs/compare_posteriors.py shards=shards/digits root=runs/posteriors

Prints a Markdown table, mean and deviation over seeds (docs/results/posteriors.md keeps one).
Twelve runs of about two minutes on one core each; runs that are there already are not run again,
so several of these commands with other `seeds` may share the work, and the last prints the table.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.train.comparison import Comparison
from system.train.comparison import compare


def main(resolved: Resolved[Comparison]) -> None:
    """Train what is missing and print the table."""
    print(compare(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Comparison)
