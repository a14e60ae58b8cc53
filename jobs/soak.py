"""Keep a run in bad weather for an hour: what share of it trains, and was that foreseen?

    python jobs/soak.py
    python jobs/soak.py minutes=4 calibration_minutes=3 out=/tmp/soak

The digits recipe on a Ray of several nodes on this machine. A short run comes first, killed and
resized by the same plan in small, and tells what saves and restarts cost here; from that the
simulation foresees the long one. Then that: workers are killed with SIGKILL at times drawn from
`seed`, and a node joins. At the end, from the ledger: goodput by cause beside what was foreseen,
the audit of every sample, and what these costs would come to on clusters. Leaves with 0 where
goodput is at least 95 %, was foreseen to a point, and the audit holds; with 1 where not. Writes
`forecast.txt`, before the long run, and `soak.txt` into `out`. Two cores, 6 GiB, an hour and ten
minutes; on a machine that others use restarts are slower.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the faults are not installed

from system.launch.command import command
from tests.faults.soak import Soak
from tests.faults.soak import main

if __name__ == "__main__":
    command(main, None, about=__doc__, schema=Soak)
