r"""Simulate a run on clusters of any size: the best time between checkpoints, and its goodput.

    python jobs/simulate_goodput.py runs/digits
    python jobs/simulate_goodput.py costs.stall_s=5 costs.upload_s=90 costs.start_up_s=240
    python jobs/simulate_goodput.py runs/digits \
        "schedule={minutes: 60, kills: [9, 30], resizes: [45], interval_s: 20}"

Costs of saves and failures come from a run's ledger, from the command line, or are assumed, and the
table says which. Failures come at random, as often as Meta published it for its clusters and for
Llama 3. Of each size: the best interval (beside the closed form, Young's and Daly's), the goodput
with the range of nine of ten simulated runs, and which cost is in the way where it falls short. Of
a run that is named, also what the simulation makes of its own failures, beside what they came to;
of a `schedule`, what a run with these costs will come to. Seconds on one core;
docs/results/goodput.md explains.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.observe.goodput.forecast import Forecasting
from system.observe.goodput.forecast import answer


def main(resolved: Resolved[Forecasting]) -> None:
    """Print the forecast."""
    print(answer(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Forecasting, bare="run")
