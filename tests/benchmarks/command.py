"""The command line of `jobs/benchmark.py`: a suite in, a table out, and an exit code."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from system.foundation.errors import BadInput
from tests.benchmarks import report
from tests.benchmarks.rows import Row
from tests.benchmarks.suites import COMPARED
from tests.benchmarks.suites import PEER
from tests.benchmarks.suites import SUITES
from tests.benchmarks.suites import measured


def main(about: str, arguments: Sequence[str] | None = None) -> int:
    """Measure a suite and print its rows: 0 where every bound holds, 1 where one does not.

    Leaves with exit code 2 where the suite is unknown, knows no peer or is shown none, or the file
    cannot be written.
    """
    suites = "\n".join(f"  {name:10s} {line}" for name, line in SUITES.items())
    parser = argparse.ArgumentParser(
        description=f"{about}\nsuites:\n{suites}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", metavar="SUITE", help="what to measure")
    parser.add_argument("--json", metavar="FILE", type=Path, help="where to write the rows as well")
    parser.add_argument(
        "--against",
        metavar="PATH",
        type=Path,
        help=f"a checkout of ml-tarflow or ml-starflow to be timed beside; for {names(COMPARED)}",
    )
    given = parser.parse_args(arguments)
    if given.suite not in SUITES:
        parser.error(f"there is no suite {given.suite!r}; there are: {names([*SUITES])}")
    if given.json is not None and not given.json.parent.is_dir():
        parser.error(f"--json {given.json}: there is no folder {given.json.parent}; make it first")
    if given.against is not None and given.suite not in COMPARED:
        parser.error(f"--against: {given.suite} has no peer; {names(COMPARED)} can be compared")
    if given.against is not None and not (given.against / PEER).is_file():
        parser.error(f"--against {given.against}: found no {PEER} there; expected a checkout")
    rows: list[Row] = []
    try:
        for line in report.lines(_kept(measured(given.suite, given.against), rows)):
            print(line, flush=True)
    except BadInput as problem:  # a peer that the suite cannot be compared with
        parser.error(str(problem))
    if given.json is not None:
        given.json.write_text(report.record(given.suite, rows), "utf-8")
    return report.exit_code(rows)


def names(suites: Sequence[str]) -> str:
    """Names of suites in a line."""
    return ", ".join(suites)


def _kept(rows: Iterator[Row], kept: list[Row]) -> Iterator[Row]:
    for row in rows:
        kept.append(row)
        yield row
