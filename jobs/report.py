"""Write what is known of a run into one HTML file that loads nothing: open it anywhere.

    python jobs/report.py run=runs/digits
    python jobs/report.py "run=[runs/digits, runs/other]" out=side_by_side.html

Curves with error bars, pictures drawn from the same noise at every checkpoint, the classifiers with
their distances explained, the protocol behind every number, what went wrong, what was not measured
and how to measure it, recipe and versions. Reads the run's folder alone, at any url, also while the
run goes on; writes `report.html` into it, or to `out`. One core, a second or two.
"""

from system.foundation.config import Resolved
from system.launch.command import command
from system.observe.report.report import Reporting
from system.observe.report.report import write_report


def main(resolved: Resolved[Reporting]) -> None:
    """Write the page and say where it lies."""
    print(write_report(resolved.recipe))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Reporting, bare="run")
