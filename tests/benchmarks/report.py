"""How rows are shown to people and kept for machines."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.rows import Row

ROOT = Path(__file__).parents[2]
WIDTHS = (66, 12, 10, 10, 6, 20)  # name, value, unit, bound, holds, quartiles
LIBRARIES = ("numpy", "pillow", "simplejpeg", "torch", "webdataset", "pyarrow")
EXIT_OK = 0
EXIT_MISSED = 1


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The table, line by line as the rows come."""
    yield _line(("name", "value", "unit", "bound", "holds", "quartiles"))
    for row in rows:
        holds = {None: "", True: "yes", False: "NO"}[row.holds]
        bound = "" if row.bound is None else str(row.bound)
        around = "" if row.quartiles is None else " .. ".join(f"{v:,.4g}" for v in row.quartiles)
        yield _line((row.name, f"{row.value:,.4g}", row.unit, bound, holds, around))


def record(suite: str, rows: Sequence[Row]) -> str:
    """The same as JSON, with the machine that it was measured on."""
    content = {"suite": suite, "machine": machine(), "rows": [row.to_json() for row in rows]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def exit_code(rows: Iterable[Row]) -> int:
    """0 where every bound holds, else 1."""
    return EXIT_MISSED if any(row.holds is False for row in rows) else EXIT_OK


def machine() -> dict[str, Any]:
    """What figures depend on: processor, memory, versions, commit."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": _commit(),
    }


def _line(cells: Sequence[str]) -> str:
    name, value, *others = cells
    rest = "  ".join(text.ljust(width) for text, width in zip(others, WIDTHS[2:], strict=True))
    return f"{name.ljust(WIDTHS[0])} {value.rjust(WIDTHS[1])} {rest}".rstrip()


def _processor() -> str:
    try:
        known = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        known = []
    names = (line.partition(":")[2].strip() for line in known if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit() -> str | None:
    """The commit, with a plus where files differ from it; None where this is no checkout."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
