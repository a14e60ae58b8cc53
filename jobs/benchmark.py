"""Measure this machine against what the project promises: one command, one kind of output.

    python jobs/benchmark.py data
    python jobs/benchmark.py data --json data.json
    python jobs/benchmark.py train --against ~/ml-tarflow

Prints rows of name, value, unit, bound, and whether it holds. Both sides of a comparison take turns
in one run, and figures are medians over rounds; let nothing else run meanwhile.
`--json` also writes them to a file, with a description of the machine; `--against` times a checkout
of another implementation beside ours, with the same weights. The exit code is 0 where every bound
holds, 1 where one does not, and 2 for a suite that is not there. One or two cores, a few minutes;
the suite `data` needs about 1 GB in the temporary folder, `joint_step` about 8 GB of memory.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the suites are not installed

from tests.benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main(__doc__))
