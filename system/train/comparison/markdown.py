"""Tables as Markdown: means and deviations over seeds, and a footer that says how they were got."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from system.train.comparison.request import Comparison
from system.train.comparison.runs import Finished


@dataclass(frozen=True, slots=True)
class Table:
    """A head, and rows of as many cells."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        """The table in Markdown."""
        assert all(len(row) == len(self.head) for row in self.rows), "a row of another length"
        rule = tuple("---" for _ in self.head)
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.head, rule, *self.rows))


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation over seeds; of one seed its value alone."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values):.{digits}f}"


def footer(request: Comparison, runs: Sequence[Finished], command: str) -> str:
    """The command, the seeds, and what the runs took, those that others start from included."""
    whole = [*runs, *(run.before for run in runs if run.before is not None)]
    seconds = list({run.folder: run.seconds for run in whole}.values())
    recipe = runs[0].recipe
    spreads = "mean ± standard deviation over seeds" if len(request.seeds) > 1 else "one seed"
    return "\n".join(
        (
            f"Command: `{command}`",
            "",
            f"Seeds {', '.join(map(str, request.seeds))} ({spreads}); {recipe.run.total_images} "
            f"images a run in batches of {recipe.run.global_batch}. "
            f"{len(seconds)} runs, {min(seconds):.0f} to {max(seconds):.0f} s each "
            f"(mean {statistics.fmean(seconds):.0f} s, {sum(seconds) / 60:.0f} min in all), one "
            "core each.",
        )
    )
