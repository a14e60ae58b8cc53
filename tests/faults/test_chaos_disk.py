"""A disk that fills up under a run of the real command.

Its row in docs/results/chaos.md is written as `test_chaos_table` says.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.telemetry.ledger import read_ledger
from tests.faults.chaos_runs import JOB
from tests.faults.chaos_runs import PATIENCE_S
from tests.faults.chaos_runs import ROOT
from tests.faults.chaos_runs import record
from tests.faults.chaos_runs import small
from tests.system.telemetry.test_ledger import needs_a_small_disk

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.chaos,
    pytest.mark.by_hand,
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return out


FULL = """
mount -t tmpfs -o size=512m none {at}
( until grep -qs '"checkpoint"' {at}/runs/full/ledger/*.jsonl; do sleep 0.2; done
  dd if=/dev/zero of={at}/ballast bs=4k ) >/dev/null 2>&1 &
"$@"; code=$?
rm -f {at}/ballast; cp -r {at}/runs {kept}; date +%s > {kept}/ended; exit $code
"""


@needs_a_small_disk
def test_a_full_disk_ends_the_run_at_once_and_says_where(shards: str, tmp_path: Path) -> None:
    at = tmp_path / "disk"
    at.mkdir()
    script = FULL.format(at=at, kept=tmp_path / "kept")
    command = [
        "unshare", "-rm", "bash", "-c", script, "bash",
        sys.executable, JOB, *small(f"{at}/runs", shards, "full", 100_000),
    ]  # fmt: skip
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    job = subprocess.run(
        command, cwd=ROOT, env=known | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    said = job.stdout + job.stderr
    assert job.returncode == 5, said
    assert "a disk was full while the run wrote" in said
    assert "Traceback" not in said
    events = read_ledger(str(tmp_path / "kept/full"))
    assert len([e for e in events if e["kind"] == "attempt_started"]) == 1
    decided = [(e["cause"], e["action"]) for e in events if e["kind"] == "failure_decided"]
    assert decided == [("disk_full", "stop")]  # in the ledger's reserve
    last = max(e["time"] for e in events)
    record(
        "full disk: a real, small disk (tmpfs) is filled up under the run",
        "exit code 5, no restart, one message that says what to free",
        "`failure_decided` (disk_full, stop)",
        f"ended {float((tmp_path / 'kept/ended').read_text()) - last:.0f} s after its last line",
    )  # fmt: skip
