"""Say where a run's time went: every second on one account, over all its attempts.

    python jobs/goodput.py runs/digits
    python jobs/goodput.py s3://bucket/runs/simflow_256

New images trained on, images trained on again, saves, waits for data and for evaluations, starts,
failures until the next start, and time that nobody drove the run: their sum is the wall time. Reads
the ledger alone, at any url, also while the run goes on. A second.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.observe.goodput.table import Asking
from system.observe.goodput.table import answer


def main(resolved: Resolved[Asking]) -> None:
    """Print the account."""
    print(answer(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Asking, bare="run")
