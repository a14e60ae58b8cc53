"""From a fresh checkout to drawn digits: pictures, curves, numbers, a checkpoint.

    make quickstart                                       # or: python jobs/quickstart.py
    make quickstart ARGS="run.total_images=50000"         # any key of configs/simflow_digits.yaml

Packs the handwritten digits of scikit-learn, starts a private Ray (loopback, token), submits
jobs/simflow_digits.py to it with two ZeRO-2 workers in bf16 and an evaluation worker, follows the
log, ends Ray, draws, and writes a report. Needs two cores and 6 GiB; about six minutes. Expect a
conditional accuracy of at least 97 % and a gFID within three times the distance of two real halves.
Ctrl-C stops everything; the same command goes on from the newest checkpoint.
"""

from system.evaluation.probes import Probing
from system.evaluation.probes import probe_to_table
from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.foundation import storage
from system.foundation.config import Resolved
from system.launch.command import command
from system.launch.quickstart import Quickstart
from system.launch.quickstart import train_digits
from system.observe.curves import write_curves
from system.observe.report.report import Reporting
from system.observe.report.report import write_report
from system.observe.summary import table
from system.observe.summary import write_summary

DRAWN = 1000


def main(resolved: Resolved[Quickstart]) -> None:
    """Train, draw, sum up, and say where everything lies."""
    run = train_digits(resolved)
    print(f"drawing {DRAWN:,} digits ...", flush=True)
    pictures, arrays = sample_to_folder(Sampling(checkpoint=run, out=run, count=DRAWN))
    print("asking its features for classes ...", flush=True)
    # One thread: matrices this small are slower on several, beside other work much slower.
    last = (-1, resolved.recipe.flow.depths[-1])
    probe_to_table(Probing(checkpoint=run, places=(last,), threads=1))
    curves = write_curves(run, title=f"{resolved.recipe.run.name}: SimFlow on handwritten digits")
    report = write_report(Reporting(run=run))
    places = {
        "report": report,
        "pictures": pictures,
        "arrays": arrays,
        "curves": curves,
        "numbers": storage.join(run, "summary.json"),
        "checkpoints": storage.join(run, "checkpoints"),
        "ledger": storage.join(run, "ledger"),
    }
    print(table(write_summary(run, places)), flush=True)


if __name__ == "__main__":
    command(main, "configs/simflow_digits.yaml", about=__doc__, schema=Quickstart)
